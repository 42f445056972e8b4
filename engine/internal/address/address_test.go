package address

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"192.0.2.7", "192.0.2.7"},
		{"::ffff:192.0.2.7", "192.0.2.7"},
		{"::ffff:192.0.2.7%eth0", "192.0.2.7"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"2001:db8:1:2:ffff::", "2001:db8:1:2::"},
		{"2001:db8:1:3::", "2001:db8:1:3::"},
		{"fe80::1%eth0", "fe80::"},
		{"::1", "::"},
	} {
		if got := Key(netip.MustParseAddr(tt.addr)); got != netip.MustParseAddr(tt.want) {
			t.Errorf("Key(%s) = %s, want %s", tt.addr, got, tt.want)
		}
	}
	if got := Key(netip.Addr{}); got.IsValid() {
		t.Errorf("Key of no address = %s", got)
	}
}

func TestOf(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 80}, "192.0.2.7:80"}, // 16 bytes
		{&net.TCPAddr{IP: net.IP{192, 0, 2, 7}, Port: 80}, "192.0.2.7:80"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "lo", Port: 80}, "[fe80::1]:80"},
		{&net.TCPAddr{}, "invalid AddrPort"},
		{&net.UnixAddr{Name: "@"}, "invalid AddrPort"},
		{nil, "invalid AddrPort"},
	} {
		if got := Of(tt.addr).String(); got != tt.want {
			t.Errorf("Of(%v) = %s, want %s", tt.addr, got, tt.want)
		}
	}
}

func TestSet(t *testing.T) {
	for _, tt := range []struct {
		set, addr string
		want      bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"10.0.0.0/8", "11.0.0.1", false},
		{"10.9.9.9/8", "10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true},
		{"::ffff:0:0/96", "203.0.113.9", true},
		{"::ffff:192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"0.0.0.0/0", "::ffff:192.0.2.1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "2001:db8::1", true},
		{"fe80::/10", "fe80::1%eth0", true},
		{"::1", "::1", true},
		{"::1", "::2", false},
	} {
		s, err := ParseSet([]string{"198.51.100.0/24", tt.set})
		if err != nil {
			t.Errorf("%s: %v", tt.set, err)
			continue
		}
		if got := s.Contains(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s contains %s: %v, want %v", tt.set, tt.addr, got, tt.want)
		}
		if s.Contains(netip.Addr{}) {
			t.Errorf("%s contains no address", tt.set)
		}
	}
	for _, bad := range []string{"", "10", "10.0.0.0/33", "10.0.0.0/-1", "localhost", "fe80::1%eth0", "fe80::/10%eth0", "::ffff:0:0/95", "10.0.0.0/8,"} {
		if s, err := ParseSet([]string{bad}); err == nil {
			t.Errorf("%q is read as %v", bad, s)
		}
	}
	if Set(nil).Contains(netip.MustParseAddr("::1")) {
		t.Error("the empty set contains something")
	}
}

func TestSetOf(t *testing.T) {
	s, err := SetOf([]netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")})
	if err != nil || !s.Contains(netip.MustParseAddr("10.1.2.3")) {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := SetOf([]netip.Prefix{{}}); err == nil {
		t.Error("an invalid prefix is taken")
	}
}

func TestParsePeers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		texts []string
		n     int
		unix  bool
		ok    bool
	}{
		{nil, 0, false, true},
		{[]string{"unix"}, 0, true, true},
		{[]string{"10.0.0.0/8", "unix", "::1", "unix"}, 2, true, true},
		{[]string{"10.0.0.0/8"}, 1, false, true},
		{[]string{"unix", "10.0.0.0/33"}, 0, false, false},
		{[]string{"Unix"}, 0, false, false},
		{[]string{""}, 0, false, false},
	} {
		s, unix, err := ParsePeers(tc.texts)
		if len(s) != tc.n || unix != tc.unix || (err == nil) != tc.ok {
			t.Errorf("%q: %v, %v, %v", tc.texts, s, unix, err)
		}
		if err != nil && !strings.Contains(err.Error(), "or unix") {
			t.Errorf("%q: %v does not name unix", tc.texts, err)
		}
	}
}

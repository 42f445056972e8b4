package gateway

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// testGate is a gate whose memory is counted.
func testGate(t *testing.T, c Config) (*failureGate, *int64) {
	t.Helper()
	charged := new(int64)
	return newFailureGate(&c, func(n int64) { *charged += n }), charged
}

const second = int64(1000) // ms

func TestFailureGate(t *testing.T) {
	t.Parallel()
	f, _ := testGate(t, Config{LoginFailures: 3, LoginFailuresPer: 10 * time.Second})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range int64(3) {
		if f.banned(a, i*second) {
			t.Fatalf("banned after %d failures", i)
		}
		ban := f.note(a, "", i*second)
		if want := time.Duration(i/2) * 10 * time.Second; ban != want {
			t.Errorf("failure %d bans for %v, want %v", i, ban, want)
		}
	}
	for _, tc := range []struct {
		addr  netip.Addr
		after int64
		want  bool
	}{
		{a, 3 * second, true},
		{netip.MustParseAddr("::ffff:192.0.2.1"), 3 * second, true}, // the same host
		{b, 3 * second, false},
		{netip.Addr{}, 3 * second, false},
		{a, 12*second - 1, true},
		{a, 12 * second, false}, // 10 s after it was banned
	} {
		if got := f.banned(tc.addr, tc.after); got != tc.want {
			t.Errorf("%v after %d ms: banned = %v, want %v", tc.addr, tc.after, got, tc.want)
		}
	}
	for i := range int64(20) { // two in 10 s are not three
		f.note(b, "", i*6*second)
		if f.banned(b, i*6*second) {
			t.Fatalf("banned after %d failures 6 s apart", i+1)
		}
	}
}

// Each further ban is twice as long, up to a bound, and one is forgotten for each time as long as it
// was.
func TestBansGrow(t *testing.T) {
	t.Parallel()
	f, charged := testGate(t, Config{LoginFailures: 1, LoginFailuresPer: 10 * time.Second, LoginBanMax: time.Minute})
	a := netip.MustParseAddr("192.0.2.1")
	now := int64(0)
	ban := func() time.Duration {
		d := f.note(a, "", now)
		if f.note(a, "", now+1) != 0 {
			t.Error("a ban within a ban")
		}
		now += d.Milliseconds()
		return d
	}
	for i, want := range []time.Duration{10, 20, 40, 60, 60} {
		if d := ban(); d != want*time.Second {
			t.Errorf("ban %d lasts %v, want %v", i+1, d, want*time.Second)
		}
	}
	now += 60 * second // the fifth is forgotten
	if d := ban(); d != time.Minute {
		t.Errorf("one that follows a minute's rest lasts %v", d)
	}
	now += (60 + 60 + 40) * second // of five, three
	if d := ban(); d != 40*time.Second {
		t.Errorf("one that follows a longer rest lasts %v", d)
	}
	now += 24 * 3600 * second
	if d := ban(); d != 10*time.Second {
		t.Errorf("one that follows a day's rest lasts %v", d)
	}
	if n := f.addresses.total.Load(); n != 8 {
		t.Errorf("%d bans are counted, want 8", n)
	}
	if *charged != windowCost {
		t.Errorf("%d bytes are charged", *charged)
	}
	f.addresses.expire(now+10*second, 10)
	if *charged != 0 || len(f.addresses.windows) != 0 {
		t.Errorf("%d bytes are charged for %d windows in the end", *charged, len(f.addresses.windows))
	}
}

// Guesses at one user from very many addresses get one try for each address and ban; nobody is banned
// for that but who guesses.
func TestUserFailures(t *testing.T) {
	t.Parallel()
	f, _ := testGate(t, Config{
		LoginFailures: 100, LoginFailuresPer: 10 * time.Second, UserFailures: 20, UserFailuresPer: time.Minute,
	})
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	banned := 0
	for i := range 100 {
		if f.note(address(i), "ann", int64(i)) > 0 {
			banned++
		}
	}
	if banned != 81 { // from the twentieth on
		t.Errorf("%d addresses are banned, want 81", banned)
	}
	if f.note(address(200), "ben", 100) != 0 || f.note(address(201), "", 100) != 0 {
		t.Error("a refused login of another user, or of nobody known, bans")
	}
	if f.banned(address(0), 100) || f.banned(address(250), 100) {
		t.Error("who was within the limit, or has not guessed, is banned")
	}
	if f.note(address(202), "ann", 100+60*second) != 0 {
		t.Error("a minute later a refused login still bans at once")
	}
	if f.note(netip.Addr{}, "ann", 100) != 0 {
		t.Error("a client without an address is banned")
	}
}

func TestFailureGateIPv6Hosts(t *testing.T) {
	t.Parallel()
	f, _ := testGate(t, Config{LoginFailures: 2, LoginFailuresPer: time.Minute})
	f.note(netip.MustParseAddr("2001:db8::1"), "", 0)
	f.note(netip.MustParseAddr("2001:db8::2"), "", 0)
	if !f.banned(netip.MustParseAddr("2001:db8::3%eth0"), 0) {
		t.Error("one host's /64 is not one host")
	}
	if f.banned(netip.MustParseAddr("2001:db8:0:1::1"), 0) {
		t.Error("the neighbouring /64 is banned too")
	}
}

// Somebody with very many addresses takes no more memory than there is for it, and does not get rid of
// a ban by failures that ban nobody.
func TestFailureGateIsBounded(t *testing.T) {
	t.Parallel()
	f, charged := testGate(t, Config{LoginFailures: 2, LoginFailuresPer: time.Minute})
	first := netip.MustParseAddr("2001:db8::1")
	f.note(first, "", 0)
	f.note(first, "", 0)
	for i := range 3 * maxWindows {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(i))
		f.note(netip.AddrFrom4(a), "", 0)
	}
	if n := len(f.addresses.windows); n > maxWindows || *charged != int64(n)*windowCost {
		t.Errorf("%d windows, at most %d; %d bytes are charged", n, maxWindows, *charged)
	}
	if !f.banned(first, 1) {
		t.Error("the ban is forgotten")
	}
}

func TestFailureGateOff(t *testing.T) {
	t.Parallel()
	f, charged := testGate(t, Config{LoginFailures: -1, LoginFailuresPer: time.Minute, UserFailures: -1, UserFailuresPer: 1})
	a := netip.MustParseAddr("192.0.2.1")
	for range 1000 {
		f.note(a, "ann", 0)
	}
	if f.banned(a, 0) || *charged != 0 {
		t.Error("a gate without a limit counts")
	}
}

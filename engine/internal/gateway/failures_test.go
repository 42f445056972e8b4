package gateway

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func TestFailureGate(t *testing.T) {
	start := time.Unix(1000, 0)
	f := newFailureGate(3, 10*time.Second)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 3 {
		if f.banned(a, start) {
			t.Fatalf("banned after %d failures", i)
		}
		f.note(a, start.Add(time.Duration(i)*time.Second))
	}
	for _, tc := range []struct {
		addr  netip.Addr
		after time.Duration
		want  bool
	}{
		{a, 3 * time.Second, true},
		{netip.MustParseAddr("::ffff:192.0.2.1"), 3 * time.Second, true}, // the same host
		{b, 3 * time.Second, false},
		{a, 10 * time.Second, true},
		{a, 10*time.Second + 1, false}, // the window ends 10 s after its first failure
	} {
		if got := f.banned(tc.addr, start.Add(tc.after)); got != tc.want {
			t.Errorf("%v after %v: banned = %v, want %v", tc.addr, tc.after, got, tc.want)
		}
	}
}

func TestFailureGateIPv6Hosts(t *testing.T) {
	now := time.Unix(1000, 0)
	f := newFailureGate(2, time.Minute)
	f.note(netip.MustParseAddr("2001:db8::1"), now)
	f.note(netip.MustParseAddr("2001:db8::2"), now)
	if !f.banned(netip.MustParseAddr("2001:db8::3%eth0"), now) {
		t.Error("one host's /64 is not one host")
	}
	if f.banned(netip.MustParseAddr("2001:db8:0:1::1"), now) {
		t.Error("the neighbouring /64 is banned too")
	}
}

func TestFailureGateIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	f := newFailureGate(1, time.Minute)
	for i := range 3 * maxWindows {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(i))
		f.note(netip.AddrFrom4(a), now)
	}
	if len(f.windows) > maxWindows {
		t.Errorf("%d windows, at most %d", len(f.windows), maxWindows)
	}
}

func TestFailureGateOff(t *testing.T) {
	f := newFailureGate(-1, time.Minute)
	a := netip.MustParseAddr("192.0.2.1")
	for range 1000 {
		f.note(a, time.Now())
	}
	if f.banned(a, time.Now()) || len(f.windows) != 0 {
		t.Error("a gate without a limit counts")
	}
}

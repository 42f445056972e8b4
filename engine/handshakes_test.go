package engine

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// However many handshakes of one address want to compute, one of another waits for few of them, and one
// whose connection ends takes no place with it.
func TestHandshakesOfACrowd(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		const places, many = 2, 500
		crowd, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		hs := &handshakes{cpu: make(chan struct{}, places), crowd: make(chan struct{}, places),
			from: map[netip.Addr]int{crowd: many, other: 1}}
		compute := func(ctx context.Context, key netip.Addr) {
			h := &handshake{ctx: ctx, place: place{key: key}}
			if hs.acquire(h) {
				time.Sleep(10 * time.Millisecond)
				hs.release(h)
			}
		}
		var all sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range many {
			mine := t.Context()
			if i%5 == 4 {
				mine = ctx // it hangs up
			}
			all.Go(func() { compute(mine, crowd) })
		}
		time.Sleep(15 * time.Millisecond)
		cancel()
		begun := time.Now()
		if compute(t.Context(), other); time.Since(begun) > 30*time.Millisecond {
			t.Errorf("another address waits for %v", time.Since(begun))
		}
		all.Wait()
		if took, want := time.Since(begun), many/places*10*time.Millisecond; took > want {
			t.Errorf("the crowd took %v, want at most %v", took, want)
		}
		if len(hs.cpu)+len(hs.crowd) > 0 {
			t.Errorf("%d and %d places are taken in the end", len(hs.cpu), len(hs.crowd))
		}
	})
}

// Handshakes alone never use up what may be kept for all connections.
func TestHandshakesFitIntoTheTotal(t *testing.T) {
	for _, tc := range []struct {
		most  int
		total int64
		want  int
	}{
		{8192, 256 << 20, 8192},
		{8192, 16 << 20, 512},
		{100, 16 << 20, 100},
		{8192, 1, handshakeShare},
	} {
		n := Limits{MaxHandshakes: tc.most, BacklogTotal: tc.total}
		if got := n.handshakes(); got != tc.want {
			t.Errorf("%d in %d bytes: %d, want %d", tc.most, tc.total, got, tc.want)
		}
		hs := &handshakes{limits: func() *Limits { return &n }, from: make(map[netip.Addr]int)}
		for i := range 10_000 { // each of an address of its own
			if !hs.mayRun(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})) {
				break
			}
			hs.running++
		}
		if hs.running != tc.want {
			t.Errorf("%d run, want %d", hs.running, tc.want)
		}
	}
}

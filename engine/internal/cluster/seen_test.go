package cluster

import (
	"math/rand/v2"
	"testing"
)

// A seen is compared with a map of all numbers.
func TestSeen(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var s seen
		all := make(map[uint64]bool)
		next := r.Uint64N(1 << 20)
		for range 5000 {
			n := next
			switch r.IntN(8) {
			case 0: // late, perhaps known, perhaps too late
				n -= min(n, r.Uint64N(2*seenNumbers))
			case 1: // there was much for others
				next += r.Uint64N(2 * seenNumbers)
			default:
				next += 1 + r.Uint64N(3)
			}
			want := all[n] || n <= s.top && s.top-n >= seenNumbers
			if got := s.has(n); got != want {
				t.Fatalf("number %d behind %d: %v, want %v", n, s.top, got, want)
			}
			if !want {
				s.add(n)
				all[n] = true
			}
			if !s.has(n) {
				t.Fatalf("number %d behind %d has not come", n, s.top)
			}
		}
	}
}

package gateway

import "testing"

// Each step is one look at a connection: by OnBytes (with whole or pending) or by OnDeadline.
func TestPacketTimer(t *testing.T) {
	const base, second, window, enough = 5000, 1000, 60 * 1000, 60 << 10
	type step struct {
		at      int64 // ms
		look    bool  // OnDeadline, else OnBytes
		whole   bool
		pending int
		rearm   bool  // of OnBytes
		left    int64 // of OnDeadline
		idle    bool
	}
	bytes := func(at int64, pending int, rearm bool) step { return step{at: at, pending: pending, rearm: rearm} }
	whole := func(at int64, pending int, rearm bool) step {
		return step{at: at, whole: true, pending: pending, rearm: rearm}
	}
	look := func(at int64, pending int, left int64) step {
		return step{at: at, look: true, pending: pending, left: left}
	}
	nothing := func(at int64) step { return step{at: at, look: true, idle: true} }
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"half a packet, then silence", []step{bytes(base, 1, true), look(base, 0, window), look(base+window-1, 1, 1), look(base+window, 1, 0)}},
		{"a byte a second", []step{bytes(base, 1, true), look(base+30*second, 31, 30*second), look(base+window, 61, 0)}},
		{"just too slow", []step{bytes(base, 100, true), look(base+window, 100+enough-1, 0)}},
		{"just fast enough, then no more", []step{
			bytes(base, 100, true), look(base+window, 100+enough, window), look(base+2*window, 100+2*enough, window), look(base+3*window, 100+2*enough, 0)}},
		{"much at first buys no time", []step{
			bytes(base, 15<<20, true), look(base+window, 15<<20+1, 0)}},
		{"much in the first window buys one more", []step{
			bytes(base, 1, true), look(base+window, 15<<20, window), look(base+2*window, 15<<20+100, 0)}},
		{"nothing under way", []step{nothing(base), whole(base+second, 0, false), nothing(base + 5*second)}},
		{"whole in time, then silence", []step{
			bytes(base, 5, true), whole(base+59*second, 0, false), nothing(base + window), nothing(base + 5*window)}},
		{"the next one has a time of its own", []step{
			bytes(base, 5, true), whole(base+59*second, 7, false), look(base+window, 7, 59*second), look(base+119*second, 7, 0)}},
		{"one deadline is enough for all that begin before it comes", []step{
			bytes(base, 5, true), whole(base+second, 7, false), whole(base+2*second, 9, false), whole(base+3*second, 0, false), bytes(base+4*second, 1, false),
			look(base+window, 1, 4*second)}},
		{"after a quiet deadline the next one asks for a new one", []step{
			bytes(base, 5, true), whole(base+second, 0, false), nothing(base + window), bytes(base+90*second, 1, true), look(base+150*second, 1, 0)}},
		{"seen at a deadline first", []step{look(base, 3, window), look(base+window, 3, 0)}},
		{"where the clock's low half wraps", []step{
			bytes(1<<32-1, 1, true), look(1<<32+window-2, 1, 1), look(1<<32+window-1, 1, 0)}},
		{"where the clock's low half is zero", []step{
			bytes(1<<32, 1, true), bytes(1<<32+5, 2, false), look(1<<32+second, 2, window-second-1), look(1<<32+window-1, 2, 0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var pt PacketTimer
			for i, s := range tt.steps {
				if !s.look {
					if got := pt.Progress(s.at, s.whole, s.pending); got != s.rearm {
						t.Fatalf("step %d: rearm %v, want %v", i, got, s.rearm)
					}
					continue
				}
				left, ok := pt.Left(s.at, s.pending, window)
				if !ok {
					left = 0
				}
				if ok == s.idle || left != s.left {
					t.Fatalf("step %d: %d ms left, under way %v; want %d", i, left, ok, s.left)
				}
			}
		})
	}
}

func TestSooner(t *testing.T) {
	for _, tt := range [][3]int64{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {3, 5, 3}, {5, 3, 3}, {5, -1, -1}} {
		if got := Sooner(tt[0], tt[1]); got != tt[2] {
			t.Errorf("Sooner(%d, %d) = %d, want %d", tt[0], tt[1], got, tt[2])
		}
	}
}

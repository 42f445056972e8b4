package session

import (
	"math/rand/v2"
	"testing"
)

// FuzzDueHeap plays pushes, removals, changes and pops, and checks positions and order throughout.
func FuzzDueHeap(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 20 {
		b := make([]byte, n*20)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		var h dueHeap[*record]
		total := 0
		for i := 0; i+1 < len(ops); i += 2 {
			arg := int(ops[i+1])
			switch {
			case ops[i]%4 <= 1 || len(h) == 0:
				h.push(&record{expires: int64(arg)})
				total++
			case ops[i]%4 == 2:
				h.remove(arg % len(h))
				total--
			default:
				r := h[arg%len(h)]
				r.expires = int64(ops[i] / 4 * 5)
				h.fix(int(r.pos))
			}
			if len(h) != total {
				t.Fatalf("%d items, want %d", len(h), total)
			}
			for j, r := range h {
				if int(r.pos) != j {
					t.Fatalf("item at %d believes to be at %d", j, r.pos)
				}
				if j > 0 && h[(j-1)/2].expires > r.expires {
					t.Fatalf("item at %d is due before its parent", j)
				}
			}
		}
		last := int64(0)
		for range total {
			r, ok := h.popDue(300)
			if !ok || r.expires < last {
				t.Fatalf("popped %d after %d, ok %v", r.expires, last, ok)
			}
			last = r.expires
		}
		if _, ok := h.popDue(300); ok {
			t.Fatal("popped from an empty heap")
		}
	})
}

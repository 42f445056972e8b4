package gateway

import (
	"math/rand/v2"
	"testing"

	"github.com/sluicenet/sluice/engine"
)

// Leases end in the order of their times, whatever was added and removed in between.
func TestLeasesAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ls leases
	model := make(map[engine.Ref]int64)
	now := int64(0)
	for step := range 20_000 {
		switch ref := engine.Ref(1 + r.IntN(300)); r.IntN(4) {
		case 0, 1:
			if _, ok := model[ref]; !ok {
				until := now + int64(r.IntN(50))
				if r.IntN(4) == 0 {
					until = endless
				}
				model[ref] = until
				ls.add(lease{ref: ref, until: until})
			}
		case 2:
			_, ok := model[ref]
			if got := ls.remove(ref); got != ok {
				t.Fatalf("step %d: removed %v, want %v", step, got, ok)
			}
			delete(model, ref)
		case 3:
			now++
			for before := int64(0); ; {
				l, ok := ls.due(now)
				if !ok {
					break
				}
				if until, known := model[l.ref]; !known || until != l.until || until > now || until < before {
					t.Fatalf("step %d, at %d: %+v is due, the model has %d, %v", step, now, l, until, known)
				}
				before = l.until
				delete(model, l.ref)
			}
			for ref, until := range model {
				if until <= now {
					t.Fatalf("step %d, at %d: %v, due at %d, was left out", step, now, ref, until)
				}
			}
		}
		if len(ls.list) != len(model) || len(ls.index) != len(model) {
			t.Fatalf("step %d: %d in the list, %d in the index, want %d", step, len(ls.list), len(ls.index), len(model))
		}
	}
}

package admin

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/sluicenet/sluice/engine"
)

// TestRanking: the first few of a ranking are those of the whole list, however they come.
func TestRanking(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n, most, down := r.IntN(3000), 1+r.IntN(20), r.IntN(2) == 1
		all, few := newRanking(down, 0), newRanking(down, most)
		for range n {
			k := keyedConn{ref: engine.Ref(r.Uint64()), key: r.Int64N(10)}
			if r.IntN(2) == 1 {
				k.text = strconv.Itoa(r.IntN(5))
			}
			all.add(k)
			few.add(k)
		}
		want := all.refs()
		if got := few.refs(); !slices.Equal(got, want[:min(most, len(want))]) || few.matched != n || all.matched != n {
			t.Fatalf("the first %d of %d: %v, want of %v; %d matched", most, n, got, want, few.matched)
		}
		if len(few.list) > most {
			t.Errorf("%d are kept for %d", len(few.list), most)
		}
		all.free()
		few.free()
	}
}

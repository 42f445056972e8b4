package admin

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/sluicenet/sluice/engine"
)

// TestRanking: the first few of a ranking are those of the whole list, however they come, and no more of
// them are kept.
func TestRanking(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	orders := map[string]func(i int) int64{
		"some equal": func(int) int64 { return r.Int64N(10) },
		"all equal":  func(int) int64 { return 7 },
		"rising":     func(i int) int64 { return int64(i) },
		"falling":    func(i int) int64 { return int64(-i) },
		"any":        func(int) int64 { return r.Int64() },
	}
	for name, key := range orders {
		for range 40 {
			n, most, slice, down := r.IntN(3000), 1+r.IntN(20), 1+r.IntN(500), r.IntN(2) == 1
			all, few := newRanking(down, 0), newRanking(down, most)
			for i := range n {
				k := keyedConn{ref: engine.Ref(r.Uint64()), key: key(i)}
				if r.IntN(2) == 1 {
					k.text = strconv.Itoa(r.IntN(5))
				}
				all.add(k)
				few.add(k)
				if i%slice == 0 {
					few.cut()
					if len(few.list) > most {
						t.Errorf("%s: %d are kept for %d", name, len(few.list), most)
					}
				}
			}
			want := all.refs()
			sorted := slices.IsSortedFunc(all.list, all.compare)
			if got := few.refs(); !sorted || !slices.Equal(got, want[:min(most, len(want))]) || few.matched != n || all.matched != n {
				t.Fatalf("%s: the first %d of %d: %v, want of %v; %d matched", name, most, n, got, want, few.matched)
			}
			all.free()
			few.free()
		}
	}
}

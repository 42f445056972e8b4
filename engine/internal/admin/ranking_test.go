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
		n, most, down := r.IntN(300), 1+r.IntN(20), r.IntN(2) == 1
		all, few := ranking{down: down}, ranking{down: down, most: most}
		for count := 0; count < n; {
			var part, wanted []keyedConn
			for range min(1+r.IntN(50), n-count) {
				count++
				k := keyedConn{ref: engine.Ref(r.Uint64()), key: r.Int64N(10)}
				if r.IntN(2) == 1 {
					k.text = strconv.Itoa(r.IntN(5))
				}
				part = append(part, k)
				if few.wants(k) {
					wanted = append(wanted, k)
				}
			}
			all.add(part, len(part))
			few.add(wanted, len(part))
		}
		want := all.refs()
		if got := few.refs(); !slices.Equal(got, want[:min(most, len(want))]) || few.matched != n || all.matched != n {
			t.Fatalf("the first %d of %d: %v, want of %v; %d matched", most, n, got, want, few.matched)
		}
		if c := cap(few.list); c > 4*1024 {
			t.Errorf("%d are kept for %d", c, most)
		}
	}
}

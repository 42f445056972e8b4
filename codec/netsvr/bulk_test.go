package netsvr

import (
	"strings"
	"testing"
)

func TestBulk(t *testing.T) {
	for _, c := range []struct {
		name          string
		targets, data string // separated by spaces; - is an empty one
		want          string
		fits          bool
	}{
		{"nothing", "", "", "", true},
		{"one to one", "a", "1", "a1", true},
		{"pairwise", "a b c", "1 2 3", "a1 b2 c3", true},
		{"pairwise, a target twice", "a a", "1 2", "a1 a2", true},
		{"pairwise, an empty datum", "a b c", "1 - 3", "a1 c3", true},
		{"pairwise, an empty target", "a - c", "1 2 3", "a1 c3", true},
		{"all to one", "a", "1 2 3", "a1 a2 a3", true},
		{"all to one, an empty datum", "a", "1 - 3", "a1 a3", true},
		{"all to an empty one", "-", "1 2", "", true},
		{"one target, no data", "a", "", "", false},
		{"no target, one datum", "", "1", "", false},
		{"no target, many data", "", "1 2", "", false},
		{"many targets, one datum", "a b", "1", "", false},
		{"more targets than data", "a b c", "1 2", "", false},
		{"fewer targets than data", "a b", "1 2 3", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			targets, data := split(c.targets), split(c.data)
			var got []string
			for target, datum := range Bulk(targets, data) {
				got = append(got, string(target)+string(datum))
			}
			if s := strings.Join(got, " "); s != c.want || BulkFits(len(targets), len(data)) != c.fits {
				t.Errorf("got %q, fits %v", s, BulkFits(len(targets), len(data)))
			}
			for range Bulk(targets, data) {
				break
			}
		})
	}
}

func split(s string) (out [][]byte) {
	for _, f := range strings.Fields(s) {
		out = append(out, []byte(strings.Trim(f, "-")))
	}
	return out
}

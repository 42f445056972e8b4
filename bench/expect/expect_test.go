package expect

import (
	"math"
	"testing"
)

func kinds(m string) (Kind, bool) {
	k, ok := map[string]Kind{"p99": Duration, "lost": Count, "rate": Count, "rss": Bytes}[m]
	return k, ok
}

func TestParse(t *testing.T) {
	got, err := Parse("p99<20ms, lost=0,rate >= 1.5k,rss<=300MiB,lost!=7,lost==1", kinds)
	if err != nil {
		t.Fatal(err)
	}
	want := []Condition{
		{"p99", "<", 20e6, ""}, {"lost", "=", 0, ""}, {"rate", ">=", 1500, ""}, {"rss", "<=", 300 << 20, ""},
		{"lost", "!=", 7, ""}, {"lost", "=", 1, ""},
	}
	for i, w := range want {
		g := got[i]
		if g.Metric != w.Metric || g.Op != w.Op || g.Value != w.Value {
			t.Errorf("condition %d: %+v, want %+v", i, g, w)
		}
	}
	for _, bad := range []string{"", "p99", "p99<", "p99<20", "p99<20MiB", "speed<1", "lost=none", "lost=NaN", "<5", "lost=0,", "rss<5ms", "p99!20ms"} {
		if c, err := Parse(bad, kinds); err == nil {
			t.Errorf("%q: accepted as %+v", bad, c)
		}
	}
}

func TestMet(t *testing.T) {
	for _, tt := range []struct {
		op           string
		less, eq, gt bool
	}{{"<", true, false, false}, {"<=", true, true, false}, {">", false, false, true}, {">=", false, true, true}, {"=", false, true, false}, {"!=", true, false, true}} {
		c := Condition{Op: tt.op, Value: 5}
		if c.Met(4) != tt.less || c.Met(5) != tt.eq || c.Met(6) != tt.gt {
			t.Errorf("%s: wrong", tt.op)
		}
		if c.Met(math.NaN()) {
			t.Errorf("%s: met by what was not measured", tt.op)
		}
	}
}

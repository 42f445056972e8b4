package admin

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// TestPageAgain: a page that is used again says what it was told for this scrape, and nothing of the one
// before: other series, more or fewer of them, and families that are not there every time.
func TestPageAgain(t *testing.T) {
	t.Parallel()
	type row struct {
		labels []string
		v      float64
	}
	scrapes := [][]row{
		{{nil, 1}},
		{{[]string{"reason", "a"}, 1}, {[]string{"reason", "b"}, 2}, {[]string{"reason", "c"}, 3}},
		{{[]string{"reason", "b"}, 4}, {[]string{"reason", "c"}, 5}},
		{{[]string{"reason", "b"}, 6}, {[]string{"reason", "x", "more", "y"}, 7}, {[]string{"reason", "c"}, 8}},
		{},
		{{[]string{"reason", "b\xff"}, 9}},
		{{[]string{"reason", "b\xff"}, 10}},
	}
	var used page
	for i, rows := range scrapes {
		say := func(p *page) []*dto.MetricFamily {
			p.begin()
			if i%2 == 0 {
				p.gauge("a_gauge", "Now and then.", float64(i))
			}
			p.family("z_total", counter, "Z.")
			for _, r := range rows {
				p.sample(r.v, r.labels...)
			}
			p.histogram("h_seconds", "H.", []float64{1, 2}, []uint64{uint64(i), 1, 2}, float64(i)/2)
			return p.end(nil)
		}
		got, want := say(&used), say(new(page))
		if len(got) != len(want) {
			t.Fatalf("scrape %d: %d families, want %d", i, len(got), len(want))
		}
		for j := range got {
			if !proto.Equal(got[j], want[j]) {
				t.Errorf("scrape %d: %v, want %v", i, got[j], want[j])
			}
		}
	}
}

// TestScrapeLeavesLittle: what a scrape needs is there from the one before.
func TestScrapeLeavesLittle(t *testing.T) {
	c := gatewayCollector(t)
	p := new(page)
	allocs := testing.AllocsPerRun(20, func() {
		p.begin()
		c.fill(p)
	})
	series := 0
	for _, f := range p.end(nil) {
		series += len(f.Metric)
	}
	t.Logf("%v allocations for %d series", allocs, series)
	if series < 200 || allocs > float64(series) {
		t.Errorf("%v allocations for %d series", allocs, series)
	}
}

// TestProcessFamilies: what is said of the process is what client_golang's own collector would say.
func TestProcessFamilies(t *testing.T) {
	t.Parallel()
	theirs := newCollector(func(*page) {}, func() prometheus.Gatherer {
		r := prometheus.NewRegistry()
		r.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		return r
	}())
	ours := newCollector(collectProcess, func() prometheus.Gatherer {
		r := prometheus.NewRegistry()
		r.MustRegister(processCollector()...)
		return r
	}())
	want, _, err := theirs.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := ours.Gather()
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d families, want %d: %v", len(got), len(want), err)
	}
	value := func(f *dto.MetricFamily) float64 {
		return f.Metric[0].GetCounter().GetValue() + f.Metric[0].GetGauge().GetValue()
	}
	for i, f := range got {
		g, w := value(f), value(want[i])
		if f.GetName() != want[i].GetName() || f.GetHelp() != want[i].GetHelp() || f.GetType() != want[i].GetType() {
			t.Errorf("%v, want %v", f, want[i])
		}
		if g <= 0 || g > 3*w+100 || w > 3*g+100 { // some of them move
			t.Errorf("%s: %v, want about %v", f.GetName(), g, w)
		}
	}
}

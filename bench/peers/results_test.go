package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for name, tt := range map[string]struct {
		values []float64
		want   spread
	}{
		"none": {nil, spread{}},
		"one":  {[]float64{3}, spread{3, 3, 3, 1}},
		"odd":  {[]float64{5, 1, 2}, spread{2, 1, 5, 3}},
		"even": {[]float64{4, 1, 2, 8}, spread{3, 1, 8, 4}},
	} {
		if got := spreadOf(tt.values); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}

// sample is a row of two peers and two repeats, of which one run of the other peer failed.
func sample() *results {
	cpu := func(peer string, repeat int, v float64) record {
		return record{Row: "r", Peer: peer, Repeat: repeat, Metrics: map[string]float64{"cpu": v, "lost": 0, "rss": 1 << 20}}
	}
	r := &results{
		Rows: []row{{
			Measured: &measured{Repeats: 3},

			Name: "r", Title: "A < row", Unit: "delivery", Main: "cpu", Peers: []string{sluice, sender, mosquitto}, Points: make([]point, 1),
			Targets: []target{{"cpu", false, 0.6, sender}, {"cpu", false, 0.2, sender}, {"lost", false, 0, ""}, {"cpu", true, 5, mosquitto}},
		}},
		Records: []record{
			cpu(sluice, 0, 1000), cpu(sender, 0, 2000),
			cpu(sender, 1, 8000), cpu(sluice, 1, 2000),
			cpu(sluice, 2, 1500), cpu(sender, 2, 1),
		},
	}
	r.Records[5].Failure = "ended by us at\n6.0 GiB | resident"
	return r
}

func TestRatioIsPairByPair(t *testing.T) {
	r := sample()
	if got, want := r.ratio("r", 0, sender, "cpu"), (spread{0.375, 0.25, 0.5, 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := r.of("r", 0, sender, "cpu"); got.n != 2 || got.median != 5000 {
		t.Errorf("a failed run counts: %+v", got)
	}
	if got := r.ratio("r", 1, sender, "cpu"); got.n != 0 {
		t.Errorf("another point: %+v", got)
	}
}

func TestMarkdown(t *testing.T) {
	page := sample().markdown()
	for _, want := range []string{
		"| sender | 0.38 (0.25 - 0.50) | 5 us (2 - 8) |",
		"sender: 1 of 3 runs do not count: ended by us at 6.0 GiB / resident.",
		"| A < row | CPU: at most 0.60 x sender | 1.5 us | 5 us | 0.38 (0.25 - 0.50) | met |",
		"| A < row | CPU: at most 0.20 x sender | 1.5 us | 5 us | 0.38 (0.25 - 0.50) | **not met** |",
		"| A < row | lost: at most 0 | 0 |  |  | met |",
		"Nowhere by more than 5%.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if strings.Contains(page, "mosquitto") {
		t.Error("a peer that took no part is spoken of")
	}
}

func TestPlots(t *testing.T) {
	r := sample()
	svg := r.plot(r.Rows[0])
	if !wellFormed([]byte(svg)) || strings.Count(svg, "<rect") != 3 {
		t.Errorf("bars:\n%s", svg)
	}
	growth := r.Rows[0]
	growth.Axis, growth.Points = "connections", []point{{X: 0}, {X: 10}}
	growth.Points[0].X = 1
	for i := range r.Records {
		r.Records[i].X = 1 + 9*float64(i%2)
	}
	r.Rows[0] = growth
	if svg := r.plot(growth); !wellFormed([]byte(svg)) || !strings.Contains(svg, "<circle") || strings.Contains(svg, "NaN") {
		t.Errorf("lines:\n%s", svg)
	}
	if page := r.markdown(); !strings.Contains(page, "| connections | sluice | sender |") {
		t.Errorf("no table of growth in\n%s", page)
	}
	if svg := (&results{}).plot(growth); svg != "" {
		t.Errorf("a plot of nothing: %s", svg)
	}
}

func TestTicks(t *testing.T) {
	for name, tt := range map[string]struct {
		low, high float64
		want      []float64
	}{
		"few":  {3, 40, []float64{5, 10, 20}},
		"many": {3, 4000, []float64{10, 100, 1000}},
	} {
		if got := ticks(tt.low, tt.high); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Every row must be something the load generator does, with peers that exist.
func TestRows(t *testing.T) {
	names := map[string]bool{}
	for _, r := range rows(settings{duration: 4 * time.Second, genLoops: 1}) {
		if names[r.Name] || len(r.Points) == 0 || r.Peers[0] != sluice || metricNames[r.Main] == "" {
			t.Errorf("%+v", r)
		}
		names[r.Name] = true
		for _, name := range r.Peers {
			if !slices.ContainsFunc(allPeers(), func(p *peer) bool { return p.name == name }) || colours[name] == "" {
				t.Errorf("%s: nobody is called %s", r.Name, name)
			}
		}
		for _, pt := range r.Points {
			if c := pt.Config; c.Scenario == "" || c.Duration == 0 || r.How == "" && c.Connections > 19_000 {
				t.Errorf("%s: %+v", r.Name, c)
			}
		}
	}
}

package bench

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/bench/observe"
)

// An Agreement is a number that both ends of a run have counted.
type Agreement struct {
	Counter string  `json:"counter"` // the gateway's name for it
	Gateway float64 `json:"gateway"`
	Ours    float64 `json:"ours"`
}

// Holds reports whether both ends have counted the same.
func (a Agreement) Holds() bool { return a.Gateway == a.Ours }

// expected says what the gateway's counters must have grown by, as far as this run alone decides it.
func (r *run) expected() map[string]uint64 {
	t := r.result.Total
	want := map[string]uint64{}
	if r.Protocol != "netsvr" { // whose guests do not log in
		want[`sluice_logins_total{outcome="ok"}`] = t.Logins
	}
	switch r.Scenario {
	case "fanout":
		want["sluice_publishes_total"] = t.Published
		want["sluice_deliveries_total"] = t.Sent
		if r.enlists() {
			want["sluice_deliveries_total"] += uint64(r.Connections) // each is told its topics
		}
	case "echo", "worker":
		if r.Protocol != "netsvr" {
			want["sluice_requests_total"] = t.Sent
		}
	}
	return want
}

// countersLag is how long the gateway may take to add up what its loops count.
const countersLag = 2 * time.Second

// compareCounters reads the gateway's counters and sets ours beside them.
func (r *run) compareCounters(ctx context.Context, before map[string]float64) error {
	url := strings.TrimSuffix(r.Admin, "/") + "/metrics"
	for deadline := time.Now().Add(countersLag); ; {
		now, err := observe.Scrape(ctx, url)
		if err != nil {
			return err
		}
		r.result.Gateway = observe.Grown(before, now)
		r.result.Agreements = nil
		agree := true
		want := r.expected()
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if _, ok := now[name]; !ok {
				continue
			}
			a := Agreement{Counter: name, Gateway: r.result.Gateway[name], Ours: float64(want[name])}
			agree = agree && a.Holds()
			r.result.Agreements = append(r.result.Agreements, a)
		}
		if agree || time.Now().After(deadline) {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

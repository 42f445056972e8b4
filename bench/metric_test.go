package bench

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/sluicenet/sluice/bench/expect"
	"github.com/sluicenet/sluice/bench/latency"
)

func TestMetrics(t *testing.T) {
	rec := latency.NewRecorder()
	for i := range int64(100) {
		rec.Record((i + 1) * 1e6)
	}
	h := rec.Drain()
	r := &Result{Rate: 5, Latency: describe(h), Accounting: Accounting{Lost: 3}}
	for name, want := range map[string]float64{"p50": 50e6, "p99": 99e6, "max": 100e6, "p100": 100e6, "lost": 3, "rate": 5, "refused": 0} {
		if got := r.Metric(name); math.Abs(got-want) > want/500 {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"cpu", "rss", "raw.p50", "nonsense", "p101", "p"} {
		if got := r.Metric(name); !math.IsNaN(got) {
			t.Errorf("%s = %v, want NaN", name, got)
		}
	}
	for name := range Metrics {
		if _, ok := MetricKind(name); !ok {
			t.Errorf("%s has no kind", name)
		}
		r.Server.Watched, r.Raw = true, r.Latency
		if math.IsNaN(r.Metric(name)) {
			t.Errorf("%s is listed and not known", name)
		}
	}
}

func TestCheck(t *testing.T) {
	conditions, err := expect.Parse("lost=0,rate>1,cpu<5us", MetricKind)
	if err != nil {
		t.Fatal(err)
	}
	r := &Result{Rate: 5, Accounting: Accounting{Lost: 3}}
	if r.Check(conditions) {
		t.Error("met, with losses and CPU not measured")
	}
	for i, met := range []bool{false, true, false} {
		if r.Checks[i].Met != met {
			t.Errorf("%+v", r.Checks[i])
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("what was not measured cannot be written: %v", err)
	}
}

// What has not come is in no percentile.
func TestCheckUnfinished(t *testing.T) {
	for text, met := range map[string]bool{"p99<1s": false, "inflight<5": false, "inflight<5,unsent<5": true, "": false} {
		var conditions []expect.Condition
		if text != "" {
			var err error
			if conditions, err = expect.Parse(text, MetricKind); err != nil {
				t.Fatal(err)
			}
		} else {
			met = true // nothing is expected
		}
		r := &Result{Accounting: Accounting{InFlight: 3, Unsent: 1}}
		if got := r.Check(conditions); got != met {
			t.Errorf("%q: %v, %+v", text, got, r.Checks)
		}
	}
}

func TestCountersAddAndSub(t *testing.T) {
	// every field must take part, so set them all to something
	var one Counters
	b, _ := json.Marshal(one)
	fields := map[string]uint64{"published": 0, "heard": 0, "missed": 0}
	json.Unmarshal(b, &fields)
	n := uint64(1)
	for name := range fields {
		fields[name] = n
		n++
	}
	b, _ = json.Marshal(fields)
	if err := json.Unmarshal(b, &one); err != nil {
		t.Fatal(err)
	}
	sum := one
	sum.add(one)
	if sum.sub(one) != one || sum == one {
		t.Errorf("a field is left out: %+v, %+v", sum, sum.sub(one))
	}
	if (Counters{}) != one.sub(one) {
		t.Errorf("a field is left out of sub: %+v", one.sub(one))
	}
}

func TestPlan(t *testing.T) {
	p, err := Config{Scenario: "fanout", Target: "tcp://127.0.0.1:1", Connections: 25_000, Procs: 2, Topics: 7}.plan()
	if err != nil {
		t.Fatal(err)
	}
	if p.Sources != 2 || p.source(0) == p.source(1) || p.source(0) != p.source(2) || p.source(0).String() != "127.0.0.2" {
		t.Errorf("%d sources, first %v", p.Sources, p.source(0))
	}
	var subs uint32
	for _, n := range p.subGroups {
		subs += n
	}
	if p.groups != 7 || subs != 25_000 {
		t.Errorf("%d groups, %d subscribers", p.groups, subs)
	}
	if got := string(p.appendTopic(nil, 1234567)); got != "bench.1234567" {
		t.Errorf("topic %q", got)
	}
	if p, _ = (Config{Scenario: "echo", Target: "tcp://127.0.0.1:1", Rate: 5}).plan(); p.Depth != 1024 || p.Sources != 0 {
		t.Errorf("open loop: depth %d, %d sources", p.Depth, p.Sources)
	}
	if p, _ = (Config{Scenario: "connect", Target: "tcp://127.0.0.1:1"}).plan(); p.Sources != 16 {
		t.Errorf("storm: %d sources", p.Sources)
	}
}

package bench

import (
	"math"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/bench/expect"
	"github.com/sluicenet/sluice/bench/latency"
)

// Metrics says what can be asked of a Result and what kind of number it is, beside percentiles:
// p50, p99.9, any other; with "raw." in front, of the latency from when things left.
var Metrics = map[string]expect.Kind{
	"min": expect.Duration, "mean": expect.Duration, "max": expect.Duration,
	"rate": expect.Count, "publishes": expect.Count,
	"sent": expect.Count, "delivered": expect.Count, "lost": expect.Count, "inflight": expect.Count, "unsent": expect.Count, "late": expect.Count,
	"refused": expect.Count, "mismatch": expect.Count, "closed": expect.Count, "failed": expect.Count,
	"cpu": expect.Duration, "cores": expect.Count, "rss": expect.Bytes, "conn": expect.Bytes,
}

// MetricKind is the kind of a metric, false if there is no such metric.
func MetricKind(name string) (expect.Kind, bool) {
	name = strings.TrimPrefix(name, "raw.")
	if k, ok := Metrics[name]; ok {
		return k, true
	}
	_, ok := percentile(name)
	return expect.Duration, ok
}

func percentile(name string) (float64, bool) {
	digits, ok := strings.CutPrefix(name, "p")
	if !ok {
		return 0, false
	}
	p, err := strconv.ParseFloat(digits, 64)
	return p, err == nil && p >= 0 && p <= 100
}

// Metric is a number of the result: times in nanoseconds, sizes in bytes, cpu per delivery or
// request. It is NaN if the run did not measure it.
func (r *Result) Metric(name string) float64 {
	if d, ok := r.latencyMetric(name); ok {
		return d
	}
	a, s := r.Accounting, r.Server
	watched := func(v float64) float64 {
		if !s.Watched {
			return math.NaN()
		}
		return v
	}
	switch name {
	case "rate":
		return r.Rate
	case "publishes":
		return r.PublishRate
	case "sent":
		return float64(a.Sent)
	case "delivered":
		return float64(a.Delivered)
	case "lost":
		return float64(a.Lost)
	case "inflight":
		return float64(a.InFlight)
	case "unsent":
		return float64(a.Unsent)
	case "late":
		return float64(a.Late)
	case "refused":
		return float64(a.Refused)
	case "mismatch":
		return float64(a.Mismatch)
	case "closed":
		return float64(a.Closed)
	case "failed":
		return float64(a.Failed)
	case "cpu":
		return watched(s.PerUnit * 1000)
	case "cores":
		return watched(s.Window.Cores())
	case "rss":
		return watched(float64(s.PeakRSS))
	case "conn":
		return watched(s.PerConnection)
	}
	return math.NaN()
}

func (r *Result) latencyMetric(name string) (float64, bool) {
	d := r.Latency
	name, raw := strings.CutPrefix(name, "raw.")
	if raw {
		d = r.Raw
	}
	v := math.NaN()
	p, isPercentile := percentile(name)
	switch {
	case name != "min" && name != "mean" && name != "max" && !isPercentile:
		return 0, false
	case d.Count == 0:
	case name == "min":
		v = float64(d.Min)
	case name == "mean":
		v = d.Mean
	case name == "max":
		v = float64(d.Max)
	default:
		if h, err := latency.Unpack(d.Histogram); err == nil && h != nil {
			v = float64(h.ValueAtPercentile(p))
		}
	}
	return v, true
}

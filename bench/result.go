package bench

import (
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicenet/sluice/bench/expect"
	"github.com/sluicenet/sluice/bench/latency"
	"github.com/sluicenet/sluice/bench/observe"
)

// A Result is what a run found. Times are in nanoseconds where JSON says _ns.
type Result struct {
	Scenario string    `json:"scenario"`
	Unit     string    `json:"unit"` // what Rate and the counters count
	Config   Config    `json:"config"`
	Started  time.Time `json:"started"`
	Machine  Machine   `json:"machine"`

	// Incomplete is why the run ended before its time, empty if it did not.
	Incomplete string `json:"incomplete,omitempty"`
	// Standstill is by how much this process missed a time at most, if by so much that the run is
	// worth repeating: a second, or a quarter of a short window.
	Standstill time.Duration `json:"standstill_ns,omitempty"`

	SetUp  time.Duration `json:"set_up_ns"` // until all connections were up
	Window time.Duration `json:"window_ns"`

	Rate        float64  `json:"rate"` // delivered per second of the window
	PublishRate float64  `json:"publish_rate,omitempty"`
	InWindow    Counters `json:"in_window"`
	Total       Counters `json:"total"`
	Live        int      `json:"live"` // connections at the end

	Accounting Accounting           `json:"accounting"`
	Latency    latency.Distribution `json:"latency"`     // from when it was due
	Raw        latency.Distribution `json:"latency_raw"` // from when it left

	Server    ServerUse    `json:"server"`
	Generator GeneratorUse `json:"generator"`
	Seconds   []Second     `json:"seconds"`
	Errors    []string     `json:"errors,omitempty"`

	// Gateway is what the gateway's own counters grew by, from before the first connection to the end.
	Gateway map[string]float64 `json:"gateway,omitempty"`

	Agreements []Agreement `json:"agreements,omitempty"` // between its counters and ours

	Checks []Check `json:"checks,omitempty"` // of expectations

	hist, rawHist *hdrhistogram.Histogram
}

// A Check is an expectation and whether it was met.
type Check struct {
	Expect string  `json:"expect"`
	Got    float64 `json:"got"` // in the metric's unit, -1 if it was not measured
	Met    bool    `json:"met"`
}

// Check judges the result and keeps the verdicts. It reports whether all conditions are met. A
// percentile knows nothing of what has not come, so where there are conditions, nothing may be left
// in flight or unsent, unless one of them says how much may.
func (r *Result) Check(conditions []expect.Condition) bool {
	all := true
	for _, name := range []string{"inflight", "unsent"} {
		spoken := func(c expect.Condition) bool { return c.Metric == name }
		if v := r.Metric(name); v > 0 && len(conditions) > 0 && !slices.ContainsFunc(conditions, spoken) {
			r.Checks = append(r.Checks, Check{Expect: name + "=0", Got: v})
			all = false
		}
	}
	for _, c := range conditions {
		v := r.Metric(c.Metric)
		met := c.Met(v)
		if math.IsNaN(v) {
			v = -1 // JSON has no NaN
		}
		r.Checks = append(r.Checks, Check{Expect: c.Text, Got: v, Met: met})
		all = all && met
	}
	return all
}

// Accounting is where everything that was sent has gone. Sent is Delivered + Lost + InFlight if it
// is Balanced.
type Accounting struct {
	Sent      uint64 `json:"sent"`
	Delivered uint64 `json:"delivered"`
	Lost      uint64 `json:"lost"`
	InFlight  uint64 `json:"in_flight"` // when the drain ended
	Unsent    uint64 `json:"unsent"`    // due, but the gateway let nothing more in
	Late      uint64 `json:"late"`      // repeated or out of order, beside the others
	Refused   uint64 `json:"refused"`
	Mismatch  uint64 `json:"mismatch"`
	Closed    uint64 `json:"closed"`
	Failed    uint64 `json:"failed"`
	Balanced  bool   `json:"balanced"`
}

// A Second of the measured window. The last may be shorter.
type Second struct {
	At       time.Duration        `json:"at_ns"` // its end, from the start of the window
	Span     time.Duration        `json:"span_ns"`
	Counters Counters             `json:"counters"` // of this second
	Rate     float64              `json:"rate"`
	Live     int                  `json:"live"`
	Latency  latency.Distribution `json:"latency"`
	Server   observe.Use          `json:"server"`

	hist *hdrhistogram.Histogram
}

// Histogram is the second's latencies, nil for none. It is not there when the result was read from
// a file.
func (s Second) Histogram() *hdrhistogram.Histogram { return s.hist }

// ServerUse is what the gateway's processes used.
type ServerUse struct {
	Watched   bool           `json:"watched"`
	Before    observe.Sample `json:"before"`    // anything was connected
	Connected observe.Sample `json:"connected"` // all was, before the run
	After     observe.Sample `json:"after"`     // the window
	Window    observe.Use    `json:"window"`

	PerUnit       float64 `json:"cpu_per_unit_us"` // CPU per delivery, request or login
	PerUnitUser   float64 `json:"cpu_per_unit_user_us"`
	PerUnitSystem float64 `json:"cpu_per_unit_system_us"`
	PeakRSS       int64   `json:"peak_rss_bytes"`
	PerConnection float64 `json:"rss_per_connection_bytes"` // since Before
}

func (u *ServerUse) use(from, to observe.Sample, units uint64, w *observe.Watcher) {
	u.Watched = !w.Empty()
	u.Window = observe.Between(from, to)
	if units > 0 {
		per := func(d time.Duration) float64 { return float64(d) / 1000 / float64(units) }
		u.PerUnit, u.PerUnitUser, u.PerUnitSystem = per(u.Window.CPU), per(u.Window.User), per(u.Window.System)
	}
}

// memory says what connections cost, once they are all there.
func (u *ServerUse) memory(r *run) {
	u.PeakRSS = r.server.Peak()
	full := u.Connected
	if r.cold() || r.Scenario == "idle" {
		full = u.After
	}
	if n := r.total.Live; n > 0 && u.Watched {
		u.PerConnection = float64(full.RSS-u.Before.RSS) / float64(n)
	}
}

// GeneratorUse tells whether the generator itself was the limit.
type GeneratorUse struct {
	CPU         time.Duration `json:"cpu_ns"`       // of all processes with loops
	BusiestLoop float64       `json:"busiest_loop"` // share of the window that it did not sleep; near 1 it was
}

// A Machine is where it ran.
type Machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
}

func newResult(p *plan) *Result {
	return &Result{
		Scenario: p.Scenario, Unit: scenarios[p.Scenario].unit, Config: p.Config, Started: time.Now(), Machine: thisMachine(),
	}
}

func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			_, name, _ := strings.Cut(line, ":")
			m.CPU = strings.TrimSpace(name)
		}
	}
	return m
}

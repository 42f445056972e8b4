package bench

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// quick is a run of a fraction of a second.
func quick(g *gateway, scenario string) Config {
	return Config{
		Scenario: scenario, Target: g.url, Connections: 20, Warmup: 50 * time.Millisecond,
		Duration: 200 * time.Millisecond, Drain: 30 * time.Second, StepTimeout: 30 * time.Second,
	}
}

func mustRun(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := Run(t.Context(), c, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Accounting.Balanced {
		t.Errorf("does not add up: %+v", r.Accounting)
	}
	return r
}

// undisturbed runs c until the machine lets it: in a fraction of a second that this process has slept through, nothing is sent.
func undisturbed(t *testing.T, c Config) *Result {
	t.Helper()
	for try := 1; ; try++ {
		r := mustRun(t, c)
		if r.Standstill == 0 || try == 20 {
			return r
		}
	}
}

// whole checks that everything sent has arrived, once, and without complaints.
func whole(t *testing.T, r *Result) {
	t.Helper()
	a := r.Accounting
	if a.Sent == 0 || a.Delivered != a.Sent || a.Lost+a.InFlight+a.Unsent+a.Late+a.Refused+a.Mismatch+a.Closed+a.Failed != 0 {
		t.Errorf("accounting: %+v\nerrors: %q", a, r.Errors)
	}
}

func TestFanout(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"one topic":             func(c *Config) { c.Rate = 200 },
		"topics shared":         func(c *Config) { c.Rate, c.Topics = 500, 7 },
		"more topics than ears": func(c *Config) { c.Rate, c.Topics = 500, 45 },
		// It keeps the others of this process from their turns, and itself: 200 ms may pass in one.
		"as fast as possible":     func(c *Config) { c.Connections, c.Warmup, c.Duration = 3, 0, time.Second },
		"several publishers":      func(c *Config) { c.Rate, c.Publishers, c.Topics = 500, 3, 2 },
		"fixed6":                  func(c *Config) { c.Rate, c.Protocol = 200, "gosoc-fixed6" },
		"gzip":                    func(c *Config) { c.Rate, c.Gzip = 200, true },
		"smallest":                func(c *Config) { c.Rate, c.Size = 200, 10 },
		"big":                     func(c *Config) { c.Rate, c.Size, c.Connections = 40, 64<<10, 4 },
		"two loops":               func(c *Config) { c.Rate, c.Loops, c.Publishers = 500, 2, 2 },
		"stages":                  func(c *Config) { c.Stages = "100ms:100,150ms:100-400" },
		"several addresses, ipv4": func(c *Config) { c.Rate, c.Sources = 200, 3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := quick(newGateway(t), "fanout")
			change(&c)
			r := undisturbed(t, c)
			whole(t, r)
			if c.Size != 10 && (r.Latency.Count == 0 || r.Latency.P50 > r.Latency.Max) {
				t.Errorf("latency %+v", r.Latency)
			}
			if len(r.Seconds) == 0 {
				t.Error("no seconds")
			}
		})
	}
}

// What is said per second is what was counted in the window, over its real length.
func TestRates(t *testing.T) {
	t.Parallel()
	c := quick(newGateway(t), "fanout")
	c.Rate, c.Duration = 100, 3500*time.Millisecond
	r := mustRun(t, c)
	whole(t, r)
	w, span := r.InWindow, r.Window.Seconds()
	if w.Published == 0 || w.Delivered == 0 || math.Abs(r.PublishRate*span-float64(w.Published)) > .01 || math.Abs(r.Rate*span-float64(w.Delivered)) > .01 {
		t.Errorf("%v and %v per second, %d and %d in %v", r.PublishRate, r.Rate, w.Published, w.Delivered, r.Window)
	}
	var published, delivered uint64
	var spans time.Duration
	for _, s := range r.Seconds {
		published, delivered, spans = published+s.Counters.Published, delivered+s.Counters.Delivered, spans+s.Span
		if math.Abs(s.Rate*s.Span.Seconds()-float64(s.Counters.Delivered)) > .01 {
			t.Errorf("%v per second, %d in %v", s.Rate, s.Counters.Delivered, s.Span)
		}
	}
	if published != w.Published || delivered != w.Delivered || (spans-r.Window).Abs() > time.Millisecond {
		t.Errorf("the seconds hold %d, %d in %v, the window %d, %d in %v", published, delivered, spans, w.Published, w.Delivered, r.Window)
	}
}

// What goes wrong must be seen, and by its name.
func TestFanoutFaults(t *testing.T) {
	third := func(n int64) bool { return n%300 == 7 }
	for name, tt := range map[string]struct {
		fault func(*gateway)
		check func(Accounting) bool
	}{
		"lost":     {func(g *gateway) { g.drop = third }, func(a Accounting) bool { return a.Lost > 0 && a.Late == 0 }},
		"repeated": {func(g *gateway) { g.twice = third }, func(a Accounting) bool { return a.Late > 0 && a.Lost == 0 && a.Delivered == a.Sent }},
		"closed":   {func(g *gateway) { g.cut = func(n int64) bool { return n == 100 } }, func(a Accounting) bool { return a.Closed == 1 && a.Lost > 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, tt.fault)
			c := quick(g, "fanout")
			c.Rate, c.Drain = 300, 100*time.Millisecond
			if r := mustRun(t, c); !tt.check(r.Accounting) {
				t.Errorf("%+v", r.Accounting)
			}
		})
	}
}

func TestEcho(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"closed loop":   func(c *Config) {},
		"pipelined":     func(c *Config) { c.Depth = 16 },
		"depth 5":       func(c *Config) { c.Depth = 5 },
		"open loop":     func(c *Config) { c.Rate = 2000 },
		"gzip":          func(c *Config) { c.Gzip = true },
		"fixed6":        func(c *Config) { c.Protocol, c.Depth = "gosoc-fixed6", 3 },
		"two loops":     func(c *Config) { c.Loops, c.Rate = 2, 1000 },
		"ids above 255": func(c *Config) { c.Connections, c.Depth, c.Duration = 1, 256, 500*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := quick(newGateway(t), "echo")
			change(&c)
			r := undisturbed(t, c)
			whole(t, r)
			if r.Latency.Count == 0 {
				t.Error("no latency")
			}
		})
	}
}

// One stall of 100 ms, one request in flight: those that were due meanwhile could not even be sent, and have waited all the
// same. Measured from when they left, all but one look fast.
func TestNoCoordinatedOmission(t *testing.T) {
	g := newGateway(t, func(g *gateway) {
		g.stall = func(n int64) {
			if n == 50 {
				time.Sleep(100 * time.Millisecond)
			}
		}
	})
	c := quick(g, "echo")
	c.Connections, c.Rate, c.Warmup, c.Duration = 1, 500, 0, 400*time.Millisecond
	c.Depth = 1
	r := mustRun(t, c)
	whole(t, r)
	if r.Latency.Count != 200 || r.Raw.Count != 200 {
		t.Errorf("%d and %d values, want 200", r.Latency.Count, r.Raw.Count)
	}
	// some 50 of 200 were due during the stall
	if p80, raw := r.Metric("p80"), r.Metric("raw.p80"); p80 < 10e6 || raw > 10e6 {
		t.Errorf("p80 is %.1f ms from when due and %.1f ms from when sent", p80/1e6, raw/1e6)
	}
	if r.Metric("raw.max") < 90e6 || r.Metric("max") < 90e6 {
		t.Error("the stall itself was not seen")
	}
}

func TestEchoFaults(t *testing.T) {
	t.Parallel()
	t.Run("no answer", func(t *testing.T) {
		g := newGateway(t, func(g *gateway) { g.silent = func(id uint16) bool { return id == 3 } })
		c := quick(g, "echo")
		c.Drain = 50 * time.Millisecond
		if a := undisturbed(t, c).Accounting; a.InFlight != 20 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("no answer to an open loop", func(t *testing.T) {
		g := newGateway(t, func(g *gateway) { g.silent = func(uint16) bool { return true } })
		c := quick(g, "echo")
		c.Rate, c.Depth, c.Drain = 1000, 2, 50*time.Millisecond
		if a := undisturbed(t, c).Accounting; a.Sent != 40 || a.InFlight != 40 || a.Unsent != 210 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("wrong answer", func(t *testing.T) {
		g := newGateway(t, func(g *gateway) { g.answer = func([]byte) []byte { return []byte("[]") } })
		if a := undisturbed(t, quick(g, "echo")).Accounting; a.Mismatch == 0 || a.Mismatch != a.Delivered {
			t.Errorf("%+v", a)
		}
	})
}

func TestConnect(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"storm":    func(c *Config) {},
		"paced":    func(c *Config) { c.Rate = 100 },
		"sessions": func(c *Config) { c.Resume = true },
		"gzip":     func(c *Config) { c.Resume, c.Gzip = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			c := quick(g, "connect")
			c.Warmup, c.Duration = 0, time.Minute
			change(&c)
			r := mustRun(t, c)
			whole(t, r)
			if r.Accounting.Delivered != 20 || r.Live != 20 || r.Latency.Count != 20 {
				t.Errorf("%+v, %d live, %d latencies", r.Accounting, r.Live, r.Latency.Count)
			}
			if c.Resume && g.resumed.Load() != 20 {
				t.Errorf("%d resumed", g.resumed.Load())
			}
			if r.Window > 30*time.Second {
				t.Errorf("did not end when all were up: %v", r.Window)
			}
		})
	}
}

func TestConnectRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t, func(g *gateway) { g.refuse = true })
	c := quick(g, "connect")
	c.Warmup, c.Duration = 0, time.Minute // it ends when all have been told
	if a := mustRun(t, c).Accounting; a.Lost != 20 || a.Delivered != 0 || a.Failed != 20 {
		t.Errorf("%+v", a)
	}
	c = quick(g, "idle")
	if _, err := Run(t.Context(), c, Observer{}); !errors.Is(err, errNotReady) {
		t.Errorf("set-up with all logins refused: %v", err)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	r := mustRun(t, quick(g, "idle"))
	if r.Live != 20 || g.logins.Load() != 20 {
		t.Errorf("%d live, %d logins", r.Live, g.logins.Load())
	}
}

func TestWorker(t *testing.T) {
	t.Parallel()
	c := quick(newGateway(t), "worker")
	c.Route, c.Depth = "some.Where", 4
	whole(t, undisturbed(t, c))
	c.Route = ""
	if _, err := Run(t.Context(), c, Observer{}); !errors.Is(err, ErrConfig) {
		t.Errorf("without a route: %v", err)
	}
}

func TestChurn(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	c := quick(g, "churn")
	c.Rate, c.Background, c.Topics = 200, 300, 3
	r := undisturbed(t, c)
	whole(t, r)
	if n := g.logins.Load(); n < 20+int64(r.Accounting.Sent) || r.Total.Heard == 0 || r.Total.Missed != 0 {
		t.Errorf("%d logins, %+v", n, r.Total)
	}
}

// Every protocol and transport must do what it can.
func TestProtocols(t *testing.T) {
	for name, tt := range map[string]struct {
		protocol, scheme string
		gzip             bool
	}{
		"longbridge":      {"longbridge", "tcp", false},
		"longbridge gzip": {"longbridge", "tcp", true},
		"longbridge ws":   {"longbridge", "ws", false},
		"gosoc ws":        {"gosoc", "ws", false},
		"gosoc ws gzip":   {"gosoc", "ws", true},
		"fixed6 ws":       {"gosoc-fixed6", "ws", false},
	} {
		for scenario, change := range map[string]func(*Config){
			"fanout":  func(c *Config) { c.Rate, c.Topics = 300, 3 },
			"echo":    func(c *Config) { c.Depth = 5 },
			"connect": func(c *Config) { c.Warmup, c.Resume = 0, true },
		} {
			t.Run(name+" "+scenario, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t)
				g.url = tt.scheme + strings.TrimPrefix(g.url, "tcp")
				c := quick(g, scenario)
				c.Protocol, c.Gzip = tt.protocol, tt.gzip
				change(&c)
				whole(t, undisturbed(t, c))
			})
		}
	}
}

func TestPings(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"gosoc", "longbridge"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			c := quick(g, "idle")
			c.Protocol, c.Duration, c.Ping = protocol, 3500*time.Millisecond, 300*time.Millisecond
			if r := mustRun(t, c); g.pings.Load() < 20 || r.Live != 20 {
				t.Errorf("%d pings, %d live", g.pings.Load(), r.Live)
			}
		})
	}
}

func TestProcs(t *testing.T) {
	g := newGateway(t)
	c := quick(g, "fanout")
	c.Procs, c.Publishers, c.Rate, c.Topics = 2, 2, 300, 3
	r := mustRun(t, c)
	whole(t, r)
	if r.Latency.Count == 0 || g.logins.Load() != 22 {
		t.Errorf("%d latencies, %d logins", r.Latency.Count, g.logins.Load())
	}
}

func TestBadConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no scenario":   {Scenario: "dance", Target: "tcp://127.0.0.1:1"},
		"no target":     {Scenario: "idle"},
		"scheme":        {Scenario: "idle", Target: "http://127.0.0.1:1"},
		"protocol":      {Scenario: "idle", Target: "tcp://127.0.0.1:1", Protocol: "smtp"},
		"too many":      {Scenario: "idle", Target: "tcp://127.0.0.1:1", Connections: 20_000},
		"small message": {Scenario: "fanout", Target: "tcp://127.0.0.1:1", Size: 3},
		"stages":        {Scenario: "fanout", Target: "tcp://127.0.0.1:1", Stages: "x"},
		"negative":      {Scenario: "fanout", Target: "tcp://127.0.0.1:1", Topics: -1},
		"process":       {Scenario: "idle", Target: "tcp://127.0.0.1:1", PIDs: []int{1 << 30}},
	} {
		if _, err := Run(t.Context(), c, Observer{}); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

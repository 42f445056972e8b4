package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// short is how long a run may take from its early end to its report.
const short = 20 * time.Second

// during runs c, which would last an hour, and calls f once it has something to measure.
func during(t *testing.T, c Config, f func(cancel func())) *Result {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan time.Time, 1)
	c.Duration = time.Hour
	measuring := false
	r, err := Run(ctx, c, Observer{
		Phase: func(name string) { measuring = name == "measure" },
		Progress: func(_, _ int64, s Second) {
			if measuring && (c.Scenario == "idle" || s.Counters.Delivered > 0) {
				measuring = false
				go func() {
					ended <- time.Now()
					f(cancel)
				}()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(<-ended); took > short {
		t.Errorf("the report took %v", took)
	}
	if !r.Accounting.Balanced || r.Accounting.Late+r.Accounting.Mismatch > 0 {
		t.Errorf("%+v", r.Accounting)
	}
	if r.Window <= 0 || r.Window > 2*short {
		t.Errorf("window of %v", r.Window)
	}
	return r
}

func TestInterrupt(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"fanout":    func(c *Config) { c.Rate = 200 },
		"flood":     func(c *Config) { c.Connections = 3 },
		"processes": func(c *Config) { c.Rate, c.Procs = 200, 2 },
		"echo":      func(c *Config) { c.Scenario = "echo" },
		"open loop": func(c *Config) { c.Scenario, c.Rate = "echo", 500 },
		"connect":   func(c *Config) { c.Scenario, c.Warmup, c.Rate, c.Connections = "connect", 0, 50, 1000 },
		"churn":     func(c *Config) { c.Scenario, c.Rate, c.Background = "churn", 100, 50 },
		"idle":      func(c *Config) { c.Scenario = "idle" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := quick(newGateway(t), "fanout")
			change(&c)
			r := during(t, c, func(cancel func()) { cancel() })
			if r.Incomplete != "interrupted" {
				t.Errorf("incomplete: %q", r.Incomplete)
			}
			// what was due just then, some seconds of it on a busy machine, may not have left
			if a := r.Accounting; c.Scenario != "idle" && (a.Delivered == 0 || a.Lost > 0 || a.Unsent > 5*uint64(c.Rate)) {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestGatewayGone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"fanout":    func(c *Config) { c.Rate = 200 },
		"processes": func(c *Config) { c.Procs = 2 },
		"echo":      func(c *Config) { c.Scenario, c.Depth = "echo", 4 },
		"idle":      func(c *Config) { c.Scenario = "idle" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			c := quick(g, "fanout")
			change(&c)
			r := during(t, c, func(func()) { g.kill() })
			if !strings.Contains(r.Incomplete, "closed all connections") {
				t.Errorf("incomplete: %q", r.Incomplete)
			}
			if a := r.Accounting; a.InFlight > 0 || a.Closed == 0 || r.Live > 0 {
				t.Errorf("%d live, %+v", r.Live, a)
			}
		})
	}
}

func TestInterruptBeforeAnythingIsMeasured(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c := quick(newGateway(t), "idle")
	c.Warmup = time.Hour
	if _, err := Run(ctx, c, Observer{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A run whose goroutine sleeps through the time to be measured has no rates, says why, and still accounts for everything.
func TestStoodStill(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		phase      string
		sleep      time.Duration
		incomplete bool
	}{
		"through it":       {"measure", 1100 * time.Millisecond, true},
		"through some":     {"warm up", 600 * time.Millisecond, false},
		"through all, too": {"warm up", 2 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := quick(newGateway(t), "fanout")
			c.Rate, c.Duration = 200, time.Second
			r, err := Run(t.Context(), c, Observer{Phase: func(name string) {
				if name == tt.phase {
					time.Sleep(tt.sleep)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(r.Errors, " "), "stood still") || r.Standstill < tt.sleep/2 {
				t.Errorf("errors: %q, standstill of %v", r.Errors, r.Standstill)
			}
			if !tt.incomplete {
				return // unless the machine stood still, too
			}
			if !strings.Contains(r.Incomplete, "stood still") || r.Window != 0 || r.Rate != 0 || r.PublishRate != 0 || len(r.Seconds) != 0 {
				t.Errorf("incomplete: %q, window %v, rates %v and %v, %d seconds", r.Incomplete, r.Window, r.Rate, r.PublishRate, len(r.Seconds))
			}
			if a := r.Accounting; a.Sent == 0 || a.Delivered != a.Sent || !a.Balanced {
				t.Errorf("%+v", a)
			}
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}

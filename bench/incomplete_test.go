package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// short is how long a run may take from its early end to its report.
const short = 4 * time.Second

// during runs c, which would last an hour, and calls f a moment after it has begun to measure.
func during(t *testing.T, c Config, f func(cancel func())) *Result {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan time.Time, 1)
	c.Duration = time.Hour
	r, err := Run(ctx, c, Observer{Phase: func(name string) {
		if name == "measure" {
			time.AfterFunc(100*time.Millisecond, func() {
				ended <- time.Now()
				f(cancel)
			})
		}
	}})
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
			// what was due just then, a second of it on a busy machine, may not have left
			if a := r.Accounting; c.Scenario != "idle" && (a.Delivered == 0 || a.Lost > 0 || a.Unsent > uint64(c.Rate)) {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestGatewayGone(t *testing.T) {
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

package bench

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// real starts the gateway itself, in development mode, and returns its addresses for clients and workers.
func real(t *testing.T) (client, worker string) {
	s, err := server.New(server.Config{
		Listen: []string{"tcp://127.0.0.1:0"}, WorkerListen: "tcp://127.0.0.1:0", Dev: true,
		Engine: engine.Config{Loops: 1}, Gateway: server.GatewayConfig{Login: login.Open{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		s.Stop(ctx)
	})
	return strings.TrimPrefix(s.Addrs()[0], "tcp://"), strings.TrimPrefix(s.WorkerAddr(), "tcp://")
}

// What the generator believes of the protocols must be what the gateway does.
func TestAgainstTheGateway(t *testing.T) {
	for name, tt := range map[string]struct {
		protocol, scheme string
		change           func(c *Config, worker string)
	}{
		"gosoc fanout":               {"gosoc", "tcp", func(c *Config, _ string) { c.Scenario, c.Rate, c.Topics = "fanout", 200, 3 }},
		"gosoc fanout flat out":      {"gosoc", "tcp", func(c *Config, _ string) { c.Scenario = "fanout" }},
		"gosoc fanout from a worker": {"gosoc", "tcp", func(c *Config, w string) { c.Scenario, c.Rate, c.Worker = "fanout", 200, w }},
		"gosoc gzip":                 {"gosoc", "tcp", func(c *Config, _ string) { c.Scenario, c.Rate, c.Gzip = "fanout", 200, true }},
		"fixed6 echo":                {"gosoc-fixed6", "tcp", func(c *Config, _ string) { c.Scenario, c.Depth = "echo", 16 }},
		"gosoc over WebSocket":       {"gosoc", "ws", func(c *Config, _ string) { c.Scenario, c.Depth = "echo", 4 }},
		"gosoc sessions":             {"gosoc", "tcp", func(c *Config, _ string) { c.Scenario, c.Resume, c.Warmup = "connect", true, 0 }},
		"gosoc churn":                {"gosoc", "tcp", func(c *Config, _ string) { c.Scenario, c.Rate, c.Background = "churn", 200, 100 }},
		"longbridge fanout":          {"longbridge", "tcp", func(c *Config, _ string) { c.Scenario, c.Rate, c.Topics = "fanout", 200, 3 }},
		"longbridge gzip":            {"longbridge", "tcp", func(c *Config, _ string) { c.Scenario, c.Depth, c.Gzip = "echo", 4, true }},
		"longbridge over WebSocket":  {"longbridge", "ws", func(c *Config, _ string) { c.Scenario, c.Rate = "fanout", 200 }},
		"longbridge sessions":        {"longbridge", "ws", func(c *Config, _ string) { c.Scenario, c.Resume, c.Warmup = "connect", true, 0 }},
		"netsvr echo":                {"netsvr", "ws", func(c *Config, _ string) { c.Scenario, c.Depth = "echo", 4 }},
		"netsvr fanout":              {"netsvr", "ws", func(c *Config, w string) { c.Scenario, c.Rate, c.Topics, c.Worker = "fanout", 200, 7, w }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, worker := real(t)
			c := Config{
				Protocol: tt.protocol, Target: tt.scheme + "://" + client, Connections: 20, Warmup: 50 * time.Millisecond,
				Duration: 200 * time.Millisecond, Drain: 30 * time.Second, StepTimeout: 30 * time.Second,
			}
			tt.change(&c, worker)
			whole(t, undisturbed(t, c))
		})
	}
}

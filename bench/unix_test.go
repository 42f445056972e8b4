package bench

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// Clients and workers reach the gateway over unix sockets as over TCP.
func TestUnixSockets(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "sluice-bench") // short enough for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	s, err := server.New(server.Config{
		Dev: true, Listen: []string{"unix://" + at("c"), "ws+unix://" + at("ws")}, WorkerListen: "unix://" + at("w"),
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
	for name, c := range map[string]Config{
		"echo":                {Scenario: "echo", Target: "unix://" + at("c"), Depth: 4},
		"fan-out of a worker": {Scenario: "fanout", Target: "unix://" + at("c"), Rate: 200, Worker: "unix://" + at("w")},
		"worker by its path":  {Scenario: "fanout", Target: "unix://" + at("c"), Rate: 200, Worker: at("w")},
		"WebSocket":           {Scenario: "echo", Target: "ws+unix://" + at("ws"), Depth: 4},
		"netsvr":              {Scenario: "fanout", Target: "ws+unix://" + at("ws"), Protocol: "netsvr", Rate: 200, Worker: "unix://" + at("w")},
		"many come at a time": {Scenario: "connect", Target: "unix://" + at("c"), Connections: 500, Dialing: 500},
	} {
		t.Run(name, func(t *testing.T) {
			if c.Connections == 0 {
				c.Connections, c.Warmup = 20, 50*time.Millisecond
			}
			c.Duration, c.Drain, c.StepTimeout = 200*time.Millisecond, 30*time.Second, 30*time.Second
			whole(t, undisturbed(t, c))
		})
	}
	c := Config{Scenario: "echo", Target: "unix://" + at("c")}
	if pids := FindGateways(c); !slices.Equal(pids, []int{os.Getpid()}) {
		t.Errorf("the gateway is process %d, want %d", pids, os.Getpid())
	}
	for _, c := range []Config{
		{Scenario: "echo", Target: "unix://" + at("none")},
		{Scenario: "echo", Target: "unix://" + dir},
	} {
		c.StepTimeout = time.Second
		if _, err := Run(t.Context(), c, Observer{}); err == nil {
			t.Errorf("%s: no error", c.Target)
		}
	}
	for _, worker := range []string{"ws://127.0.0.1:1", "tls://127.0.0.1:1", "unix:x", "tcp://127.0.0.1:1/x"} {
		if _, err := (Config{Scenario: "fanout", Target: "unix:///x", Worker: worker}).plan(); err == nil {
			t.Errorf("a worker at %s", worker)
		}
	}
}

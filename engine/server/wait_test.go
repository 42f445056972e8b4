package server

import (
	"testing"
	"time"
)

// TestWaitWorkers: requests wait where a worker can come, or the program says so.
func TestWaitWorkers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   time.Duration
	}{
		{"no worker can come", func(*Config) {}, -1},
		{"the program may attach one", func(c *Config) { c.Gateway.WaitWorkers = time.Second }, time.Second},
		{"workers have a port", func(c *Config) { c.WorkerListen = "tcp://127.0.0.1:0" }, 0},
		{"other gateways may have some", func(c *Config) { c.Cluster.URLs = []string{"nats://127.0.0.1:4222"} }, 0},
		{"not to wait", func(c *Config) { c.WorkerListen, c.Gateway.WaitWorkers = "tcp://127.0.0.1:0", -1 }, -1},
	} {
		c := Config{}
		if tc.change(&c); c.waitWorkers() != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, c.waitWorkers(), tc.want)
		}
	}
}

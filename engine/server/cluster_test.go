package server

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// Settings of a cluster that cannot be honoured are refused by name, and what is not refused is in force.
func TestCluster(t *testing.T) {
	on := ClusterConfig{URLs: []string{"nats://127.0.0.1:4222"}}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string // empty: taken
	}{
		{"nothing", func(*Config) {}, ""},
		{"a server", func(c *Config) { c.Cluster = on }, ""},
		{"no server", func(c *Config) { c.Cluster.Name = "a" }, "Config.Cluster: there are no URLs"},
		{"no URL", func(c *Config) { c.Cluster.URLs = []string{"127.0.0.1:1"} }, "URLs: \"127.0.0.1:1\": want nats://"},
		{"a bad name", func(c *Config) { c.Cluster, c.Cluster.Name = on, "A b" }, "Name: "},
		{"no such file", func(c *Config) { c.Cluster, c.Cluster.Creds = on, "/nonexistent" }, "Creds: open /nonexistent"},
		{"two secrets", func(c *Config) { c.Cluster, c.Cluster.Creds, c.Cluster.NKey = on, "a", "b" }, "NKey: "},
		{"replicas", func(c *Config) { c.Cluster, c.Cluster.Replicas = on, 6 }, "Replicas: 6, want 0 to 5"},
		{"address", func(c *Config) { c.Cluster, c.Cluster.Address = on, "a\nb" }, "Address: "},
		{"another Remote", func(c *Config) { c.Cluster, c.Engine.Remote = on, nowhere{} }, "Config.Engine.Remote is set"},
		{"another Log", func(c *Config) {
			c.Cluster, c.Engine.Log = on, struct{ engine.Log }{}
		}, "Config.Engine.Log is set"},
		{"history", func(c *Config) {
			c.Cluster, c.Engine.History.Rules = on, []topic.Rule{{Pattern: "a", Count: 1, Age: time.Second}}
		}, ""},
		{"wait", func(c *Config) { c.Cluster, c.Cluster.HistoryWait = on, time.Millisecond }, "HistoryWait: 1ms, want 1s to 5m0s"},
		{"total", func(c *Config) { c.Cluster, c.Cluster.HistoryTotal = on, 1 }, "HistoryTotal: 1 bytes, want 1048576 at least"},
	} {
		config := base()
		tc.change(&config)
		s, err := New(config)
		switch {
		case tc.want == "" && err != nil, tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		case err == nil && (s.node != nil) != (len(config.Cluster.URLs) > 0):
			t.Errorf("%s: node %v", tc.name, s.node)
		case err == nil && s.node != nil && s.engine.Config().Remote != engine.Remote(s.node):
			t.Errorf("%s: the engine has another Remote", tc.name)
		}
		if err == nil {
			if err := s.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// While NATS is away Start waits for it a while, and gives up at once when it is to stop.
func TestClusterStopAtStart(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := "nats://" + ln.Addr().String()
	ln.Close()
	config := base()
	config.Cluster.URLs = []string{away}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	go func() { started <- s.Start() }()
	for s.AdminURL() == "" {
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	_ = s.Stop(t.Context())
	if err := <-started; !errors.Is(err, engine.ErrStopped) {
		t.Errorf("Start says %v", err)
	}
	if d := time.Since(begun); d > natsTimeout/2 {
		t.Errorf("the stop took %v", d)
	}
}

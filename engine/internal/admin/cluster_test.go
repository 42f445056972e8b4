package admin_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// inCluster begins to start a gateway of a cluster whose NATS is away, and returns where its operators
// are served: it waits for NATS a while. It is stopped at the end of the test, and gives up at once.
func inCluster(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := ln.Addr().String()
	ln.Close()
	s, err := server.New(server.Config{
		Listen:  []string{"tcp://127.0.0.1:0"},
		Gateway: server.GatewayConfig{Login: login.Open{}, ServerID: 3},
		Cluster: server.ClusterConfig{URLs: []string{"nats://" + away}},
		Admin:   server.AdminConfig{Address: "127.0.0.1:0", Dev: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- s.Start() }()
	t.Cleanup(func() {
		begun := time.Now()
		_ = s.Stop(t.Context())
		if err := <-started; !errors.Is(err, engine.ErrStopped) {
			t.Errorf("Start says %v, want that it was stopped", err)
		}
		if d := time.Since(begun); d > 30*time.Second {
			t.Errorf("the stop took %v", d)
		}
	})
	for s.AdminURL() == "" {
		time.Sleep(time.Millisecond)
	}
	return s.AdminURL()
}

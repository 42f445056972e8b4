package admin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/engine/worker"
)

// TestWorkersAndLatency: a worker is listed with what it is and how fast it answers, and the same is
// in the metrics once the loops were asked.
func TestWorkersAndLatency(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.Login = login.Open{} })
	a := &apiClient{t: t, base: s.AdminURL(), description: admin.ReadDescription(t)}
	w, err := worker.New(worker.Config{Gateways: []string{strings.TrimPrefix(s.WorkerAddr(), "tcp://")}, WorkerID: 2})
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("slow.*", func(context.Context, *worker.Request) ([]byte, error) { return []byte(`{"status":0}`), nil })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	type workers struct {
		Workers []struct {
			WorkerID       int
			Registered     bool
			TakesRequests  bool
			Sent, Received int
			Latency        struct{ Count int }
		}
		Latency struct{ Count int }
	}
	var list workers
	waitFor(t, "the worker", func() bool {
		list = workers{}
		a.get("/api/v1/workers", "/api/v1/workers?workerId=2", 200, &list)
		return len(list.Workers) == 1
	})
	if err := s.Gateway().Route("slow.*", 2); err != nil {
		t.Fatal(err)
	}
	c := member(t, s, "ann")
	for range 3 {
		if got := call(t, c, "slow.Down", "{}"); got != `{"status":0}` {
			t.Fatal(got)
		}
	}
	a.get("/api/v1/workers", "/api/v1/workers", 200, &list)
	if l := list.Workers[0]; !l.Registered || !l.TakesRequests || l.Sent < 3 || l.Received < 4 || l.Latency.Count != 3 || list.Latency.Count != 3 {
		t.Errorf("%+v", list)
	}
	a.get("/api/v1/workers", "/api/v1/workers?workerId=3", 200, &list)
	if len(list.Workers) != 0 {
		t.Errorf("of another id: %+v", list)
	}
	waitFor(t, "the metric", func() bool {
		_, text := fetch(t, s.AdminURL()+"/metrics")
		return strings.Contains(text, "sluice_request_seconds_count 3\n")
	})
}

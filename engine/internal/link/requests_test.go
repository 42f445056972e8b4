package link

import (
	"io"
	"testing"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// A link that has ended is not busy: its requests are told what those are that were under way.
func TestRefusal(t *testing.T) {
	l := &link{outbox: newOutbox(1)}
	if !l.outbox.put(func(dst []byte) []byte { return append(dst, "full"...) }) || l.outbox.room() {
		t.Fatal("one frame fills it")
	}
	if got := l.refusal(); got != "busy" {
		t.Errorf("a full link refuses with %q", got)
	}
	l.outbox.close()
	if got := l.refusal(); got != lostWorker {
		t.Errorf("a link that has ended refuses with %q", got)
	}
}

// A request on its way to a worker allocates nothing, whatever the worker is told of its client.
func TestRequestAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	node := newCluster(t, 1, Config{}).nodes[1]
	w := node.worker(t, false)
	go func() { _, _ = io.Copy(io.Discard, w.Conn) }()
	client := node.client(t, "somebody with a name")
	g, measured := node.hub.gateway, make(chan float64, 1)
	g.Engine().Tell(g.Lookup([]byte(client.id)), func(c *engine.Conn) {
		s := c.Handler().(*lineSession)
		if err := g.SetSession(c, s.Base(), "what workers have noted of the client"); err != nil {
			t.Error(err)
		}
		request := gateway.Request{Route: []byte("ask"), Payload: make([]byte, 64)}
		least := 1e9
		for range 10 { // others allocate now and then
			least = min(least, testing.AllocsPerRun(100, func() { g.Serve(c, s, request) }))
		}
		measured <- least
	})
	if n := <-measured; n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

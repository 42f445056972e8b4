package link

import (
	"io"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
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

// Requests of one step are in order with whatever else the worker is told of their client, also where the
// client ends before the step does.
func TestStepKeepsTheOrder(t *testing.T) {
	t.Parallel()
	node := newCluster(t, 1, Config{CloseWorker: 1}).nodes[1]
	w, client := node.worker(t, false), node.client(t, "u")
	node.hub.gateway.Engine().Tell(node.hub.gateway.Lookup([]byte(client.id)), func(c *engine.Conn) {
		s := c.Handler().(*lineSession)
		ask := func(payload string) {
			node.hub.gateway.Serve(c, s, gateway.Request{Payload: []byte(payload), WantsReply: payload != "2"})
		}
		ask("1")
		ask("2")
		node.hub.Transfer(c, 1, s, []byte("3"))
		ask("4")
		ask(strings.Repeat("5", 2*maxRun))
		ask("6")
		c.Close(engine.ReasonShutdown)
	})
	var got []string
	for len(got) < 7 {
		cmd, payload, err := w.read()
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		var request netsvr.Request
		var transfer netsvr.Transfer
		switch cmd {
		case netsvr.CmdRequest:
			_ = request.Decode(payload)
			got = append(got, string(request.Payload[:1]))
		case netsvr.CmdTransfer:
			_ = transfer.Decode(payload)
			got = append(got, string(transfer.Data))
		default:
			got = append(got, cmd.String())
		}
	}
	if want := "1 2 3 4 5 6 ConnClose"; strings.Join(got, " ") != want {
		t.Errorf("the worker was told %q, want %q", got, want)
	}
}

// Of a step's requests those are refused, and answered at once, that are beyond their client's share of the
// queue; a link that has ended refuses all.
func TestStepBeyondTheShare(t *testing.T) {
	t.Parallel()
	node := newCluster(t, 1, Config{Queue: 1 << 20}).nodes[1]
	w, client := node.worker(t, false), node.client(t, "u")
	const size, requests = 10 << 10, 400
	node.hub.gateway.Engine().Tell(node.hub.gateway.Lookup([]byte(client.id)), func(c *engine.Conn) {
		for range requests { // what the kernel takes of it and half of the queue go to the worker, which does not read
			node.hub.gateway.Serve(c, c.Handler().(*lineSession), gateway.Request{
				Payload: make([]byte, size), WantsReply: true,
			})
		}
	})
	client.want("reply 5 busy")
	go w.serveRequests(func(*netsvr.Request) *netsvrpb.Reply { return &netsvrpb.Reply{Payload: []byte("good")} })
	busy, good := 1, 0
	for busy+good < requests {
		switch got := client.line(); got {
		case "reply 5 busy":
			busy++
		case "reply 0 good":
			good++
		default:
			t.Fatalf("got %q after %d good replies and %d refusals", got, good, busy)
		}
	}
	if good < 40 {
		t.Errorf("%d requests of %d KiB taken, want half of a queue of 1 MiB at least", good, size>>10)
	}
}

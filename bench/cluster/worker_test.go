package clustertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine/worker"
)

// gather reads what comes until the reply and all of wanted have, and returns the pushes in order.
func (c *client) gather(wanted ...string) (pushes []string) {
	c.t.Helper()
	replied := false
	for {
		missing := slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(pushes, w) })
		if replied && !missing {
			return pushes
		}
		h, body, err := c.packet(patience)
		if err != nil {
			c.t.Fatalf("%v behind %q, want %q and a reply", err, pushes, wanted)
		}
		switch h.Type {
		case gosoc.TypeSendResp:
			replied = true
		case gosoc.TypeSendReq:
			m, err := gosoc.Compact.DecodeSendReq(h, body)
			if err != nil {
				c.t.Fatal(err)
			}
			pushes = append(pushes, string(m.Payload))
		}
	}
}

// A worker that knows one gateway serves the clients of all, and reaches each of them once.
func TestWorkerOfOneGateway(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url(), "--route", "work.*=2")
	w, err := worker.New(worker.Config{Gateways: []string{"tcp://" + list[0].worker}, WorkerID: 2, Links: 2})
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("work.join", func(ctx context.Context, r *worker.Request) ([]byte, error) {
		return []byte("{}"), errors.Join(
			w.TopicSubscribe(ctx, r.UniqID, []string{"room"}, []byte("joined")),
			w.TopicPublish(ctx, []string{"room"}, []byte("published")),
			w.SingleCast(ctx, r.UniqID, []byte("cast")),
		)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	var clients []*client
	for _, g := range list {
		await(t, "the worker, seen everywhere", func() bool {
			return slices.ContainsFunc(g.members(), func(m member) bool { return slices.Contains(m.Workers, 2) })
		})
		clients = append(clients, g.login())
	}
	for i, c := range clients {
		if err := c.send("work.join", "{}"); err != nil {
			t.Fatal(err)
		}
		if got := c.gather("joined", "published", "cast"); got[0] != "joined" || len(got) < 3 {
			t.Errorf("the client of gateway %d got %q", i+1, got)
		}
	}
	await(t, "three clients", func() bool {
		ids, err := w.UniqIDList(ctx)
		return err == nil && len(ids) == 3
	})
	ids, err := w.UniqIDList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if online, err := w.CheckOnline(ctx, append(ids, "nobody")); err != nil || len(online) != 3 {
		t.Errorf("online are %q, %v", online, err)
	}
	if members, err := w.TopicUniqIDCount(ctx, []string{"room"}, false); err != nil || members["room"] != 3 {
		t.Errorf("the room has %v, %v", members, err)
	}
	if err := w.Broadcast(ctx, []byte("to all")); err != nil {
		t.Fatal(err)
	}
	if err := w.Multicast(ctx, ids, []byte("to each")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // for what must not come twice
	for i, c := range clients {
		if err := c.send("sluice.Echo", "{}"); err != nil {
			t.Fatal(err)
		}
		count := make(map[string]int)
		for _, push := range c.gather("to all", "to each") {
			count[push]++
		}
		if count["to all"] != 1 || count["to each"] != 1 {
			t.Errorf("the client of gateway %d got %v", i+1, count)
		}
	}
	if err := w.ForceOffline(ctx, ids, nil); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		if h, _, err := c.packet(patience); err != nil || h.Type != gosoc.TypeDisconnect {
			t.Errorf("the client of gateway %d got %d, %v", i+1, h.Type, err)
		}
	}
}

// A worker that is told of two gateways of three reaches the clients of the third, each once, also while one
// of the two is down; clients of each are served.
func TestWorkerOfSomeGateways(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url(), "--route", "work.*=2")
	w, err := worker.New(worker.Config{
		Gateways: []string{"tcp://" + list[0].worker, "tcp://" + list[1].worker}, WorkerID: 2, Cluster: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("work.id", func(ctx context.Context, r *worker.Request) ([]byte, error) { return []byte("{}"), nil })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	clients := []*client{list[1].login(), list[2].login()}
	for _, c := range clients {
		c.subscribe("room")
	}
	for round := range 2 {
		if round == 1 {
			list[0].kill()
			await(t, "the other gateway to stand for all", func() bool { return !w.Gateways()[0].Connected() })
		}
		await(t, "the worker, seen by the third", func() bool {
			return slices.ContainsFunc(list[2].members(), func(m member) bool { return m.ServerID == 2 && slices.Contains(m.Workers, 2) })
		})
		ids := []string{clients[0].uniqID(), clients[1].uniqID()}
		err := errors.Join(
			w.TopicPublish(ctx, []string{"room"}, []byte("room")), w.Broadcast(ctx, []byte("all")),
			w.Multicast(ctx, ids, []byte("each")), w.SingleCast(ctx, ids[1], []byte("third")),
		)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // for what must not come twice
		for i, c := range clients {
			if err := c.send("work.id", "{}"); err != nil {
				t.Fatal(err)
			}
			want := []string{"all", "each", "room", "third"}[:3+i]
			got := c.gather(want...)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("round %d: client %d got %q, want %q", round, i, got, want)
			}
		}
	}
}

package server

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/worker"
)

// slowOthers are other nodes, which take their time to know of a topic.
type slowOthers struct {
	mu      sync.Mutex
	waiting []func()
	known   bool
}

func (*slowOthers) Reaches([]byte, int64) bool { return false }
func (*slowOthers) Changes() uint64            { return 0 }
func (*slowOthers) Congested([]byte) bool      { return false }
func (*slowOthers) Publish(_, _ []byte, _ int) {}
func (*slowOthers) Subscribed(string)          {}
func (*slowOthers) Unsubscribed(string)        {}

func (o *slowOthers) Settle(name []byte, f func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known || string(name) == "known" {
		return false
	}
	o.waiting = append(o.waiting, f)
	return true
}

func (o *slowOthers) await(t *testing.T, n int) {
	t.Helper()
	waitUntil(t, "subscriptions that wait", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.waiting) == n
	})
}

// settle lets the others know of everything, the last topic first.
func (o *slowOthers) settle() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known = true
	for i := range o.waiting {
		o.waiting[len(o.waiting)-1-i]()
	}
	o.waiting = nil
}

// nothing fails when the peer is sent something within a moment.
func (c gosocPeer) nothing() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	var timeout interface{ Timeout() bool }
	if _, err := c.r.Peek(1); !errors.As(err, &timeout) || !timeout.Timeout() {
		c.t.Fatalf("something came, or %v", err)
	}
}

// TestSubscriptionIsAnsweredOnceOthersKnow: a client hears that a worker has subscribed it when the other
// nodes know, and what the worker does behind that comes behind it.
func TestSubscriptionIsAnsweredOnceOthersKnow(t *testing.T) {
	t.Parallel()
	others := new(slowOthers)
	config := Config{WorkerListen: "tcp://127.0.0.1:0"}
	config.Engine.Remote = others
	s, addr := begin(t, config)
	w, err := worker.New(worker.Config{Gateways: []string{s.WorkerAddr()}, Links: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("join", func(ctx context.Context, r *worker.Request) ([]byte, error) {
		return []byte("reply"), errors.Join(
			w.TopicSubscribe(ctx, r.UniqID, []string{"a", "b"}, []byte("a and b")),
			w.TopicSubscribe(ctx, r.UniqID, []string{"known"}, []byte("known")),
			w.SingleCast(ctx, r.UniqID, []byte("cast")),
			w.TopicPublish(ctx, []string{"known"}, []byte("published")),
		)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	c := dialGOSOC(t, addr, "ann")
	c.ask("join", "{}")
	others.await(t, 2)
	c.nothing()
	others.settle()
	for _, push := range []string{"a and b", "known", "cast", "published"} {
		c.wantPush(push)
	}
	c.wantReply("reply")
	c.ask("join", "{}") // all are known now
	for _, push := range []string{"a and b", "known", "cast", "published"} {
		c.wantPush(push)
	}
	c.wantReply("reply")
}

// TestOwnSubscriptionIsAnsweredOnceOthersKnow: the same of a client that subscribes by itself, to whom a
// publish from here comes at once.
func TestOwnSubscriptionIsAnsweredOnceOthersKnow(t *testing.T) {
	t.Parallel()
	others := new(slowOthers)
	config := Config{Dev: true}
	config.Engine.Remote = others
	_, addr := begin(t, config)
	c := dialGOSOC(t, addr, "ann")
	c.ask("sluice.Subscribe", `{"topics":["a"]}`)
	others.await(t, 1)
	d := dialGOSOC(t, addr, "bob")
	d.ask("sluice.Publish", `{"topic":"a","data":1}`)
	d.wantReply(`{"status":0,"data":{}}`)
	c.wantPush("1")
	c.nothing()
	others.settle()
	c.wantReply(`{"status":0,"data":{}}`)
}

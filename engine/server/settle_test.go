package server

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/worker"
	"github.com/sluicenet/sluice/topic"
)

// slowOthers are other nodes, which take their time to know of a topic.
type slowOthers struct {
	mu       sync.Mutex
	waiting  []func()
	known    bool
	expected []string
}

func (*slowOthers) Reaches([]byte, int64) bool { return false }
func (*slowOthers) Changes() uint64            { return 0 }
func (*slowOthers) Congested([]byte) bool      { return false }
func (*slowOthers) Publish(_, _ []byte, _ int) {}
func (*slowOthers) Subscribed(string)          {}
func (*slowOthers) Unsubscribed(string)        {}

func (o *slowOthers) Expect(name []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expected = append(o.expected, string(name))
}

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

// forget has the others know of nothing any more.
func (o *slowOthers) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known, o.expected = false, nil
}

func (o *slowOthers) wantExpected(t *testing.T, topics ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := slices.Compact(slices.Sorted(slices.Values(o.expected))); !slices.Equal(got, topics) {
		t.Errorf("the others were told to expect %q, want %q", got, topics)
	}
}

// A giver lets everybody in and gives Ann a topic.
type giver struct{ login.Open }

func (g giver) LoginNow(now time.Time, r login.Request) (login.Identity, error) {
	id, err := g.Open.LoginNow(now, r)
	if id.User == "ann" {
		id.Topics = []string{"given"}
	}
	return id, err
}

// wantIn wants the answer to a login, with a ticket behind it, which is returned.
func (c gosocPeer) wantIn() (ticket string) {
	c.t.Helper()
	if h, body := c.next(); h.Type != gosoc.TypeConnAck || body[1] != 0 {
		c.t.Fatalf("%v %x, want to be let in", h.Type, body)
	}
	return c.ticket()
}

// connect asks to be let in with what a client says of itself.
func (c gosocPeer) connect(info string) gosocPeer {
	c.write(gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: []byte(info)}))
	return c
}

// TestLoginIsAnsweredOnceOthersKnow: a client that has topics with its login, of its session or of its
// provider, hears that it is in when the other nodes know of them; what is published here meanwhile comes
// behind that or not at all. One that goes meanwhile has its ticket as before.
func TestLoginIsAnsweredOnceOthersKnow(t *testing.T) {
	t.Parallel()
	others := new(slowOthers)
	config := Config{Dev: true}
	config.Gateway.Login = giver{}
	config.Engine.Remote = others
	config.Engine.History = engine.HistoryLimits{Rules: []topic.Rule{{Pattern: "kept", Count: 10, Age: time.Minute}}}
	s, addr := begin(t, config)
	clients := func(n int64) {
		t.Helper()
		waitUntil(t, "connections", func() bool { return s.Engine().Stats().Connections == n })
	}

	c := gosocPeer{dial(t, addr)}.connect(`{"token":"ann","session":true}`)
	others.await(t, 1)
	c.nothing()
	others.wantExpected(t, "given")
	others.settle()
	ticket := c.wantIn()
	c.ask("sluice.Subscribe", `{"topics":["a","b","kept"]}`)
	c.wantReply(`{"status":0,"data":{}}`)

	c.Close()
	clients(0)
	for _, linger := range []int{-1, 0} { // it says that it goes, or not
		others.forget()
		gone := gosocPeer{dial(t, addr)}.connect(`{"session_id":"` + ticket + `","session":true}`)
		others.await(t, 3) // a, b and given
		_ = gone.Conn.(*net.TCPConn).SetLinger(linger)
		gone.Close()
		others.settle()
		clients(0)
	}

	others.forget()
	d := gosocPeer{dial(t, addr)}.connect(`{"session_id":"` + ticket + `","session":true}`)
	others.await(t, 3)
	bob := dialGOSOC(t, addr, "bob")
	bob.ask("sluice.Publish", `{"topic":"given","data":0}`)
	bob.wantReply(`{"status":0,"data":{}}`)
	d.nothing()
	others.wantExpected(t, "a", "b", "given")
	others.settle()
	ticket = d.wantIn()
	for _, topic := range []string{"a", "kept", "b", "given"} {
		bob.ask("sluice.Publish", `{"topic":"`+topic+`","data":"`+topic+`"}`)
		bob.wantReply(`{"status":0,"data":{}}`)
		d.wantPush(`"` + topic + `"`)
	}

	// The connection that is taken over has a topic more, of which the session knows nothing yet.
	others.forget()
	d.ask("sluice.Subscribe", `{"topics":["young"]}`)
	others.await(t, 1)
	e := gosocPeer{dial(t, addr)}.connect(`{"session_id":"` + ticket + `","session":true}`)
	others.await(t, 5) // given, young, a, b
	d.wantDisconnect()
	others.settle()
	e.wantIn()
}

package engine

import (
	"bytes"
	"testing"
)

var upperDialect = Dialect{Name: "upper", Append: func(dst []byte, p Push) ([]byte, error) {
	return append(dst, bytes.ToUpper(p.Payload)...), nil
}}

// twoLoops makes two loops that nobody wakes, each with a connection of either dialect. Those of the
// line dialect have subscribed to t.
func twoLoops(t testing.TB) (e *Engine, conns []*Conn) {
	t.Helper()
	e = bareLoop(t, Config{Loops: 2, Dialects: []Dialect{lineDialect, upperDialect}}).engine
	for i := range 4 {
		l := e.loops[i/2]
		l.mailbox.awake = true
		c := bareConn(t, l, uint8(i%2))
		if i%2 == 0 {
			c.Subscribe([]byte("t"))
		}
		conns = append(conns, c)
	}
	return e, conns
}

// Whatever way a message takes to a client, it stays behind what was sent before.
func TestOneOrderForAllAudiences(t *testing.T) {
	for _, from := range []string{"outside"} {
		t.Run(from, func(t *testing.T) {
			e, conns := twoLoops(t)
			pb := e.NewPublisher()
			listed := []Ref{conns[0].Ref(), conns[3].Ref(), conns[3].Ref()}
			for _, err := range []error{
				pb.Publish([]byte("t"), Push{Payload: []byte("p1")}),
				pb.Broadcast(Push{Payload: []byte("b1")}),
				pb.Broadcast(Push{Payload: []byte("b2")}),
				pb.Multicast(listed, Push{Payload: []byte("m1")}),
				pb.Multicast(listed, Push{Payload: []byte("m2")}),
				pb.Multicast(listed[:1], Push{Payload: []byte("m3")}),
				pb.Send(conns[0].Ref(), Push{Payload: []byte("s1")}),
				pb.Multicast(listed[1:2], Push{Payload: []byte("m4")}),
				pb.Publish([]byte("t"), Push{Payload: []byte("p2")}),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			pb.Flush()
			for _, l := range e.loops {
				l.work()
			}
			for i, want := range []string{
				"p1\nb1\nb2\nm1\nm2\nm3\ns1\np2\n",
				"B1B2",
				"p1\nb1\nb2\np2\n",
				"B1B2M1M1M2M2M4", // listed twice
			} {
				if got := queuedBytes(conns[i]); got != want {
					t.Errorf("connection %d gets %q, want %q", i, got, want)
				}
			}
			if got, want := e.Stats().Deliveries, uint64(8+2+4+7); got != want {
				t.Errorf("%d deliveries counted, want %d", got, want)
			}
			for _, c := range conns {
				c.dropQueue()
				c.returnQueue()
			}
			for _, l := range e.loops {
				l.settle()
			}
			if n := e.total.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

// What follows one another for one audience is passed on as one message per loop.
func TestRunsForOneAudience(t *testing.T) {
	e, conns := twoLoops(t)
	pb := e.NewPublisher()
	posted := func(want ...int) {
		t.Helper()
		pb.Flush()
		for i, l := range e.loops {
			if got := len(l.mailbox.messages); got != want[i] {
				t.Errorf("loop %d has %d messages, want %d", i, got, want[i])
			}
			l.work()
		}
	}
	p := Push{Payload: []byte("x")}
	all := []Ref{conns[0].Ref(), conns[2].Ref()}
	for range 10 {
		_ = pb.Broadcast(p)
	}
	posted(1, 1)
	for range 10 {
		_ = pb.Multicast(all, p) // see audience.extends
	}
	posted(10, 10)
	for i := range 10 {
		_ = pb.Multicast(all[i%2:][:1], p)
	}
	posted(5, 5)
	_ = pb.Multicast(all[1:], p)
	_ = pb.Broadcast(p)
	posted(1, 2)
	_ = pb.Multicast(nil, p)
	posted(0, 0)
}

// A client of a wire form that nobody had spoken before is not in the run under way, but in what
// is sent from now on.
func TestBroadcastToANewDialect(t *testing.T) {
	l := bareLoop(t, Config{Dialects: []Dialect{lineDialect, upperDialect}})
	l.mailbox.awake = true
	pb := l.engine.NewPublisher()
	if err := pb.Broadcast(Push{Payload: []byte("nobody")}); err != nil {
		t.Fatal(err)
	}
	line := bareConn(t, l, 0)
	_ = pb.Broadcast(Push{Payload: []byte("a")})
	upper := bareConn(t, l, 1)
	_ = pb.Broadcast(Push{Payload: []byte("b")})
	pb.Flush()
	l.work()
	if got := queuedBytes(line); got != "a\nb\n" {
		t.Errorf("the first client gets %q", got)
	}
	if got := queuedBytes(upper); got != "B" {
		t.Errorf("the new client gets %q", got)
	}
}

// Who is gone, or is no client yet, is counted and keeps nothing from the others.
func TestMulticastToTheGone(t *testing.T) {
	l := bareLoop(t, Config{})
	l.mailbox.awake = true
	here, other := bareConn(t, l, 0), bareConn(t, l, 0)
	gone := other.Ref() + 1 // another generation
	early, _ := l.allocate()
	early.state = stateOpen
	pb := l.engine.NewPublisher()
	if err := pb.Multicast([]Ref{0, gone, early.Ref(), here.Ref()}, Push{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	pb.Flush()
	l.work()
	if got := queuedBytes(here); got != "x\n" {
		t.Errorf("the one that is there gets %q", got)
	}
	if n := l.engine.Stats().Dropped[DropNotConnected]; n != 3 {
		t.Errorf("%d not connected counted, want 3", n)
	}
	left := here.Ref()
	here.Abort(ReasonServerError)
	other.Abort(ReasonServerError) // there is no client at all then
	l.runCloses()
	if err := pb.Multicast([]Ref{left}, Push{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	pb.Flush()
	l.work()
	if n := l.engine.Stats().Dropped[DropNotConnected]; n != 4 {
		t.Errorf("%d not connected counted, want 4", n)
	}
	if early.first.ref != nil {
		t.Error("a connection that is no client yet gets something")
	}
}

// A publisher waits for those of its audience who ask for time, and for nobody else.
func TestOnlyTheAudienceIsWaitedFor(t *testing.T) {
	e, conns := twoLoops(t)
	slow := conns[1]
	l := slow.loop
	l.tick()
	slow.flags |= flagBlocked
	slow.lag = l.highWater + 1
	l.review(slow)
	pb := e.NewPublisher()
	key, _ := e.topics.Lookup([]byte("t"))
	for _, tt := range []struct {
		name string
		to   audience
		slow bool
	}{
		{"a topic it has not subscribed to", audience{kind: subscribersOf, key: key}, false},
		{"everybody", audience{kind: everyClient}, true},
		{"a list with it", audience{kind: theseConns, refs: []Ref{conns[3].Ref(), slow.Ref()}}, true},
		{"a list without it", audience{kind: theseConns, refs: []Ref{conns[0].Ref(), conns[3].Ref()}}, false},
	} {
		if s := pb.see(&tt.to); (s.congested > 0) != tt.slow {
			t.Errorf("%s: publishers see %d congested, want some: %v", tt.name, s.congested, tt.slow)
		}
	}
}

// Runs are used again, and must not keep room for a giant's list.
func TestRunForgetsLongLists(t *testing.T) {
	var a audience
	a.set(&audience{kind: theseConns, refs: make([]Ref, 10*maxKeptRefs)})
	if len(a.refs) != 10*maxKeptRefs {
		t.Fatalf("%d refs", len(a.refs))
	}
	a.set(&audience{kind: subscribersOf, name: []byte("t")})
	if len(a.refs) != 0 || cap(a.refs) > maxKeptRefs {
		t.Errorf("%d refs, and room for %d", len(a.refs), cap(a.refs))
	}
}

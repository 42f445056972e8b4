package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// stuck makes a handler that does not return before the test ends, and a function that has a client
// ask it.
func stuck(t *testing.T) (prepare func(*Server), stick func(addr string)) {
	release, stuck := make(chan struct{}), make(chan struct{})
	prepare = func(s *Server) {
		if err := s.Handle("stick", func(*Request) {
			close(stuck)
			<-release
		}); err != nil {
			t.Fatal(err)
		}
	}
	return prepare, func(addr string) {
		t.Cleanup(func() { close(release) }) // before the gateway is stopped
		dialGOSOC(t, addr, "").ask("stick", "")
		receive(t, stuck)
	}
}

func TestPublishWithoutServer(t *testing.T) {
	s, err := New(Config{Gateway: GatewayConfig{Login: openLogin}})
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		if err := s.Publish(t.Context(), "t", nil); !errors.Is(err, engine.ErrStopped) {
			t.Errorf("publish %s: %v", when, err)
		}
		if n, err := s.Send(t.Context(), User("ann"), nil); n != 0 || !errors.Is(err, engine.ErrStopped) && when != "after Stop" {
			t.Errorf("send %s: %d, %v", when, n, err)
		}
		if n, err := s.Kick(t.Context(), User("ann"), engine.ReasonForcedOffline); n != 0 || !errors.Is(err, engine.ErrStopped) && when != "after Stop" {
			t.Errorf("kick %s: %d, %v", when, n, err)
		}
	}
	check("before Start")
	s2, _ := begin(t, Config{})
	end(t, s2)
	s = s2
	check("after Stop")
}

func TestPublishWithDoneContext(t *testing.T) {
	s, _ := begin(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Publish(ctx, "t", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n, err := s.Send(ctx, User("ann"), nil); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
}

// A loop that takes nothing makes a publisher wait no longer than its context, and Stop ends the
// wait of one whose context is never done.
func TestPublishThatWaits(t *testing.T) {
	prepare, stick := stuck(t)
	s, addr := begin(t, Config{Engine: engine.Config{Loops: 1}, Dev: true}, prepare)
	c := dialGOSOC(t, addr, "")
	c.ask("sluice.Subscribe", `{"topics":["t"]}`)
	c.wantReply(`{"status":0,"data":{}}`)
	stick(addr)
	payload := make([]byte, 64<<10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	blocked := make(chan error)
	go func() {
		for { // until the mailbox is full
			if err := s.Publish(ctx, "t", payload); err != nil {
				blocked <- err
				return
			}
		}
	}()
	time.Sleep(100 * time.Millisecond) // it may not be full by then: the outcome is the same
	cancel()
	if err := receive(t, blocked); !errors.Is(err, context.Canceled) {
		t.Errorf("a publish whose context is done: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for short.Err() == nil {
		_ = s.Publish(short, "t", payload)
	}
	go func() {
		for {
			if err := s.Publish(context.Background(), "t", payload); err != nil {
				blocked <- err
				return
			}
		}
	}()
	stop, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := s.Stop(stop); err == nil {
		t.Error("Stop has not noticed the handler that does not return")
	}
	if d := time.Since(begun); d > patience {
		t.Errorf("Stop took %v", d)
	}
	if err := receive(t, blocked); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("a publish that Stop ended: %v", err)
	}
}

// What one goroutine publishes and sends arrives in order, whatever others do.
func TestPublishFromMany(t *testing.T) {
	s, addr := begin(t, Config{Dev: true})
	const many, each = 8, 50
	var clients []gosocPeer
	for i := range many {
		c := dialGOSOC(t, addr, fmt.Sprint("user", i))
		c.ask("sluice.Subscribe", fmt.Sprintf(`{"topics":["t%d"]}`, i))
		c.wantReply(`{"status":0,"data":{}}`)
		clients = append(clients, c)
	}
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			for n := range each {
				payload := fmt.Append(nil, n)
				var err error
				if n%2 == 0 {
					err = s.Publish(t.Context(), fmt.Sprint("t", i), payload)
				} else {
					_, err = s.Send(t.Context(), User(fmt.Sprint("user", i)), payload)
				}
				copy(payload, "xxxx") // the caller's again
				if err != nil {
					t.Error(err)
				}
			}
			if n, err := s.Kick(t.Context(), User(fmt.Sprint("user", i)), engine.ReasonKickedOut); n != 1 || err != nil {
				t.Errorf("kick: %d, %v", n, err)
			}
		})
	}
	for _, c := range clients {
		for n := range each {
			c.wantPush(fmt.Sprint(n))
		}
		c.wantDisconnect()
	}
	wg.Wait()
}

// In a handler, what would wait says so, and what need not wait works.
func TestReachFromHandler(t *testing.T) {
	type result struct {
		publish, stop, start error
		sent, kicked         int
		send, kick           error
	}
	results := make(chan result, 1)
	s, addr := begin(t, Config{Engine: engine.Config{Loops: 2}}, func(s *Server) {
		if err := s.Handle("all", func(r *Request) {
			var got result
			got.publish = s.Publish(context.Background(), "t", nil)
			got.stop = s.Stop(context.Background())
			got.start = s.Start()
			got.sent, got.send = s.Send(context.Background(), User("bob"), []byte("hello"))
			got.kicked, got.kick = s.Kick(context.Background(), User("bob"), engine.ReasonForcedOffline)
			results <- got
			r.Reply([]byte("1"))
		}); err != nil {
			t.Fatal(err)
		}
	})
	bob := dialGOSOC(t, addr, "bob")
	ann := dialGOSOC(t, addr, "ann")
	ann.ask("all", "")
	got := receive(t, results)
	for what, err := range map[string]error{"Publish": got.publish, "Stop": got.stop, "Start": got.start} {
		if !errors.Is(err, engine.ErrOnLoop) {
			t.Errorf("%s in a handler: %v", what, err)
		}
	}
	if got.sent != 1 || got.send != nil || got.kicked != 1 || got.kick != nil {
		t.Errorf("Send: %d, %v; Kick: %d, %v", got.sent, got.send, got.kicked, got.kick)
	}
	ann.wantReply("1")
	bob.wantPush("hello")
	bob.wantDisconnect()
	// The last of it is given back when bob's connection has been closed, of which he knows
	// already.
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		under, kept := s.fromLoops.Load(), s.Engine().Stats().Accounts[engine.KindDeferred]
		if under == 0 && kept == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are under way, %d accounted for", under, kept)
		}
	}
}

// What handlers send is bounded, whoever does not take it.
func TestSendFromHandlerIsBounded(t *testing.T) {
	prepare, stick := stuck(t)
	errs := make(chan error, 1)
	var sent int
	s, addr := begin(t, Config{Engine: engine.Config{Loops: 2}}, prepare, func(s *Server) {
		if err := s.Handle("flood", func(*Request) {
			for range 100 {
				if _, err := s.Send(context.Background(), User("bob"), make([]byte, 1<<20)); err != nil {
					errs <- err
					return
				}
				sent++
			}
			errs <- nil
		}); err != nil {
			t.Fatal(err)
		}
	})
	// Connections alternate between the two loops: who sticks shares one with bob, ann has the
	// other.
	dialGOSOC(t, addr, "bob")
	ann := dialGOSOC(t, addr, "ann")
	stick(addr)
	ann.ask("flood", "")
	if err := receive(t, errs); !errors.Is(err, engine.ErrBusy) || sent < 10 || sent > 16 {
		t.Errorf("%d MiB, then %v", sent, err)
	}
	if n := s.Engine().Stats().Accounts[engine.KindDeferred]; n < 10<<20 {
		t.Errorf("%d bytes are accounted for", n)
	}
}

func TestReach(t *testing.T) {
	came := make(chan ClientInfo, 100)
	s, addr := begin(t, Config{
		Netsvr:    NetsvrConfig{LoginRequired: true},
		OnConnect: func(who ClientInfo) { came <- who },
	})
	first := dialNetsvr(t, addr, "ann")
	second := dialNetsvr(t, addr, "ann")
	third := dialGOSOC(t, addr, "ann")
	other := dialGOSOC(t, addr, "bob")
	nobody := dialGOSOC(t, addr, "")
	ids := make(map[string]string)
	for range 5 {
		who := receive(t, came)
		ids[who.User] = who.UniqID
	}
	send := func(who Who, payload string, want int) {
		t.Helper()
		if n, err := s.Send(t.Context(), who, []byte(payload)); n != want || err != nil {
			t.Errorf("Send: %d, %v, want %d", n, err, want)
		}
	}
	send(User("ann"), "1", 3)
	first.wantPush("1")
	second.wantPush("1")
	third.wantPush("1")
	send(UniqID(ids["bob"]), "2", 1)
	other.wantPush("2")
	send(UniqID(ids[""]), "3", 1)
	nobody.wantPush("3")
	for _, who := range []Who{{}, User(""), User("carl"), UniqID(""), UniqID("ann"), User(ids["bob"])} {
		send(who, "4", 0)
		if n, err := s.Kick(t.Context(), who, engine.ReasonForcedOffline); n != 0 || err != nil {
			t.Errorf("Kick: %d, %v", n, err)
		}
	}
	if _, err := s.Kick(t.Context(), User("bob"), engine.Reason(200)); err == nil {
		t.Error("kicked for a reason that there is not")
	}
	if n, err := s.Kick(t.Context(), UniqID(ids["bob"]), engine.ReasonKickedOut); n != 1 || err != nil {
		t.Errorf("Kick: %d, %v", n, err)
	}
	other.wantDisconnect()
	if n, err := s.Kick(t.Context(), User("ann"), engine.ReasonForcedOffline); n != 3 || err != nil {
		t.Errorf("Kick: %d, %v", n, err)
	}
	first.wantEnd()
	second.wantEnd()
	third.wantDisconnect()
	send(User("ann"), "5", 0)
	send(UniqID(ids[""]), "6", 1) // and nobody else has noticed
	nobody.wantPush("6")
}

// An encoder that ends the goroutine that a Send has it run on costs that Send, not those behind it.
func TestSendBehindAnEncoderThatEnds(t *testing.T) {
	s, addr := begin(t, Config{Protocols: []Protocol{linesProtocol()}})
	lines := dial(t, addr)
	lines.write([]byte("SUB t\n"), nil)
	lines.wantLine("SUB t")
	c := dialGOSOC(t, addr, "ann")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if n, err := s.Send(ctx, User("ann"), []byte("exit")); n != 0 || !errors.Is(err, errEnded) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.Send(ctx, User("ann"), []byte("next")); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.wantPush("next")
}

func TestHooks(t *testing.T) {
	type event struct {
		what string
		who  ClientInfo
		why  engine.Reason
	}
	events := make(chan event, 100)
	s, addr := begin(t, Config{
		Gateway: GatewayConfig{UserLimit: -1},
		Netsvr:  NetsvrConfig{LoginRequired: true},
		OnConnect: func(who ClientInfo) {
			events <- event{"connect", who, 0}
			switch who.User {
			case "panic":
				panic("asked to")
			case "exit":
				runtime.Goexit()
			}
		},
		OnDisconnect: func(who ClientInfo, why engine.Reason) {
			events <- event{"disconnect", who, why}
			if who.User == "panic late" {
				panic("asked to")
			}
		},
		Worker:       WorkersConfig{OpenWorker: 1, CloseWorker: 1}, // nobody is there: only netsvr is told
		WorkerListen: "tcp://127.0.0.1:0",
		Protocols:    []Protocol{linesProtocol()},
	})
	want := func(what, user, protocol string, p *peer, why engine.Reason) string {
		t.Helper()
		e := receive(t, events)
		peer := netip.MustParseAddrPort(p.LocalAddr().String())
		if e.what != what || e.who.User != user || e.who.Protocol != protocol || e.who.Peer != peer || e.why != why || len(e.who.UniqID) != 18 {
			t.Errorf("%+v, want %s of %s at %v, %v", e, what, user, peer, why)
		}
		return e.who.UniqID
	}
	lines := dial(t, addr) // logs nobody in: no event
	lines.write([]byte("SUB t\n"), nil)
	lines.wantLine("SUB t")
	lines.Close()

	c := dialGOSOC(t, addr, "ann")
	id := want("connect", "ann", "gosoc", c.peer, 0)
	newer := dialGOSOC(t, addr, "ann")
	c.wantDisconnect()
	if got := want("disconnect", "ann", "gosoc", c.peer, engine.ReasonKickedOut); got != id {
		t.Errorf("left as %s, came as %s", got, id)
	}
	want("connect", "ann", "gosoc", newer.peer, 0)
	newer.Close()
	want("disconnect", "ann", "gosoc", newer.peer, engine.ReasonPeerClosed)

	bad := connectGOSOC(t, addr, "panic")
	want("connect", "panic", "gosoc", bad.peer, 0)
	want("disconnect", "panic", "gosoc", bad.peer, engine.ReasonServerError)
	gone := connectGOSOC(t, addr, "exit")
	want("connect", "exit", "gosoc", gone.peer, 0)
	want("disconnect", "exit", "gosoc", gone.peer, engine.ReasonServerError)
	late := dialGOSOC(t, addr, "panic late")
	want("connect", "panic late", "gosoc", late.peer, 0)
	late.Close()
	want("disconnect", "panic late", "gosoc", late.peer, engine.ReasonPeerClosed)
	// A customer who is cut off because no worker can be told of him is nobody's client.
	customer := dialNetsvr(t, addr, "bob")
	customer.wantEnd()
	last := dialGOSOC(t, addr, "last")
	want("connect", "last", "gosoc", last.peer, 0)
	go end(t, s)
	want("disconnect", "last", "gosoc", last.peer, engine.ReasonShutdown)
	end(t, s)
	if len(events) > 0 {
		t.Errorf("%+v besides", <-events)
	}
	// The engine counts who ends a goroutine that is the handler's own.
	if a, b := s.Gateway().Stats().Panics, s.Engine().Stats().Panics; a+b != 3 {
		t.Errorf("%d and %d panics", a, b)
	}
}

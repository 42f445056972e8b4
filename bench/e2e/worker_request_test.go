package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// emptySuccess is what a client gets for a reply that says yes and nothing else.
const emptySuccess = `{"status":0,"data":{}}`

func TestWorkerRequest(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--route", "math.*=2", "--route", "exact.Route=3", "--open-worker", "1", "--close-worker", "1")
	main := p.workerServer(t, 1)
	math, exact := p.workerServer(t, 2), p.workerServer(t, 3)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := p.login(t, m, token("ann"))
		opened := main.event(workerConnOpen)
		id := opened.text(1)
		if opened.text(2) != "" || len(opened[3]) > 0 || opened.text(4) != "127.0.0.1" {
			t.Errorf("ConnOpen: query %q, protocols %q, from %q", opened.text(2), opened.texts(3), opened.text(4))
		}
		for _, to := range []struct {
			route string
			l     *workerLink
		}{{"some.Route", main}, {"math.Add", math}, {"math.", math}, {"exact.Route", exact}, {"exact.Route2", main}, {"mathx", main}, {"", main}} {
			c.write(m.sendReq(1, 7, to.route, m.text(`{"a":1}`), []byte("attached")))
			got := to.l.event(workerRequest)
			if got.text(1) != id || got.text(2) != "" || got.text(3) != "gosoc" || got.text(4) != to.route || got.num(5) != 0 ||
				got.num(7) != 1 || got.text(8) != `{"a":1}` || got.text(9) != "attached" || got.num(10) != 9_000 {
				t.Fatalf("request to %q: %v", to.route, got)
			}
			to.l.reply(got, 0, "any bytes, "+to.route)
			c.wantReply(7, "any bytes, "+to.route)
		}
		// The session is told, and a new name.
		main.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, "ann").text(4, "her session"))
		main.sync()
		c.write(m.ask(1, "x", "1"))
		got := main.event(workerRequest)
		if got.text(1) != "ann" || got.text(2) != "her session" {
			t.Errorf("asked by %q, %q", got.text(1), got.text(2))
		}
		// The client may be given another name before the reply, which names the old one.
		main.send(workerConnInfoUpdate, workerMsg(nil).text(1, "ann").text(2, "bob"))
		main.reply(got, 0, "")
		c.wantReply(1, emptySuccess)
		// Other replies than success.
		for i, reply := range []struct {
			status        int
			payload, want string
		}{
			{0, "", emptySuccess}, {3, `{"status":3,"message":"as the worker says"}`, `{"status":3,"message":"as the worker says"}`},
			{7, "", "7"}, {-1, "", "-1"},
		} {
			c.write(m.ask(uint16(i+10), "x", "1"))
			main.reply(main.event(workerRequest), reply.status, reply.payload)
			body := c.wantMessage(sendResp)
			if body.id != uint16(i+10) {
				t.Fatalf("reply %d", body.id)
			}
			if n, err := strconv.Atoi(reply.want); err == nil {
				checkError(t, body.payload, n)
			} else if body.payload != reply.want {
				t.Errorf("reply %q, want %q", body.payload, reply.want)
			}
		}
		// One that wants no reply gets none.
		c.write(m.sendReq(0, 3, "x", m.text("2")))
		got = main.event(workerRequest)
		if got.num(7) != 0 || got.text(8) != "2" {
			t.Errorf("no-reply request: %v", got)
		}
		main.reply(got, 0, "nobody asked")
		main.sync()
		c.write(m.ping())
		c.wantPong()
		c.hangUp()
		main.wantClosed("bob", "her session")
	})
}

// Replies that nobody waits for, or that come on another link, reach exactly who asked, or nobody.
func TestWorkerStrayReplies(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	l, second := p.workerServer(t, 1), p.workerServer(t, 1)
	pool := p.workerLink(t)
	m := modes[0]
	a, b := p.login(t, m, ""), p.login(t, m, "")
	a.write(m.ask(1, "x", "from a"))
	b.write(m.ask(2, "x", "from b"))
	got := make(map[string]workerFields)
	for _, l := range []*workerLink{l, second} { // one each, for they take turns
		r := l.event(workerRequest)
		got[r.text(8)] = r
	}
	if got["from a"].num(6) == got["from b"].num(6) {
		t.Fatalf("two requests called %d", got["from a"].num(6))
	}
	for _, stray := range []workerMsg{
		nil, workerMsg(nil).text(1, "nobody"), workerMsg(nil).num(2, 0), workerMsg(nil).num(2, 999).text(4, "stray"), workerMsg(nil).num(2, -1).text(4, "stray"),
	} {
		pool.send(workerReply, stray)
	}
	pool.reply(got["from a"], 0, "to a")
	a.wantReply(1, "to a")
	pool.reply(got["from a"], 0, "to a, again")
	pool.sync()
	l.reply(got["from b"], 0, "to b")
	l.sync()
	second.reply(got["from b"], 0, "to b, again")
	b.wantReply(2, "to b")
	for _, l := range []*workerLink{l, second, pool} {
		l.wantAlive()
		l.sync()
	}
	for _, c := range []*client{a, b} {
		c.write(m.ping())
		c.wantPong()
	}
}

func TestWorkerRequestErrors(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "3m", "--wait-workers", "0s", "--limit", "slow=9@1", "--route", "slow.*=9")
	m := modes[0]
	c := p.login(t, m, "")
	wantError := c.wantWorkerError
	c.write(m.ask(1, "x", "1"))
	wantError(1, "no worker") // what it says tells it from a time-out

	// A worker that takes messages only gets the payload, and the client an error at once.
	plain := p.workerFor(t, 1)
	c.write(m.sendReq(1, 2, "x", m.text("payload"), []byte("data")))
	plain.wantTransfer("payload")
	wantError(2, "request")
	c.write(m.sendReq(0, 3, "x", m.text("no reply wanted")))
	plain.wantTransfer("no reply wanted")
	plain.close()

	// One a second: a machine that stands still lets some more through, and not all.
	slow := p.workerServer(t, 9)
	const burst = 20
	var wire []byte
	for id := range uint16(burst) {
		wire = append(wire, m.ask(id, "slow.x", "1")...)
	}
	c.write(wire)
	served := make(chan int)
	go func() {
		n := 0
		for {
			a, ok := slow.take(&slow.events, 4*patience)
			if !ok || slow.try(workerCommand(workerReply, workerReplyTo(a.fields, 0, "served"))) != nil {
				break
			}
			n++
		}
		served <- n
	}()
	limited := 0
	for id := range uint16(burst) {
		got := c.wantMessage(sendResp)
		switch {
		case got.id != id:
			t.Fatalf("reply %d, want %d", got.id, id)
		case strings.Contains(got.payload, "limit"):
			checkError(t, got.payload, 5)
			limited++
		case got.payload != "served":
			t.Fatalf("reply %d is %q", id, got.payload)
		}
	}
	slow.close()
	if n := <-served; n == 0 || limited == 0 || n+limited != burst {
		t.Errorf("%d requests served and %d refused, want some of each, and %d", n, limited, burst)
	}

	// The worker goes: at once, not after the time-out; and with it those who may be asked.
	l := p.workerServer(t, 1)
	c.write(append(m.ask(30, "x", "1"), m.ask(31, "x", "2")...))
	l.event(workerRequest)
	l.event(workerRequest)
	l.kill()
	wantError(30, "lost")
	wantError(31, "lost")
	c.write(m.ask(32, "x", "1"))
	wantError(32, "no worker")
	c.write(m.ping())
	c.wantPong()
}

// wantWorkerError wants the reply to a request to be an error that says why.
func (c *client) wantWorkerError(id uint16, says string) {
	c.tb.Helper()
	got := c.wantMessage(sendResp)
	if got.id != id || !strings.Contains(got.payload, says) {
		c.tb.Fatalf("reply %d %q, want %d that says %q", got.id, got.payload, id, says)
	}
	checkError(c.tb, got.payload, 5)
}

// What is not answered in time, on a gateway where that is long enough for all that is.
func TestWorkerRequestTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 4 * time.Second
	p := startNetsvr(t, "--request-timeout", timeout.String())
	m := modes[0]
	c := p.login(t, m, "")
	l := p.workerServer(t, 1)
	start := time.Now()
	c.write(m.ask(4, "x", "1"))
	asked := l.event(workerRequest)
	if got := asked.num(10); got != timeout.Milliseconds() {
		t.Errorf("the time-out is said to be %d ms", got)
	}
	c.wantWorkerError(4, "time")
	if took := time.Since(start); took < timeout-early {
		t.Errorf("timed out after %v, want %v", took, timeout)
	}
	// Its reply is not the next one's.
	c.write(m.ask(5, "x", "2"))
	next := l.event(workerRequest)
	l.reply(asked, 0, "too late")
	l.sync()
	l.reply(next, 0, "in time")
	c.wantReply(5, "in time")
	// Replies are in the order of the requests also when one of them times out.
	for id := range uint16(4) {
		c.write(m.ask(id, "x", fmt.Sprint(id)))
	}
	for id := range 4 {
		if r := l.event(workerRequest); id != 1 {
			l.reply(r, 0, r.text(8))
		}
	}
	c.wantReply(0, "0")
	c.wantWorkerError(1, "time")
	c.wantReply(2, "2")
	c.wantReply(3, "3")
}

// Our Push names the route; what it leaves out is as configured.
func TestWorkerPush(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--push-route", "news.Push")
	l := s.l
	g, idG := s.gosoc()
	c, id := s.open()
	s.subscribe(idG, "t", "u")
	s.subscribe(id, "t")
	push := func(ids, topics []string, route, payload string) {
		l.send(workerPush, workerMsg(nil).text(1, ids...).text(2, topics...).text(3, route).num(4, 6).text(5, payload))
	}
	push([]string{idG, "nobody", "", id}, nil, "chat.Said", "1")
	g.wantPush("chat.Said", "1")
	c.wantText("1")
	push(nil, []string{"t", "unknown", "", "u"}, "topic.Said", "2")
	g.wantPush("topic.Said", "2")
	g.wantPush("topic.Said", "2")
	c.wantText("2")
	push([]string{idG}, []string{"u"}, "", "3")
	g.wantPush("news.Push", "3")
	g.wantPush("news.Push", "3")
	push(nil, nil, "", "")
	l.send(workerPush, nil)
	l.send(workerBroadcast, workerMsg(nil).text(1, "4"))
	g.wantPush("news.Push", "4")
	c.wantText("4")
}

// The worker of --dev serves worker id 1 until one attaches, and after that has gone.
func TestWorkerDev(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	c, g := p.netsvrOpen(t, "/netsvr"), p.login(t, modes[0], "")
	check := func() {
		t.Helper()
		c.say("001the anything comes back")
		c.wantText("the anything comes back")
		c.sayBinary("001binary") // a push, so it is text
		c.wantText("binary")
		c.say("001")
		c.wantText("")
		c.say("002for nobody")
		c.wantAlive()
		g.wantEcho("1")
	}
	check()
	for range 3 {
		l := p.workerServer(t, 1)
		l.sync() // it is attached once the answer is there; this leaves no doubt
		c.say("001for you")
		l.wantTransfer("for you")
		g.write(g.mode.ask(5, "sluice.Echo", "1"))
		l.reply(l.event(workerRequest), 0, "from the worker")
		g.wantReply(5, "from the worker")
		l.close()
		p.await(func() bool {
			c.say("001gone?")
			_, got, err := c.next(50 * time.Millisecond)
			return err == nil && string(got) == "gone?"
		}, "the development worker to take over again")
		netsvrNoise(t, c) // an answer may have come after its time
		check()
	}
}

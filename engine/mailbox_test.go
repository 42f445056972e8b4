package engine

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMailboxManyPosters models a loop with a goroutine that sleeps until it is woken. It is
// woken only when it sleeps, and never sleeps with something in the box.
func TestMailboxManyPosters(t *testing.T) {
	const posters, each = 8, 20_000
	var m mailbox
	m.maxBytes = 1 << 10
	var asleep atomic.Bool
	var wakeups atomic.Int64
	wake := make(chan struct{}, 1)
	m.wake = func() {
		if !asleep.CompareAndSwap(true, false) {
			t.Error("woken while awake")
		}
		wakeups.Add(1)
		wake <- struct{}{}
	}
	m.awake = true // as the loop is when it begins

	var wg sync.WaitGroup
	for poster := range posters {
		wg.Go(func() {
			for i := range each {
				for m.full() { // never forever: the loop is awake or being woken
					time.Sleep(10 * time.Microsecond)
				}
				if !m.post(message{ref: Ref(poster), cmd: uint8(i), bytes: uint32(i)}) {
					t.Error("an open mailbox refused")
				}
				switch i % 100 {
				case 0:
					m.postWritable(makeRef(poster, 1, uint32(i+1)))
				case 1:
					m.postTick()
				case 2:
					m.postTell(tell{ref: makeRef(poster, 2, uint32(i+1))})
				}
			}
		})
	}

	var next, notices, tells, want [posters]uint32
	for i := range want {
		want[i] = each / 100
	}
	ticks, total := 0, 0
	var messages []message
	var c control
	for {
		messages, c = m.take(messages, c)
		for i := range messages {
			msg := &messages[i]
			if msg.bytes != next[msg.ref] {
				t.Fatalf("poster %d: message %d, want %d", msg.ref, msg.bytes, next[msg.ref])
			}
			next[msg.ref]++
			total++
			m.handled(1, int64(msg.bytes))
		}
		for _, ref := range c.writable {
			if ref.gen() != notices[ref.loop()]*100+1 {
				t.Fatalf("notice %d of poster %d out of order", ref.gen(), ref.loop())
			}
			notices[ref.loop()]++
		}
		for _, tl := range c.tells {
			if tl.ref.gen() != tells[tl.ref.loop()]*100+3 {
				t.Fatalf("tell %d of poster %d out of order", tl.ref.gen(), tl.ref.loop())
			}
			tells[tl.ref.loop()]++
		}
		if c.tick {
			ticks++
		}
		if total == posters*each && notices == want && tells == want {
			break
		}
		asleep.Store(true)
		if !m.sleep() {
			asleep.Store(false)
			continue
		}
		select {
		case <-wake:
		case <-time.After(patience):
			t.Fatalf("asleep for %v with %d of %d messages", patience, total, posters*each)
		}
	}
	wg.Wait()
	if ticks == 0 {
		t.Error("no tick came")
	}
	if m.bytes.Load() != 0 || m.length.Load() != 0 || m.full() || !m.sleep() {
		t.Errorf("an empty mailbox counts %d messages, %d bytes", m.length.Load(), m.bytes.Load())
	}
	t.Logf("%d wake-ups for %d messages", wakeups.Load(), total)
}

// The first post into a sleeping mailbox wakes, the next ones do not, whatever lane they are in.
func TestMailboxWakesOnce(t *testing.T) {
	posts := []struct {
		name string
		post func(*mailbox)
	}{
		{"message", func(m *mailbox) { m.post(message{}) }},
		{"writable", func(m *mailbox) { m.postWritable(1) }},
		{"tick", func(m *mailbox) { m.postTick() }},
		{"tell", func(m *mailbox) { m.postTell(tell{}) }},
	}
	for _, first := range posts {
		for _, second := range posts {
			wakeups := 0
			m := mailbox{wake: func() { wakeups++ }}
			if !m.sleep() {
				t.Fatal("an empty mailbox does not sleep")
			}
			first.post(&m)
			second.post(&m)
			if wakeups != 1 {
				t.Errorf("%s, %s: %d wake-ups, want 1", first.name, second.name, wakeups)
			}
			if m.sleep() {
				t.Errorf("%s, %s: sleeps with something in it", first.name, second.name)
			}
			m.take(nil, control{})
			first.post(&m) // the loop has not slept since
			if wakeups != 1 {
				t.Errorf("%s: woke a loop that was awake", first.name)
			}
			m.take(nil, control{})
			if !m.sleep() {
				t.Error("does not sleep when it was emptied")
			}
			second.post(&m)
			if wakeups != 2 {
				t.Errorf("%s: %d wake-ups, want 2", second.name, wakeups)
			}
		}
	}
}

func TestMailboxFull(t *testing.T) {
	m := mailbox{maxBytes: 100, awake: true}
	if m.full() {
		t.Error("empty and full")
	}
	m.post(message{bytes: 1000}) // one message always fits
	if !m.full() {
		t.Error("over its bytes and not full")
	}
	m.handled(1, 1000)
	for range maxMessages {
		if m.full() {
			t.Fatal("full too early")
		}
		m.post(message{})
	}
	if !m.full() {
		t.Error("over its number and not full")
	}
}

// takeControl leaves messages where they are.
func TestMailboxTakeControl(t *testing.T) {
	m := mailbox{awake: true}
	m.post(message{cmd: 1})
	m.postTell(tell{ref: 5})
	m.postWritable(6)
	m.postTick()
	c := m.takeControl(control{})
	if len(c.tells) != 1 || len(c.writable) != 1 || !c.tick {
		t.Errorf("took %+v", c)
	}
	if m.sleep() {
		t.Error("sleeps with a message in it")
	}
	messages, c := m.take(nil, c)
	if len(messages) != 1 || len(c.tells)+len(c.writable) != 0 || c.tick {
		t.Errorf("then took %+v, %+v", messages, c)
	}
}

func TestMailboxClose(t *testing.T) {
	wakeups := 0
	m := mailbox{maxBytes: 100, wake: func() { wakeups++ }}
	m.post(message{cmd: 1})
	taken, _ := m.take(nil, control{})
	m.post(message{cmd: 2})
	m.post(message{cmd: 3})
	left := m.close()
	if len(taken) != 1 || len(left) != 2 || left[0].cmd != 2 || left[1].cmd != 3 {
		t.Errorf("took %v, left %v", taken, left)
	}
	if m.post(message{}) || m.postTell(tell{}) {
		t.Error("a closed mailbox takes posts")
	}
	m.sleep()
	m.postTick()
	m.postWritable(1)
	if wakeups != 1 {
		t.Errorf("%d wake-ups, want none of a closed mailbox", wakeups-1)
	}
	if got := m.close(); len(got) != 0 {
		t.Errorf("closed again, left %v", got)
	}
}

// Posters that race with close either get in, and are returned, or are refused.
func TestMailboxCloseRace(t *testing.T) {
	for range 200 {
		m := mailbox{wake: func() {}}
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for m.post(message{}) {
					accepted.Add(1)
				}
			})
		}
		time.Sleep(20 * time.Microsecond)
		left := len(m.close())
		wg.Wait()
		if int64(left) != accepted.Load() {
			t.Fatalf("%d left of %d accepted", left, accepted.Load())
		}
	}
}

func BenchmarkMailboxPost(b *testing.B) {
	m := mailbox{awake: true}
	var messages []message
	var c control
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.post(message{bytes: 100})
		if i%512 == 0 {
			messages, c = m.take(messages, c)
			m.handled(len(messages), int64(100*len(messages)))
		}
	}
}

func queuedBytes(c *Conn) string {
	if c.first.ref == nil {
		return ""
	}
	return string(c.loop.gather(c, scratchSize))
}

// What a turn has taken from the control lane is done even when one part of it panics.
func TestPanicKeepsControlLane(t *testing.T) {
	l := bareLoop(t, Config{})
	bad, good := bareConn(t, l, 0), bareConn(t, l, 0)
	told, expired := false, 0
	bad.handler = &partingHandler{deadline: func(*Conn) { panic("asked to") }}
	good.handler = &partingHandler{deadline: func(*Conn) { expired++ }}
	for _, c := range []*Conn{good, bad} { // in a bucket the last one comes first
		l.wheel.set(c.slot, 1)
	}
	good.flags |= flagBlocked
	l.mailbox.postTell(tell{ref: bad.Ref(), fn: func(*Conn) { panic("asked to") }})
	l.mailbox.postTell(tell{ref: good.Ref(), fn: func(*Conn) { told = true }})
	l.mailbox.postWritable(good.Ref())
	l.mailbox.postTick()
	l.engine.kernel.start = l.engine.kernel.start.Add(-time.Second)
	for range 5 { // a turn goes on behind a panic
		l.tick()
		l.work()
	}
	if expired != 1 {
		t.Errorf("the other deadline came %d times, want once", expired)
	}
	if !told {
		t.Error("the tell behind the panic was lost")
	}
	if good.flags&flagBlocked != 0 {
		t.Error("the writable notice was lost: the connection never sends again")
	}
}

// A connection whose end is closed again by its own handler ends once.
func TestCloseWithinOnClose(t *testing.T) {
	for _, how := range []struct {
		name string
		end  func(*Conn)
	}{
		{"close", func(c *Conn) { c.Close(ReasonServerError) }},
		{"cut", func(c *Conn) { c.Abort(ReasonServerError) }},
	} {
		t.Run(how.name, func(t *testing.T) {
			closes := make(chan Reason, 10)
			p := testProtocol{open: func(c *Conn) Handler {
				return &partingHandler{onClose: func(c *Conn) {
					closes <- ReasonForcedOffline
					if len(closes) < 5 {
						how.end(c)
					}
				}}
			}}
			e, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{p}})
			c := dialLine(t, addr)
			c.send("CLOSE")
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.r.ReadByte(); err == nil {
				t.Error("still open")
			}
			c.Close()
			waitFor(t, "the slot to be free", func() bool { return e.Connections() == 0 })
			s := e.Stats()
			if n := s.Closed[ReasonForcedOffline]; n != 1 || s.Closed[ReasonServerError] != 0 || s.Panics != 0 {
				t.Errorf("closes counted: %d forced offline, %d server error; %d panics", n, s.Closed[ReasonServerError], s.Panics)
			}
			if len(closes) != 1 {
				t.Errorf("OnClose came %d times", len(closes))
			}
			l := e.loops[0]
			done := make(chan string, 1)
			e.Tell(0, func(*Conn) { // the slot must be free for good
				state := ""
				for i := range l.chunks[0] {
					if s := l.chunks[0][i].state; s != stateFree {
						state = "a slot is left in use after its connection has gone"
					}
				}
				done <- state
			})
			if msg := <-done; msg != "" {
				t.Error(msg)
			}
		})
	}
}

// A panic in OnClose costs nobody: the connection is closed all the same.
func TestPanicInOnClose(t *testing.T) {
	refs := make(chan Ref, 1)
	p := testProtocol{open: func(c *Conn) Handler {
		refs <- c.Ref()
		return &partingHandler{
			goodbye: func(c *Conn) { c.Write([]byte("BYE\n")) },
			onClose: func(*Conn) { panic("asked to") },
		}
	}}
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{p}})
	c := dialLine(t, addr)
	c.send("SUB t")
	c.expect("SUBSCRIBED true")
	e.Tell(<-refs, func(c *Conn) { c.Close(ReasonKickedOut) })
	c.expect("BYE")
	c.expectEOF()
	if n := e.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	if n := e.Topics().Len(); n != 0 {
		t.Errorf("%d topics are left of a connection that was closed", n)
	}
}

// testProtocol is the line protocol with a handler of the test's own.
type testProtocol struct {
	lineProtocol
	open func(*Conn) Handler
}

func (p testProtocol) Open(c *Conn) Handler {
	p.lineProtocol.Open(c)
	return p.open(c)
}

// Input that came before a Pause is handled after Resume, even when nothing of it was consumed
// and nothing more comes.
func TestHoldBeforeFirstPacket(t *testing.T) {
	p := testProtocol{open: func(c *Conn) Handler {
		c.Pause()
		ref, e := c.Ref(), c.Loop().Engine()
		time.AfterFunc(20*time.Millisecond, func() {
			e.Tell(ref, func(c *Conn) {
				if c != nil {
					c.Resume()
				}
			})
		})
		return &lineHandler{}
	}}
	_, addr := startLine(t, Config{}, ListenConfig{Protocols: []Protocol{p}})
	c := dialLine(t, addr)
	c.send("ECHO at once")
	c.expect("at once")
}

// What a handler publishes outside OnBytes goes out by itself.
func TestPublishOutsideInput(t *testing.T) {
	for _, from := range []string{"deadline", "tell", "close"} {
		t.Run(from, func(t *testing.T) {
			publish := func(c *Conn) {
				c.Publish([]byte("t"), Push{Payload: []byte("from " + from)})
			}
			refs := make(chan Ref, 2)
			p := testProtocol{open: func(c *Conn) Handler {
				refs <- c.Ref()
				h := &partingHandler{deadline: publish}
				if from == "close" {
					h.onClose = publish
				}
				return h
			}}
			e, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{p}})
			sub, pub := dialLine(t, addr), dialLine(t, addr)
			sub.send("SUB t")
			sub.expect("SUBSCRIBED true")
			<-refs
			pub.send("ECHO ready")
			pub.expect("ready")
			switch from {
			case "deadline":
				pub.send("TIMER")
			case "tell":
				e.Tell(<-refs, publish)
			case "close":
				pub.Close()
			}
			_ = sub.SetReadDeadline(time.Now().Add(patience))
			if line, err := sub.r.ReadString('\n'); line != "from "+from+"\n" {
				t.Errorf("got %q, %v", line, err)
			}
		})
	}
}

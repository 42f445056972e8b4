package e2e

import (
	"bufio"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A queue that is full: "busy" at once, for as long as it is.
func TestWorkerBusy(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--worker-queue", "64KiB", "--request-timeout", "3m", "--worker-write-timeout", "3m")
	conn := p.workerConn(t) // does not read for now
	_ = conn.SetReadBuffer(64 << 10)
	if _, err := conn.Write(workerCommand(workerRegister, workerMsg(nil).num(1, 1).num(100, 1))); err != nil {
		t.Fatal(err)
	}
	if a, err := workerReadFrame(conn); err != nil || a.fields.num(1) != 0 {
		t.Fatalf("not registered: %v, %v", a, err)
	}
	m := modes[0]
	payload := strings.Repeat("x", 32<<10)
	flood := p.login(t, m, "")
	for range 500 { // 16 MB, far more than the sockets take
		flood.write(m.sendReq(0, 0, "x", []byte(payload)))
	}
	// ask returns the reply to a request of a new client, ok is false if there is none soon.
	ask := func() (says string, ok bool) {
		c := p.login(t, m, "")
		defer c.hangUp()
		c.write(m.ask(1, "x", payload))
		_ = c.conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		got, err := m.read(c.r)
		if err != nil {
			return "", false
		}
		msg, err := m.message(got)
		if err != nil {
			t.Fatal(err)
		}
		return msg.payload, true
	}
	for busy, waiting := 0, 0; busy < 10; { // the sockets may take a little more, for a while
		says, ok := ask()
		switch {
		case ok && strings.Contains(says, "busy"):
			checkError(t, says, 5)
			busy++
		case ok:
			t.Fatalf("reply %q", says)
		default:
			if waiting++; waiting > 10 {
				t.Fatal("16 MB for a worker that does not read, and requests still wait")
			}
			// What came too fast was refused before the sockets were full: more, a little at a
			// time.
			for range 200 {
				flood.write(m.sendReq(0, 0, "x", []byte(payload)))
				time.Sleep(time.Millisecond)
			}
		}
	}
	flood.write(m.ping())
	flood.wantPong()
	// It reads again, and is asked again.
	go func() {
		for r := bufio.NewReader(conn); ; {
			got, err := workerReadFrame(r)
			if err != nil {
				return
			}
			if _, err := conn.Write(workerCommand(workerReply, workerReplyTo(got.fields, 0, "here"))); err != nil {
				return
			}
		}
	}()
	p.await(func() bool { says, ok := ask(); return ok && says == "here" }, "requests to be served again")
	p.wantPeakBelow(200 << 20)
}

// One client floods a worker that does not read: it gets "busy", and the requests of ten others
// wait until the worker reads again.
func TestWorkerFair(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--worker-queue", "1MiB", "--request-timeout", "3m", "--worker-write-timeout", "3m")
	conn := p.workerConn(t) // does not read for now
	_ = conn.SetReadBuffer(64 << 10)
	if _, err := conn.Write(workerCommand(workerRegister, workerMsg(nil).num(1, 1).num(100, 1))); err != nil {
		t.Fatal(err)
	}
	if a, err := workerReadFrame(conn); err != nil || a.fields.num(1) != 0 {
		t.Fatalf("not registered: %v, %v", a, err)
	}
	m := modes[0]
	flood := p.login(t, m, "")
	payload := []byte(strings.Repeat("x", 16<<10))
	for range 1000 { // 16 MB, far more than the sockets take
		flood.write(m.sendReq(0, 0, "x", payload))
	}
	flood.write(m.ask(1, "x", string(payload)))
	got, err := flood.next()
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := m.message(got); err != nil || !strings.Contains(msg.payload, "busy") {
		t.Fatalf("the flood is answered %q, %v", msg.payload, err)
	}
	const others, each = 10, 5
	var clients []*client
	for range others {
		c := p.login(t, m, "")
		for n := range each {
			c.write(m.ask(uint16(n), "x", "hello"))
		}
		clients = append(clients, c)
	}
	go func() {
		for r := bufio.NewReader(conn); ; {
			got, err := workerReadFrame(r)
			if err != nil {
				return
			}
			if got.fields.num(7) == 0 { // wants no reply
				continue
			}
			if _, err := conn.Write(workerCommand(workerReply, workerReplyTo(got.fields, 0, "here"))); err != nil {
				return
			}
		}
	}()
	for i, c := range clients {
		for n := range each {
			got, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if msg, err := m.message(got); err != nil || msg.payload != "here" {
				t.Errorf("client %d, request %d: %q, %v", i, n, msg.payload, err)
			}
		}
	}
}

// One client has 1,000 requests in the queue of a worker that reads nothing for now, another asks
// once: it waits for what the socket has of the flood, and for a turn, not for the flood.
func TestWorkerTurns(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "3m", "--worker-write-timeout", "3m")
	conn := p.workerConn(t)
	if _, err := conn.Write(workerCommand(workerRegister, workerMsg(nil).num(1, 1).num(100, 1))); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if a, err := workerReadFrame(r); err != nil || a.fields.num(1) != 0 {
		t.Fatalf("not registered: %v, %v", a, err)
	}
	m := modes[0]
	flood, other := p.login(t, m, ""), p.login(t, m, "")
	payload := []byte(strings.Repeat("x", 4<<10))
	for range 1000 {
		flood.write(m.sendReq(0, 0, "x", payload))
	}
	flood.write(m.ping())
	flood.wantPong() // behind all of them
	other.write(m.ask(1, "x", "hello"))
	other.write(m.ping())
	other.wantPong() // pongs wait for no worker, and the request is in the queue
	for before := 0; ; before++ {
		got, err := workerReadFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if got.fields.num(7) == 0 { // the flood wants no replies
			continue
		}
		t.Logf("served behind %d requests", before)
		if before > 150 {
			t.Errorf("served behind %d requests of another client", before)
		}
		if _, err := conn.Write(workerCommand(workerReply, workerReplyTo(got.fields, 0, "here"))); err != nil {
			t.Fatal(err)
		}
		break
	}
	if got, err := other.next(); err != nil {
		t.Fatal(err)
	} else if msg, err := m.message(got); err != nil || msg.payload != "here" {
		t.Errorf("reply %q, %v", msg.payload, err)
	}
}

// Two workers serve clients that keep several requests under way; one is killed in the middle. No
// client is disconnected, every request is answered, and in order.
func TestWorkerFailover(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "3m")
	m := modes[0]
	var served [2]atomic.Int64
	const echoes = 2000 // of the one that is killed
	serve := func(l *workerLink, count *atomic.Int64, echoes int64) {
		for {
			a, ok := l.take(&l.events, 4*patience)
			if !ok {
				return
			}
			if count.Add(1) > echoes {
				continue // killed soon, with requests unanswered
			}
			if err := l.try(workerCommand(workerReply, workerReplyTo(a.fields, 0, a.fields.text(8)))); err != nil {
				return
			}
		}
	}
	links := []*workerLink{p.workerServer(t, 1), p.workerServer(t, 1)}
	var servers sync.WaitGroup
	servers.Go(func() { serve(links[0], &served[0], 1<<30) })
	servers.Go(func() { serve(links[1], &served[1], echoes) })

	const clients, each, window = 40, 400, 16
	var asking sync.WaitGroup
	var mu sync.Mutex
	lost := 0
	for i := range clients {
		c := p.login(t, m, "")
		asking.Go(func() {
			pace := make(chan struct{}, window)
			go func() {
				for n := range each {
					pace <- struct{}{}
					if err := c.send(m.ask(uint16(n), "x", fmt.Sprint(i, " ", n))); err != nil {
						t.Errorf("client %d, request %d: %v", i, n, err)
						return
					}
				}
			}()
			for n := range each {
				got, err := c.next()
				if err != nil {
					t.Errorf("client %d, reply %d: %v", i, n, err)
					return
				}
				msg, err := m.message(got)
				switch {
				case err != nil || msg.id != uint16(n):
					t.Errorf("client %d: reply %d, want %d", i, msg.id, n)
					return
				case msg.payload == fmt.Sprint(i, " ", n):
				case strings.Contains(msg.payload, "lost"):
					mu.Lock()
					lost++
					mu.Unlock()
				default:
					t.Errorf("client %d, request %d: %q", i, n, msg.payload)
				}
				<-pace
			}
		})
	}
	p.await(func() bool { return served[1].Load() > echoes }, "the second worker to be asked enough")
	links[1].kill()
	asking.Wait()
	links[0].close()
	servers.Wait()
	t.Logf("served %d and %d, lost %d", served[0].Load(), served[1].Load(), lost)
	if served[0].Load() < served[1].Load() || lost == 0 || lost > clients*window {
		t.Errorf("served %d and %d, lost %d", served[0].Load(), served[1].Load(), lost)
	}
}

package gateway_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
)

// A shift is a worker that is there from start on. It answers at once, with the payload.
type shift struct {
	mu     sync.Mutex
	served []string // payloads, in the order they came
	users  []string // and whose they were
	room   int      // how many it takes; negative: any number
}

func (w *shift) ServeRequest(r *gateway.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room == 0 && r.Wait(2) {
		return
	}
	w.room--
	w.served = append(w.served, string(r.Payload))
	w.users = append(w.users, r.User())
	r.Reply(r.Payload)
}

func (w *shift) all() (payloads, users []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.served), slices.Clone(w.users)
}

// waiting starts a server whose worker 2 is not there yet.
func waiting(t *testing.T, wait time.Duration, change func(*server.Config)) *server.Server {
	t.Helper()
	s := start(t, func(c *server.Config) {
		c.Gateway.WaitWorkers = wait
		if change != nil {
			change(c)
		}
	})
	if err := s.Gateway().Route("w.*", 2); err != nil {
		t.Fatal(err)
	}
	return s
}

// wantAnswer reads the reply to a request, which ends with payload.
func (p *phone) wantAnswer(id int, payload string) {
	p.t.Helper()
	if got := p.wantReply(id); !strings.HasSuffix(got, payload) {
		p.t.Fatalf("got the reply %q to request %d, want %q", got, id, payload)
	}
}

func gone(t *testing.T, s *server.Server) {
	t.Helper()
	await(t, "the account to be empty", func() bool { return account(s, engine.KindRequests) == 0 })
}

// What asks before the worker is there is served when it is: each client's in their order, and one of
// each in turn.
func TestRequestsWaitForTheirWorker(t *testing.T) {
	t.Parallel()
	const n = 5
	s := waiting(t, never, func(c *server.Config) { c.Engine.Loops = 1 })
	users := []string{"ann", "ben", "cid"}
	var phones []*phone
	for _, user := range users {
		p := online(t, s, user)
		for i := range n {
			p.write(request(i, "w.say", fmt.Sprint(user, i)))
		}
		p.write(request(n, "sluice.Echo", `"after"`)) // of another worker: its reply has its turn
		phones = append(phones, p)
		want := uint64((len(phones)) * n)
		await(t, "the requests", func() bool { return s.Gateway().Stats().Waited == want })
	}
	if got := account(s, engine.KindRequests); got < int64(3*n*4) {
		t.Errorf("%d bytes are on the account", got)
	}
	w := &shift{room: -1}
	s.Gateway().Attach(2, w)
	for i, p := range phones {
		for j := range n {
			p.wantAnswer(j, fmt.Sprint(users[i], j))
		}
		p.wantAnswer(n, `"after"}`)
	}
	gone(t, s)
	got, _ := w.all()
	var want []string
	for j := range n {
		for _, user := range users {
			want = append(want, fmt.Sprint(user, j))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the worker got %v, want %v", got, want)
	}
	if st := s.Gateway().Stats(); st.Busy != 0 || st.Timeouts != 0 {
		t.Errorf("%d busy, %d timeouts", st.Busy, st.Timeouts)
	}
}

// Whoever asks while others wait is not served before its own earlier requests.
func TestRequestsBehindThoseThatWait(t *testing.T) {
	t.Parallel()
	s := waiting(t, never, nil)
	p := online(t, s, "ann")
	w := &shift{} // takes nothing yet
	for i := range 3 {
		p.write(request(i, "w.say", fmt.Sprint("r", i)))
	}
	await(t, "the requests", func() bool { return s.Gateway().Stats().Waited == 3 })
	s.Gateway().Attach(2, w)
	for i := 3; i < 6; i++ {
		p.write(request(i, "w.say", fmt.Sprint("r", i)))
	}
	await(t, "the others", func() bool { return s.Gateway().Stats().Waited == 6 })
	w.mu.Lock()
	w.room = -1
	w.mu.Unlock()
	for i := range 6 {
		p.wantAnswer(i, fmt.Sprint("r", i))
	}
	gone(t, s)
}

// At the end of the wait there is an answer; within a shorter time-out of the gateway's, that one.
func TestWaitForWorkersEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		wait, timeout time.Duration
		message       string
	}{
		{"the wait", 300 * time.Millisecond, never, "no worker"},
		{"the time-out", never, 300 * time.Millisecond, "no answer in time"},
		{"no wait at all", -1, never, "no worker"},
		{"no worker can come", 0, never, "no worker"}, // there is no WorkerListen
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := waiting(t, tt.wait, func(c *server.Config) { c.Gateway.RequestTimeout = tt.timeout })
			p := online(t, s, "ann")
			begun := time.Now()
			silent := request(7, "w.say", "{}")
			silent[0] &^= 0x2 // wants no reply
			p.write(silent)
			for i := range 3 {
				p.write(request(i, "w.say", "{}"))
			}
			for i := range 3 {
				p.wantAnswer(i, fmt.Sprintf(`{"status":5,"message":%q,"data":null}`, tt.message))
			}
			d, least := time.Since(begun), min(tt.wait, tt.timeout)
			if d < least || tt.wait <= 0 && s.Gateway().Stats().Waited > 0 {
				t.Errorf("answered after %v, want %v", d, least)
			}
			gone(t, s)
			s.Gateway().Attach(2, &shift{room: -1}) // nothing is left for it
			p.write(request(9, "w.say", "new"))
			p.wantAnswer(9, "new")
		})
	}
}

// A client that leaves takes along what waits, and one that asks too much is not read.
func TestWaitingRequestsAreBounded(t *testing.T) {
	t.Parallel()
	s := waiting(t, never, func(c *server.Config) { c.Gateway.MaxPendingBytes = 64 << 10 })
	p, other := online(t, s, "ann"), online(t, s, "ben")
	payload := strings.Repeat("x", 1000)
	go func() {
		for i := range 5000 {
			if _, err := p.conn.Write(request(i, "w.say", payload)); err != nil {
				return
			}
		}
	}()
	await(t, "the client not to be read", func() bool { return s.Gateway().Stats().Holds == 1 })
	if got := account(s, engine.KindRequests); got > 70<<10 {
		t.Errorf("%d bytes wait", got)
	}
	other.write(request(1, "w.say", "other's"))
	_ = p.conn.(*net.TCPConn).SetLinger(0) // a reset, which is noticed while it is not read
	_ = p.conn.Close()
	await(t, "its requests to be gone", func() bool { return account(s, engine.KindRequests) < 2000 })
	w := &shift{room: -1}
	s.Gateway().Attach(2, w)
	other.wantAnswer(1, "other's")
	if _, users := w.all(); slices.Contains(users, "ann") {
		t.Error("the worker got requests of a client that is gone")
	}
	gone(t, s)
}

// A worker that takes a few at a time gets all of them, whoever is stuck in between.
func TestWaitingRequestsArePaced(t *testing.T) {
	t.Parallel()
	s := waiting(t, never, nil)
	const clients, n = 4, 50
	var phones []*phone
	for i := range clients {
		p := online(t, s, fmt.Sprint("user", i))
		for j := range n {
			p.write(request(j, "w.say", fmt.Sprint("r", j)))
		}
		phones = append(phones, p)
	}
	await(t, "the requests", func() bool { return s.Gateway().Stats().Waited == clients*n })
	w := &shift{}
	s.Gateway().Attach(2, w)
	stop := make(chan struct{})
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				w.mu.Lock()
				w.room = 20
				w.mu.Unlock()
			}
		}
	})
	for _, p := range phones {
		for j := range n {
			p.wantAnswer(j, fmt.Sprint("r", j))
		}
	}
	close(stop)
	feeding.Wait()
	gone(t, s)
}

// When the worker has gone again before all are served, the rest waits for the next.
func TestWaitingRequestsOutlastAWorker(t *testing.T) {
	t.Parallel()
	s := waiting(t, never, nil)
	p := online(t, s, "ann")
	p.write(request(1, "w.say", "one"))
	await(t, "the request", func() bool { return s.Gateway().Stats().Waited == 1 })
	s.Gateway().Attach(2, &shift{})
	s.Gateway().Attach(2, nil)
	p.write(request(2, "w.say", "two"))
	await(t, "the other", func() bool { return s.Gateway().Stats().Waited == 2 })
	s.Gateway().Attach(2, &shift{room: -1})
	p.wantAnswer(1, "one")
	p.wantAnswer(2, "two")
	gone(t, s)
}

// The development worker makes way for a real one, for commands and what is not its own; its own
// routes are nobody else's.
func TestDevelopmentWorkerMakesWay(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.Gateway.WaitWorkers = never })
	p := online(t, s, "ann")
	p.write(request(1, "chat.say", "{}"))
	p.wantAnswer(1, `"message":"no such route: chat.say","data":null}`)
	s.Gateway().Attach(1, &shift{room: -1})
	s.Gateway().Attach(1, nil)
	p.write(request(2, "sluice.Echo", `"e"`))
	p.wantAnswer(2, `"e"}`)
	p.write(request(3, "chat.say", "{}"))
	await(t, "the request to wait", func() bool { return s.Gateway().Stats().Waited == 1 })
	s.Gateway().Attach(1, &shift{room: -1})
	p.wantAnswer(3, "{}")
}

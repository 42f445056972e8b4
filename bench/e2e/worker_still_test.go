package e2e

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// One of two workers reads nothing. Its half of the requests is served by the other all the same,
// but for what its socket has: that nobody can take back.
func TestWorkerStillMoves(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		leave bool   // then it hangs up
		fails string // what the requests are told that it had
	}{
		{"stands still", false, "no answer in time"},
		{"leaves", true, "lost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := "3s"
			if tt.leave {
				timeout = "3m"
			}
			p := startNetsvr(t, "--request-timeout", timeout)
			still := p.workerConn(t)
			register := workerCommand(workerRegister, workerMsg(nil).num(1, 1).num(100, 1))
			if _, err := still.Write(register); err != nil {
				t.Fatal(err)
			}
			if a, err := workerReadFrame(still); err != nil || a.fields.num(1) != 0 {
				t.Fatalf("not registered: %v, %v", a, err)
			}
			l := p.workerServer(t, 1)
			go func() {
				for {
					a, ok := l.take(&l.events, 4*patience)
					if !ok {
						return
					}
					reply := workerReplyTo(a.fields, 0, a.fields.text(8)[:8])
					if l.try(workerCommand(workerReply, reply)) != nil {
						return
					}
				}
			}()
			const clients, each = 20, 20
			m, padding := modes[0], strings.Repeat("x", 16<<10)
			var asking sync.WaitGroup
			var mu sync.Mutex
			failed := 0
			var cs []*client
			for i := range clients {
				c := p.login(t, m, "")
				cs = append(cs, c)
				for n := range each {
					c.write(m.ask(uint16(n), "x", fmt.Sprintf("%3d.%4d%s", i, n, padding)))
				}
			}
			if tt.leave {
				for _, c := range cs { // all has been handed on
					c.write(m.ping())
				}
				time.Sleep(100 * time.Millisecond)
				still.Close()
			}
			for i, c := range cs {
				asking.Go(func() {
					for n := 0; n < each; {
						got, err := c.next()
						if err != nil {
							t.Errorf("client %d, reply %d: %v", i, n, err)
							return
						}
						if got.typ == pingResp {
							continue
						}
						msg, err := m.message(got)
						switch {
						case err != nil || msg.id != uint16(n):
							t.Errorf("client %d: reply %d is %v, %v", i, n, got, err)
							return
						case strings.Contains(msg.payload, tt.fails):
							mu.Lock()
							failed++
							mu.Unlock()
						case msg.payload != fmt.Sprintf("%3d.%4d", i, n):
							t.Errorf("client %d: reply %d is %q", i, n, msg.payload)
						}
						n++
					}
				})
			}
			asking.Wait()
			t.Logf("%d of %d failed", failed, clients*each)
			if failed == 0 || failed > 60 { // a megabyte would be 64
				t.Errorf("%d of %d failed, want those in the socket", failed, clients*each)
			}
			// How many went to it before it had lost its share depends on how fast they came.
			if n := p.metrics()["sluice_worker_moved_total"]; n == 0 {
				t.Error("no request was moved")
			}
		})
	}
}

// Requests that were moved are owed by the worker that has them now, and told when it is lost.
func TestWorkerStillThenLost(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "3m")
	still, other := p.workerConn(t), p.workerServer(t, 1)
	if _, err := still.Write(workerCommand(workerRegister, workerMsg(nil).num(1, 1).num(100, 1))); err != nil {
		t.Fatal(err)
	}
	if a, err := workerReadFrame(still); err != nil || a.fields.num(1) != 0 {
		t.Fatalf("not registered: %v, %v", a, err)
	}
	m, payload := modes[0], strings.Repeat("x", 16<<10)
	const each = 50
	a, b := p.login(t, m, ""), p.login(t, m, "")
	for n := range each {
		a.write(m.ask(uint16(n), "x", payload))
		b.write(m.ask(uint16(n), "x", payload))
	}
	p.await(func() bool { return p.metrics()["sluice_worker_moved_total"] > 0 }, "a move")
	still.Close() // first the one that had them
	p.await(func() bool { return p.metrics()["sluice_worker_lost_requests_total"] > 0 }, "lost requests")
	if n := p.metrics()["sluice_worker_lost_requests_total"]; n > each-10 {
		t.Errorf("%v requests are lost with the worker that had a few of its %d", n, each)
	}
	other.close()
	p.await(func() bool { return p.metrics()["sluice_worker_lost_requests_total"] == 2*each }, "all to be lost")
	for _, c := range []*client{a, b} {
		for n := range each {
			got, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if msg, err := m.message(got); err != nil || msg.id != uint16(n) || !strings.Contains(msg.payload, "lost") {
				t.Fatalf("reply %d: %v, %v", n, msg, err)
			}
		}
	}
}

// One of two worker processes is stopped while ten clients ask 200 times a second: from 1 s on all
// is served by the other, and when it goes on, it gets its share again.
func TestWorkerProcessStill(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "1s")
	first, second := startWorkerProcess(t, p), startWorkerProcess(t, p)
	type reply struct {
		sent time.Time
		says string
	}
	var mu sync.Mutex
	var replies []reply
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for i := range 10 {
		m := plainModes[i%2]
		c := p.login(t, m, "")
		sent := make(chan time.Time, 1000)
		asking.Go(func() {
			defer close(sent)
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				sent <- time.Now()
				if err := c.send(m.ask(uint16(n), "x", "hello")); err != nil {
					t.Error(err)
					return
				}
			}
		})
		asking.Go(func() {
			for at := range sent {
				got, err := c.next()
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				msg, err := m.message(got)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
				}
				mu.Lock()
				replies = append(replies, reply{at, msg.payload})
				mu.Unlock()
			}
		})
	}
	// between counts the replies to what was sent between two times, by who served, or "" for
	// nobody.
	between := func(from, to time.Time) map[string]int {
		mu.Lock()
		defer mu.Unlock()
		counts := make(map[string]int)
		for _, r := range replies {
			if r.sent.After(from) && r.sent.Before(to) {
				by, _, _ := strings.Cut(r.says, " hello")
				if by == r.says {
					by = ""
				}
				counts[by]++
			}
		}
		return counts
	}
	begun := time.Now()
	p.await(func() bool {
		n := between(begun, time.Now())
		return n[worker(first)] > 20 && n[worker(second)] > 20
	}, "both to serve")
	if err := second.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	time.Sleep(4 * time.Second)
	resumed := time.Now()
	if err := second.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.await(func() bool {
		n := between(time.Now().Add(-time.Second), time.Now())
		return n[worker(second)] > 30 && n[worker(first)] > 30
	}, "both to serve again")
	close(stop)
	asking.Wait()
	n := between(stopped, stopped.Add(time.Second))
	t.Logf("in the first second: %v", n)
	if n[""] > 150 {
		t.Errorf("in the first second: %v", n)
	}
	// On a busy machine what was sent last reaches the gateway when both go on.
	if n = between(stopped.Add(time.Second), resumed.Add(-time.Second)); len(n) != 1 || n[worker(first)] == 0 {
		t.Errorf("from 1 s on: %v, want all served by %s", n, worker(first))
	}
	t.Logf("from 1 s on: %v", n)
}

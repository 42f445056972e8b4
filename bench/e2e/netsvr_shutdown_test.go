package e2e

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// SIGHUP disturbs nobody. SIGTERM closes the clients, and each close is told to the workers before
// their links end.
func TestNetsvrShutdown(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l, p := s.l, s.p
	var ids []string
	var customers []*netsvrCustomer
	for range 300 {
		c, id := s.open()
		customers, ids = append(customers, c), append(ids, id)
	}
	var clients []*client
	for range 100 {
		c, id := s.gosoc()
		clients, ids = append(clients, c), append(ids, id)
	}
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, ids[0]).text(2, "renamed").text(4, "session"))
	ids[0] = "renamed"
	l.sync()
	idle := p.workerLink(t)
	for range 3 {
		p.signal(syscall.SIGHUP)
		time.Sleep(20 * time.Millisecond)
	}
	for _, c := range customers[:10] {
		c.wantAlive()
	}
	clients[0].write(clients[0].mode.ping())
	clients[0].wantPong()
	l.wantAlive()
	s.open() // and is served
	ids = append(ids, l.uniqIDs()...)
	slices.Sort(ids)
	ids = slices.Compact(ids)

	unfinished := p.dial(t, modes[0])
	unfinished.write(netsvrHead("GET", "/netsvr")[:20])
	p.signal(syscall.SIGTERM)
	var all sync.WaitGroup
	for _, c := range customers {
		all.Go(func() {
			for {
				if _, _, err := c.next(patience); err != nil {
					if !over(err) {
						t.Errorf("customer: %v", err)
					}
					c.conn.Close()
					return
				}
			}
		})
	}
	for _, c := range clients {
		all.Go(func() {
			for {
				if _, err := c.next(); err != nil {
					if !over(err) {
						t.Errorf("client: %v", err)
					}
					c.conn.Close()
					return
				}
			}
		})
	}
	all.Go(func() {
		_, _ = unfinished.next()
		unfinished.conn.Close()
	})
	var closed []string
	for range ids {
		a, ok := l.take(&l.events, patience)
		if !ok || a.cmd != workerConnClose {
			t.Fatalf("%d of %d closes, then %d, %v", len(closed), len(ids), a.cmd, l.err)
		}
		closed = append(closed, a.fields.text(1))
		// A worker may ask in reply: it is no reason to lose the rest.
		if len(closed) < 50 {
			_ = l.try(workerCommand(workerUniqIDCount, nil))
		}
	}
	if slices.Sort(closed); !slices.Equal(closed, ids) {
		t.Errorf("the closes are not those of the clients")
	}
	all.Wait()
	l.wantEnd()
	idle.wantEnd()
	p.wantExit(0) // with --drain it might take minutes
}

// Customers that do not answer, and a worker that is slow to read: the closes still come, in time.
func TestNetsvrShutdownStubborn(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--open-worker", "1", "--close-worker", "1")
	conn := p.workerConn(t)
	_, _ = conn.Write(workerCommand(workerRegister, workerRegistration(1, 0, 0)))
	if a, err := workerReadFrame(conn); err != nil || a.fields.num(1) != 0 {
		t.Fatal(a, err)
	}
	for range 50 {
		p.netsvrOpen(t, "/netsvr") // reads nothing from now on
	}
	p.signal(syscall.SIGTERM)
	time.Sleep(time.Second)
	counts := make(map[uint32]int)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for {
		a, err := workerReadFrame(conn)
		if err != nil {
			if !over(err) {
				t.Errorf("the link ended with %v", err)
			}
			break
		}
		counts[a.cmd]++
	}
	conn.Close()
	if counts[workerConnOpen] != 50 || counts[workerConnClose] != 50 {
		t.Errorf("events %v", counts)
	}
	p.wantExit(0)
}

// With a short --drain nobody who takes his time costs the workers their last messages. It is as
// long as a machine may stand still, and a little more.
func TestNetsvrShutdownShort(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--open-worker", "1", "--close-worker", "1", "--drain", "3s")
	l := p.workerFor(t, 1)
	for range 50 {
		p.netsvrOpen(t, "/netsvr")
		l.event(workerConnOpen)
	}
	p.signal(syscall.SIGTERM)
	for range 50 {
		l.event(workerConnClose)
	}
	l.wantEnd()
	p.wantExit(0, 1) // some customers had to be cut off
}

// Closes that were to come later are no reason to stay.
func TestNetsvrShutdownPending(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	c, id := s.open()
	s.l.send(workerForceOffline, workerWith([]string{id}, "bye"))
	s.l.send(workerForceOfflineGuest, workerMsg(nil).text(1, id).num(2, 1<<31-1))
	c.wantText("bye")
	s.p.signal(syscall.SIGTERM)
	c.next(patience)
	c.conn.Close()
	s.l.wantClosed(id, "")
	s.l.wantEnd()
	s.p.wantExit(0)
}

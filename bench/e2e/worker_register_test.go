package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func workerRegistration(workerID, goroutines, serverID int64) workerMsg {
	return workerMsg(nil).num(1, workerID).num(2, goroutines).num(3, serverID)
}

// Refusals come in the order of the checks, and leave the link as it was.
func TestWorkerRegister(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--server-id", "42")
	l := p.workerLink(t)
	refused := func(m workerMsg, code int64, message string) {
		t.Helper()
		if got := l.ask(workerRegister, m); got.num(1) != code || got.text(2) != message || got.text(3) != "" {
			t.Errorf("%x: %d %q %q, want %d %q", []byte(m), got.num(1), got.text(2), got.text(3), code, message)
		}
	}
	for round := range 2 {
		refused(append(workerRegistration(0, 0, 0), 0x80), 1, "UnmarshalError")
		for _, id := range []int64{0, 1000, -1, 1 << 30, -1 << 31} {
			refused(workerRegistration(id, 0, 41), 2, "WorkerIdOverflow")
			refused(workerRegistration(id, 0, 42), 2, "WorkerIdOverflow")
		}
		for _, server := range []int64{0, 41, 42 + 256, 1<<32 - 1} {
			refused(workerRegistration(1, 0, server), 3, "ServerIdInconsistent")
		}
		if round == 0 {
			l.sync()
			// A number of goroutines that would be absurd does no harm.
			l.wantRegistered(workerRegistration(999, 1<<32-1, 42))
		}
		refused(workerRegistration(1, 0, 42), 4, "DuplicateRegister")
		if round == 0 {
			continue
		}
		refused(workerRegistration(999, 0, 42), 4, "DuplicateRegister")
	}
	c := p.netsvrOpen(t, "/netsvr")
	c.say("999x")
	l.wantTransfer("x")
	c.say("001nobody")
	c.say("999y")
	l.wantTransfer("y")
	// The answers carry the server's id.
	for _, cmd := range []uint32{workerUniqIDList, workerUniqIDCount, workerTopicCount, workerTopicList, workerMetrics, workerLimit,
		workerTopicUniqIDCount, workerTopicUniqIDList} {
		if got := l.ask(cmd, nil).num(1); got != 42 {
			t.Errorf("%d: server id %d, want 42", cmd, got)
		}
	}
}

// Frames for an id go round over its links; Unregister takes exactly one away.
func TestWorkerUnregister(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	links := []*workerLink{p.workerLink(t), p.workerLink(t), p.workerLink(t)}
	ids := make([]string, len(links))
	for i, l := range links {
		ids[i] = l.register(8)
		if slices.Contains(ids[:i], ids[i]) {
			t.Fatalf("registerIds %q", ids[:i+1])
		}
	}
	pool := p.workerLink(t) // never registers
	c := p.netsvrOpen(t, "/netsvr")
	spread := func(want ...int) {
		t.Helper()
		for i := range 60 {
			c.say(fmt.Sprint("008", i))
		}
		c.wantAlive() // all are in the queues of their links, and answers come behind them
		var got []int
		for _, l := range links {
			l.sync()
			n := 0
			for ; ; n++ {
				if _, ok := l.take(&l.events, 0); !ok {
					break
				}
			}
			got = append(got, n)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("messages went %v, want %v", got, want)
		}
	}
	gone := func(from *workerLink, m workerMsg) {
		t.Helper()
		if got := from.ask(workerUnregister, m); len(got) != 0 {
			t.Errorf("the answer to Unregister has fields: %v", got)
		}
	}
	pair := func(id int64, register string) workerMsg { return workerMsg(nil).num(1, id).text(2, register) }
	spread(20, 20, 20)
	for _, nothing := range []workerMsg{nil, pair(8, ""), pair(7, ids[0]), pair(0, ids[0]), pair(1000, ids[0]), pair(-1, ids[0]), pair(8, ids[0]+"x")} {
		gone(pool, nothing)
	}
	spread(20, 20, 20)
	gone(pool, pair(8, ids[1]))
	spread(30, 0, 30)
	gone(pool, pair(8, ids[1])) // once more
	gone(links[0], pair(8, ids[0]))
	spread(0, 0, 60)
	// Those that are gone keep their access to commands, but cannot come back.
	for _, l := range links[:2] {
		l.sync()
		if got := l.ask(workerRegister, workerRegistration(8, 0, 0)); got.num(1) != 4 {
			t.Errorf("registered again: %d %q", got.num(1), got.text(2))
		}
	}
	gone(links[2], pair(8, ids[2]))
	spread(0, 0, 0)
	links[0].send(workerBroadcast, workerMsg(nil).text(1, "still there"))
	c.wantText("still there")
	p.workerFor(t, 8)
	spread(0, 0, 0)
}

// The answer to Register comes before anything that the registration brings.
func TestWorkerRegisterAnswerFirst(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	c := p.netsvrOpen(t, "/netsvr")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
				if _, err := c.conn.Write(netsvrFrame(0x80|netsvrText, []byte("003x"))); err != nil {
					return
				}
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	for i := range 200 {
		conn := p.workerConn(t)
		if _, err := conn.Write(workerCommand(workerRegister, workerRegistration(3, 0, 0))); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		first, err := workerReadFrame(conn)
		if err != nil || first.cmd != workerRegister {
			t.Fatalf("link %d: first came %d, %v", i, first.cmd, err)
		}
		if second, err := workerReadFrame(conn); err != nil || second.cmd != workerTransfer {
			t.Fatalf("link %d: second came %d, %v", i, second.cmd, err)
		}
		conn.Close()
	}
	close(stop)
	<-done
}

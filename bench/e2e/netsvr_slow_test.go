package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A netsvrProbe goes round between a customer and its worker all the time and keeps the longest
// time it took.
type netsvrProbe struct {
	stop chan struct{}
	done chan struct{}
	took time.Duration
	n    int
}

func (p *process) netsvrProbe(t *testing.T, l *workerLink, id int) *netsvrProbe {
	t.Helper()
	c, uniqID := p.netsvrKnown(t, l, id)
	probe := &netsvrProbe{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(probe.done)
		for ; ; probe.n++ {
			select {
			case <-probe.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			start := time.Now()
			text := fmt.Sprint("probe ", probe.n)
			_ = c.conn.SetWriteDeadline(start.Add(patience))
			if _, err := c.conn.Write(netsvrFrame(0x80|netsvrText, fmt.Appendf(nil, "%03d%s", id, text))); err != nil {
				t.Errorf("probe: %v", err)
				return
			}
			if a, ok := l.take(&l.events, patience); !ok || a.fields.text(3) != text {
				t.Errorf("probe %d: got %d %q", probe.n, a.cmd, a.body)
				return
			}
			if err := l.try(workerCommand(workerSingleCast, workerCast(uniqID, text))); err != nil {
				t.Errorf("probe: %v", err)
				return
			}
			if _, got, err := c.next(patience); err != nil || string(got) != text {
				t.Errorf("probe %d: got %.50q, %v", probe.n, got, err)
				return
			}
			probe.took = max(probe.took, time.Since(start))
		}
	}()
	return probe
}

// check ends the probe. It must have gone round at any time: none of its steps may have taken longer
// than patience, which is less than what the gateway gives those who stall.
func (probe *netsvrProbe) check(t *testing.T) {
	t.Helper()
	close(probe.stop)
	<-probe.done
	t.Logf("%d round trips, the longest took %v", probe.n, probe.took)
	if probe.took > patience || probe.n == 0 {
		t.Errorf("%d round trips, the longest took %v", probe.n, probe.took)
	}
}

// A worker that does not read is nobody's business but its own clients'.
func TestNetsvrStalledWorker(t *testing.T) {
	p := startNetsvr(t, "--worker-write-timeout", "3m")
	p.workerStalled(t)
	healthy := p.workerFor(t, 2)
	probe := p.netsvrProbe(t, healthy, 2)
	c := p.netsvrOpen(t, "/netsvr")
	c.sayTooMuch()
	c.wantAlive()
	// It asks without reading the answers: that is its own problem, too.
	topics := p.workerLink(t)
	_, id := p.netsvrKnown(t, p.workerFor(t, 3), 3)
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprint(i, strings.Repeat("n", 100)))
	}
	topics.send(workerTopicSubscribe, workerMsg(nil).text(1, id).text(2, names...))
	topics.wantTopics(slices.Sorted(slices.Values(names))...)
	asking := p.workerConn(t)
	_ = asking.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	for err := error(nil); err == nil; { // 100 kB each, until the gateway does not listen any more
		_, err = asking.Write(workerCommand(workerTopicList, nil))
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("asking: %v", err)
		}
	}
	probe.check(t)
	p.wantPeakBelow(200 << 20)
}

// workerStalled is a worker that has registered for messages under id 1 and reads nothing.
func (p *process) workerStalled(t *testing.T) {
	t.Helper()
	conn := p.workerConn(t)
	if _, err := conn.Write(workerCommand(workerRegister, workerRegistration(1, 0, 0))); err != nil {
		t.Fatal(err)
	}
	if a, err := workerReadFrame(conn); err != nil || a.fields.num(1) != 0 {
		t.Fatal(a, err)
	}
}

// sayTooMuch sends worker 1 more than its queue, of 16 MiB, and the sockets hold.
func (c *netsvrCustomer) sayTooMuch() {
	c.tb.Helper()
	message := netsvrFrame(0x80|netsvrText, []byte("001"+strings.Repeat("x", 32<<10)))
	for range (40 << 20) / len(message) {
		c.write(message)
	}
}

// The link of a worker that does not read ends for want of progress, and another one takes over.
func TestNetsvrStalledWorkerEnds(t *testing.T) {
	p := startNetsvr(t, "--worker-write-timeout", "2s")
	p.workerStalled(t)
	c := p.netsvrOpen(t, "/netsvr")
	c.sayTooMuch()
	time.Sleep(2500 * time.Millisecond)
	again := p.workerFor(t, 1)
	p.await(func() bool {
		c.say("001again")
		_, ok := again.take(&again.events, 50*time.Millisecond)
		return ok
	}, "messages to reach the other worker")
	c.wantAlive()
}

// A customer that does not read is closed, and nobody else has to wait for it.
func TestNetsvrStalledCustomer(t *testing.T) {
	for _, how := range []string{"cast", "publish", "broadcast"} {
		t.Run(how, func(t *testing.T) {
			s := startScene(t, "--lag", "1MiB")
			l := s.l
			stalled, idStalled := s.open()
			g, idG := s.gosoc()
			s.subscribe(idStalled, "t")
			s.subscribe(idG, "t")
			var readers sync.WaitGroup
			// Readers are slow consumers themselves when the machine stands still: never are more
			// messages on their way to one than its limit, of 1 MiB, can take.
			const n, size, ahead = 400, 32 << 10, 16 // 12.5 MB
			var room [4]chan struct{}
			for i := range room {
				c, id := s.open()
				s.subscribe(id, "t")
				room[i] = make(chan struct{}, n+ahead)
				for range ahead {
					room[i] <- struct{}{}
				}
				readers.Go(func() {
					defer close(room[i])
					r := bufio.NewReaderSize(c.conn, 64<<10)
					for got := range n {
						_ = c.conn.SetReadDeadline(time.Now().Add(patience))
						_, payload, err := netsvrReadFrame(r)
						if err != nil || len(payload) != size || !strings.HasPrefix(string(payload[:10]), fmt.Sprintf("%06d", got)) {
							t.Errorf("reader %d, message %d: %d bytes, %v", i, got, len(payload), err)
							return
						}
						room[i] <- struct{}{}
					}
				})
				if how == "cast" {
					l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, fmt.Sprint("reader", i)))
				}
			}
			ends := s.p.workerFor(t, 2)
			var probe *netsvrProbe
			if how != "broadcast" { // that reaches the probe, too
				probe = s.p.netsvrProbe(t, ends, 2)
				l.event(workerConnOpen)
			}
			for i := range n {
				for _, r := range room {
					<-r
				}
				data := fmt.Sprintf("%06d%s", i, strings.Repeat("x", size-6))
				switch how {
				case "cast":
					l.send(workerMulticast, workerWith([]string{idStalled, idG, "reader0", "reader1", "reader2", "reader3"}, data))
				case "publish":
					l.send(workerTopicPublish, workerCast("t", data))
				case "broadcast":
					l.send(workerBroadcast, workerMsg(nil).text(1, data))
				}
			}
			l.sync()
			readers.Wait()
			if probe != nil {
				probe.check(t)
			}
			closed := map[string]bool{l.event(workerConnClose).text(1): true, l.event(workerConnClose).text(1): true}
			if !closed[idStalled] || !closed[idG] {
				t.Errorf("closed: %v, want %s and %s", closed, idStalled, idG)
			}
			l.wantNoEvent(10 * time.Millisecond) // and no reader
			l.wantUnknown(idStalled, idG)
			s.p.wantPeakBelow(250 << 20)
			stalled.hangUp()
			g.hangUp()
		})
	}
}

package worker

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// A gateway that does not read makes callers wait; what they hold is bounded, and nothing is lost
// when it reads again.
func TestOutboxFull(t *testing.T) {
	const outbox, size = 64 << 10, 1000
	bubble(t, Config{Outbox: outbox}, nil, func(t *testing.T, w *running, l *fakeLink) {
		l.stopReading(t, w)
		sent := 0
		var err error
		for err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err = w.SingleCast(ctx, "u", make([]byte, size)); err == nil {
				sent++
			}
			cancel()
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("full outbox: %v", err)
		}
		if bytes := sent * size; bytes < outbox-2*size || bytes > outbox {
			t.Errorf("%d bytes were taken, want about %d", bytes, outbox)
		}
		waited := make(chan error)
		for range 20 {
			go func() { waited <- w.SingleCast(t.Context(), "v", []byte("x")) }()
		}
		synctest.Wait()
		l.resume()
		for range 20 {
			if err := <-waited; err != nil {
				t.Errorf("waited for room: %v", err)
			}
			sent++
		}
		synctest.Wait()
		if n := len(l.inbox) - 1; n != sent { // one command went ahead
			t.Errorf("%d arrived, want %d", n, sent)
		}
	})
}

// stopReading has the fake read one more command, and nothing until it is resumed.
func (l *fakeLink) stopReading(t *testing.T, w *running) {
	t.Helper()
	synctest.Wait()
	l.pause()
	if err := w.SingleCast(t.Context(), "u", []byte("x")); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// Callers that wait for room hear of the end of the link.
func TestOutboxLost(t *testing.T) {
	bubble(t, Config{Outbox: 1024}, nil, func(t *testing.T, w *running, l *fakeLink) {
		l.stopReading(t, w)
		failed := make(chan error)
		go func() {
			for {
				if err := w.SingleCast(t.Context(), "u", make([]byte, 100)); err != nil {
					failed <- err
					return
				}
			}
		}()
		synctest.Wait()
		l.nc.Close()
		if err := <-failed; !errors.Is(err, ErrLinkLost) {
			t.Errorf("got %v", err)
		}
		l.resume()
	})
}

// A gateway that takes nothing at all is given up; one that takes a little at a time is not.
func TestWriteTimeout(t *testing.T) {
	for _, slow := range []bool{true, false} {
		config := Config{WriteTimeout: time.Second, Heartbeat: time.Hour}
		bubble(t, config, nil, func(t *testing.T, w *running, l *fakeLink) {
			l.stopReading(t, w)
			if err := w.SingleCast(t.Context(), "u", make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if slow {
				b := make([]byte, 3)
				for range 30 {
					if _, err := l.nc.Read(b); err != nil {
						t.Fatalf("slow gateway: %v", err)
					}
					time.Sleep(900 * time.Millisecond)
				}
			}
			time.Sleep(50 * time.Millisecond)
			if up := w.Gateways()[0].Connected(); !up {
				t.Errorf("slow=%v: gave up too early", slow)
			}
			if !slow {
				time.Sleep(960 * time.Millisecond)
				if w.Stats().Lost != 1 {
					t.Error("a gateway that reads nothing is kept")
				}
			}
			l.nc.Close()
			l.resume()
			time.Sleep(time.Second)
			w.ready()
		})
	}
}

// Handlers that are slow make the reader stop, so that TCP slows the gateway down.
func TestInboxFull(t *testing.T) {
	const inbox, size = 64 << 10, 1000
	release := make(chan struct{})
	var handled atomic.Int32
	setup := func(w *Worker) {
		w.OnMessage(func(context.Context, *Message) {
			<-release
			handled.Add(1)
		})
	}
	faketime.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		g := newFake(t)
		w := run(t, Config{Dial: g.dial, Inbox: inbox}, setup)
		w.ready()
		l := <-g.links
		var written atomic.Int32
		const all = 500
		go func() {
			for range all {
				l.send(netsvr.CmdTransfer, &netsvrpb.Transfer{UniqId: "u", Data: make([]byte, size)})
				written.Add(1)
			}
		}()
		synctest.Wait()
		limit := inbox/(size+eventCost) + readBuffer/size + 2
		if n := int(written.Load()); n > limit || n < inbox/(size+eventCost)-2 {
			t.Errorf("%d messages were read ahead, want at most %d", n, limit)
		}
		close(release)
		synctest.Wait()
		if n := handled.Load(); n != all {
			t.Errorf("%d handled, want %d", n, all)
		}
		w.halt()
	})
}

// A handler for which the inbox is full may ask the gateway: its answer stands behind messages
// that the reader would otherwise not read before the handler is done.
func TestQueryBehindFullInbox(t *testing.T) {
	start := make(chan struct{})
	asked := make(chan error, 1000)
	setup := func(w *Worker) {
		w.OnMessage(func(ctx context.Context, m *Message) {
			<-start
			_, err := w.UniqIDCount(ctx)
			asked <- err
		})
	}
	faketime.Test(t, func(t *testing.T) {
		start, asked = make(chan struct{}), make(chan error, 1000)
		g := newFake(t)
		w := run(t, Config{Dial: g.dial, Inbox: 16 << 10, Concurrency: 2}, setup)
		w.ready()
		l := <-g.links
		// All this was written before the gateway saw the question.
		const all = 80
		go func() {
			for range all {
				l.send(netsvr.CmdTransfer, &netsvrpb.Transfer{UniqId: "u", Data: make([]byte, 100)})
			}
		}()
		synctest.Wait()
		begin := time.Now()
		close(start)
		for range all {
			select {
			case err := <-asked:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("handlers have stopped")
			}
		}
		if d := time.Since(begin); d > 0 {
			t.Errorf("took %v: somebody ran into a time-out", d)
		}
		w.halt()
	})
}

// countingConn counts writes.
type countingConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// What gathers during one write goes out with the next.
func TestBatching(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		var nc *countingConn
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := g.dial(ctx, network, addr)
			nc = &countingConn{Conn: c}
			return nc, err
		}
		w := run(t, Config{Dial: dial}, nil)
		w.ready()
		l := <-g.links
		l.stopReading(t, w)
		nc.writes.Store(0)
		const all = 1000
		for range all {
			if err := w.SingleCast(t.Context(), "u", []byte("x")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		l.resume()
		synctest.Wait()
		if n := nc.writes.Load(); n != 2 {
			t.Errorf("%d writes, want 2", n)
		}
		if n := len(l.inbox); n != all+1 {
			t.Errorf("%d commands arrived, want %d", n, all+1)
		}
		w.halt()
	})
}

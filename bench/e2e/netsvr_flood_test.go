package e2e

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A netsvrStream is a subscriber for a test that is about speed: it knows how every push begins, and
// checks the numbers in them, which must follow one another.
type netsvrStream struct {
	conn   net.Conn
	rest   []byte // read together with the handshake
	prefix []byte // of each push, before its payload of 100 bytes
}

// read counts pushes until the number last has come.
func (s *netsvrStream) read(last int) error {
	const payload = 100
	size := len(s.prefix) + payload
	buf := make([]byte, 0, 64<<10)
	buf = append(buf, s.rest...)
	for next := 0; ; {
		for len(buf) >= size {
			if !bytes.HasPrefix(buf, s.prefix) {
				return fmt.Errorf("push %d begins with %x, want %x", next, buf[:len(s.prefix)], s.prefix)
			}
			n, err := strconv.Atoi(string(buf[len(s.prefix):][:10]))
			if err != nil {
				return err
			}
			if n == last {
				if len(buf) > size {
					return fmt.Errorf("%d bytes behind the last push", len(buf)-size)
				}
				return nil
			}
			if n != next {
				return fmt.Errorf("push %d, want %d", n, next)
			}
			next++
			buf = buf[size:]
		}
		if cap(buf)-len(buf) < size {
			buf = append(make([]byte, 0, 64<<10), buf...)
		}
		runtime.Gosched() // or who has much to read lets the others starve
		_ = s.conn.SetReadDeadline(time.Now().Add(2 * patience))
		n, err := s.conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return fmt.Errorf("waiting for push %d: %w", next, err)
		}
	}
}

// One link publishes as fast as it can to 200 GOSOC and 200 WebSocket subscribers: it is slowed down
// by TCP, and everybody gets everything once and in order.
func TestNetsvrFlood(t *testing.T) {
	const each, last = 200, 9_999_999_999
	s := startScene(t)
	var streams []*netsvrStream
	var ids []string
	payload := func(n int) string { return fmt.Sprintf("%010d%s", n, strings.Repeat(".", 90)) }
	for i := range each {
		c, id := s.open()
		ids = append(ids, id)
		streams = append(streams, &netsvrStream{conn: c.conn, prefix: []byte{0x81, 100}})
		m := plainModes[i%2]
		g := s.p.login(t, m, "")
		ids = append(ids, s.l.event(workerConnOpen).text(1))
		push := m.sendReq(0, 0, "push", []byte(payload(0)))
		streams = append(streams, &netsvrStream{conn: g.conn, prefix: push[:len(push)-100]})
		for _, r := range []interface{ Buffered() int }{c.r, g.r} {
			if r.Buffered() > 0 {
				t.Fatal("something came before the first publish")
			}
		}
	}
	for _, id := range ids {
		s.l.send(workerTopicSubscribe, workerMsg(nil).text(1, id).text(2, "flood"))
	}
	s.l.sync()
	var readers sync.WaitGroup
	for i, stream := range streams {
		readers.Go(func() {
			if err := stream.read(last); err != nil {
				t.Errorf("subscriber %d: %v", i, err)
			}
		})
	}
	start, n := time.Now(), 0
	var batch []byte
	for time.Since(start) < 3*time.Second {
		batch = batch[:0]
		for range 50 {
			batch = append(batch, workerCommand(workerTopicPublish, workerCast("flood", payload(n)))...)
			n++
		}
		_ = s.l.conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err := s.l.conn.Write(batch); err != nil {
			t.Fatalf("publish %d: %v", n, err)
		}
	}
	s.l.send(workerTopicPublish, workerCast("flood", payload(last)))
	s.l.sync()
	published := time.Since(start)
	readers.Wait()
	t.Logf("%d publishes in %v, %.1f million deliveries, all there after %v", n, published, float64(n)*2*each/1e6, time.Since(start))
	if got := s.l.ask(workerUniqIDCount, nil).num(2); got != 2*each {
		t.Errorf("%d clients are left of %d", got, 2*each)
	}
	s.p.wantPeakBelow(400 << 20)
	if a, ok := s.l.take(&s.l.events, 0); ok {
		t.Errorf("got %d %q", a.cmd, a.body)
	}
	if t.Failed() {
		t.Logf("the gateway says:\n%s", tail(s.p.stderr.String()))
	}
	if n < 1000 {
		t.Errorf("only %d publishes", n)
	}
}

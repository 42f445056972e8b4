package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The fan-out of TestFanOut.
const (
	fanTopic      = "fan"
	fanPublishers = 2
	fanPadding    = 2500 // bytes of each message: enough to fill up who does not read
	fanStalled    = 20
	fanLeast      = 45 // messages of each publisher
	// fanAhead is how many messages a publisher may be ahead of the slowest of the steady: a machine
	// that stands still is not to make one of those a slow consumer.
	fanAhead = 8
)

// A fanPace tells publishers how far their messages have come.
type fanPace struct {
	everybody int32
	heard     [fanPublishers][1000]atomic.Int32 // by how many of the steady, by message
}

// wait waits until message n of a publisher may be sent.
func (f *fanPace) wait(from, n int) error {
	if n <= fanAhead {
		return nil
	}
	for deadline := time.Now().Add(patience); f.heard[from][n-fanAhead].Load() < f.everybody; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("message %d was heard by %d of %d", n-fanAhead, f.heard[from][n-fanAhead].Load(), f.everybody)
		}
	}
	return nil
}

// A fanSubscriber checks that it gets each publisher's messages once and in order, from some
// message on without a gap.
type fanSubscriber struct {
	client *client
	first  [fanPublishers]int
	next   [fanPublishers]int // 0: none yet; messages are counted from 1
	total  int
	pace   *fanPace // of the steady
}

// fanMode makes few of the many take gzip: undoing it is most of what the test would do.
func fanMode(i int) mode {
	if i%20 == 0 {
		return modes[1+i%40/10]
	}
	return plainModes[i%2]
}

// hear takes one push.
func (s *fanSubscriber) hear(p packet) error {
	msg, err := s.client.mode.message(p)
	if err != nil || p.typ != sendReq || msg.route != "push" {
		return fmt.Errorf("got %v, %v", p, err)
	}
	var from, n int
	if _, err := fmt.Sscanf(msg.payload[:min(40, len(msg.payload))], `[%d,%d,`, &from, &n); err != nil || from < 0 || from >= fanPublishers {
		return fmt.Errorf("push %.40q: %w", msg.payload, err)
	}
	if len(msg.payload) < fanPadding {
		return fmt.Errorf("a push of %d bytes", len(msg.payload))
	}
	if s.next[from] == 0 {
		s.first[from] = n
	} else if s.next[from] != n {
		return fmt.Errorf("message %d of publisher %d, want %d", n, from, s.next[from])
	}
	s.next[from] = n + 1
	s.total++
	if s.pace != nil {
		s.pace.heard[from][n].Add(1)
	}
	return nil
}

// join connects and subscribes. Nothing else has come when it returns, but perhaps pushes.
func (p *process) join(tb testing.TB, m mode, d *net.Dialer) (*fanSubscriber, error) {
	c, err := p.openWith(tb, d, m)
	if err != nil {
		return nil, err
	}
	s := &fanSubscriber{client: c}
	b := append(m.connect(0, ""), m.ask(1, "sluice.Subscribe", `{"topics":["`+fanTopic+`"]}`)...)
	if err := c.send(b); err != nil {
		return nil, err
	}
	if ack, err := c.next(); err != nil || ack.typ != connAck || ack.body[1] != accepted {
		return nil, fmt.Errorf("login: %v, %w", ack, err)
	}
	for {
		got, err := c.next()
		if err != nil {
			return nil, err
		}
		if got.typ == sendResp {
			return s, nil
		}
		if err := s.hear(got); err != nil {
			return nil, err
		}
	}
}

// listen hears pushes until the answer to a ping, a close that was asked for, or an error.
func (s *fanSubscriber) listen(left *atomic.Bool) error {
	_ = s.client.conn.SetReadDeadline(time.Now().Add(10 * patience))
	for {
		got, err := s.client.mode.read(s.client.r)
		switch {
		case err != nil && left.Load() && (errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)):
			return nil
		case err != nil:
			return err
		case got.typ == pingResp:
			return nil
		}
		if err := s.hear(got); err != nil {
			return err
		}
	}
}

// stalledDialer makes sockets that take little, so that who does not read is full soon.
var stalledDialer = &net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
	var err error
	return errors.Join(raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
	}), err)
}}

// Thousands listen to one topic, one in a hundred comes and goes every second, and twenty stop
// reading: those are closed, and nobody else notices.
func TestFanOut(t *testing.T) {
	subscribers, seconds, pause := 3000, 3, 60*time.Millisecond
	if raceDetector || slowBuild {
		subscribers = 1500
	}
	p := startDev(t, "--backlog", "64KiB", "--lag", "64KiB", "--send-buffer", "16KiB")
	last := time.Now()
	phase := func(name string) {
		t.Logf("%s took %v", name, time.Since(last).Round(time.Millisecond))
		last = time.Now()
	}
	dialer := &net.Dialer{Timeout: patience}
	failed := make(chan error, 3*subscribers)
	var stay atomic.Bool // never set: the steady ones do not leave
	var wg sync.WaitGroup

	steady := make([]*fanSubscriber, subscribers)
	joinAll(t, p, steady, func(i int) (mode, *net.Dialer) { return fanMode(i), dialer })
	pace := &fanPace{everybody: int32(subscribers)}
	for i, s := range steady {
		s.pace = pace
		wg.Go(func() {
			if err := s.listen(&stay); err != nil {
				failed <- fmt.Errorf("subscriber %d (%v): %w", i, s.client.mode, err)
			}
		})
	}
	stalled := make([]*fanSubscriber, fanStalled)
	joinAll(t, p, stalled, func(i int) (mode, *net.Dialer) { return modes[i%2*2], stalledDialer }) // plain: gzip would shrink it

	phase("joining")

	// Publishers go on until the time is up, at their pace, each waiting for its replies.
	var counts [fanPublishers]int
	var publishing sync.WaitGroup
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	padding := strings.Repeat("p", fanPadding)
	for from := range counts {
		c := p.login(t, modes[from%4], "")
		publishing.Go(func() {
			// On a slow machine, too, so many that they fill up who does not read.
			for time.Now().Before(end) || counts[from] < fanLeast {
				time.Sleep(pause)
				n := counts[from] + 1
				if err := pace.wait(from, n); err != nil {
					failed <- fmt.Errorf("publisher %d: %w", from, err)
					return
				}
				counts[from] = n
				if err := c.publishOnce(uint16(n), fmt.Sprintf(`[%d,%d,"%s"]`, from, n, padding)); err != nil {
					failed <- fmt.Errorf("publisher %d: %w", from, err)
					return
				}
			}
			// The reply may overtake what is on its way to another loop, and so may a ping's.
			if err := pace.wait(from, counts[from]+fanAhead); err != nil {
				failed <- fmt.Errorf("publisher %d: %w", from, err)
			}
		})
	}
	// Those who come and go: each stays for about a second.
	visits := subscribers / 100 * seconds
	var visitors sync.WaitGroup
	var heard atomic.Int64
	for i := range visits {
		time.Sleep(time.Until(end.Add(-time.Duration(seconds) * time.Second * time.Duration(visits-i) / time.Duration(visits))))
		visitors.Go(func() {
			s, err := p.join(t, fanMode(i), dialer)
			if err != nil {
				failed <- fmt.Errorf("visitor %d: %w", i, err)
				return
			}
			var left atomic.Bool
			time.AfterFunc(time.Second, func() {
				left.Store(true)
				if i%2 == 0 {
					s.client.reset()
				} else {
					_ = s.client.conn.Close()
				}
			})
			if err := s.listen(&left); err != nil {
				failed <- fmt.Errorf("visitor %d: %w", i, err)
			}
			heard.Add(int64(s.total))
		})
	}
	publishing.Wait()
	visitors.Wait()
	phase("publishing")
	// A ping's answer ends the listening, behind what everybody has heard.
	for _, s := range steady {
		if err := s.client.send(s.client.mode.ping()); err != nil {
			failed <- err
		}
	}
	wg.Wait()
	phase("catching up")
	close(failed)
	shown := 0
	for err := range failed {
		if shown++; shown <= 10 {
			t.Error(err)
		}
	}
	if shown > 10 {
		t.Errorf("and %d more", shown-10)
	}
	for i, s := range steady {
		for from, n := range counts {
			if s.first[from] != 1 || s.next[from] != n+1 {
				t.Fatalf("subscriber %d heard %d to %d of publisher %d, want 1 to %d", i, s.first[from], s.next[from]-1, from, n)
			}
		}
	}
	for i, s := range stalled {
		if err := s.drain(); err != nil {
			t.Errorf("stalled subscriber %d: %v", i, err)
		}
	}
	phase("reading what the stalled were left")
	t.Logf("%d messages to %d subscribers, %d visitors heard %d", counts[0]+counts[1], subscribers, visits, heard.Load())
	if heard.Load() == 0 {
		t.Error("the visitors heard nothing")
	}
	for _, s := range steady {
		s.client.reset()
	}
}

// joinAll joins a few at a time.
func joinAll(t *testing.T, p *process, all []*fanSubscriber, how func(int) (mode, *net.Dialer)) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make(chan error, len(all))
	const lanes = 16
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < len(all); i += lanes {
				m, d := how(i)
				s, err := p.join(t, m, d)
				if err != nil {
					errs <- fmt.Errorf("subscriber %d: %w", i, err)
					return
				}
				all[i] = s
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
}

// publishOnce publishes data to the topic and waits for the reply.
func (c *client) publishOnce(id uint16, data string) error {
	if err := c.send(c.mode.ask(id, "sluice.Publish", publish(fanTopic, data))); err != nil {
		return err
	}
	got, err := c.next()
	if err != nil {
		return err
	}
	if msg, err := c.mode.message(got); err != nil || msg.id != id || msg.payload != okReply {
		return fmt.Errorf("%v, %w", got, err)
	}
	return nil
}

// drain reads what a closed connection has left: whole messages in order, the last one may be cut.
func (s *fanSubscriber) drain() error {
	for {
		got, err := s.client.next()
		switch {
		case err == nil:
			if err := s.hear(got); err != nil {
				return err
			}
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
			return nil
		default:
			return fmt.Errorf("it was not closed: %w", err)
		}
	}
}

// One publisher, as fast as it can, does not lose who reads.
func TestFloodOfPublishes(t *testing.T) {
	subscribers, count := 50, 20_000
	if raceDetector {
		subscribers, count = 20, 5000
	}
	p := startDev(t)
	all := make([]*fanSubscriber, subscribers)
	joinAll(t, p, all, func(i int) (mode, *net.Dialer) { return plainModes[i%2], &net.Dialer{Timeout: patience} })
	publisher := p.login(t, modes[0], "")
	go func() {
		var b []byte
		for i := range count {
			b = append(b, publisher.mode.sendReq(0, 0, "sluice.Publish", []byte(publish(fanTopic, fmt.Sprint(i))))...)
			if len(b) > 32<<10 || i == count-1 {
				if publisher.send(b) != nil {
					return
				}
				b = b[:0]
			}
		}
	}()
	errs := make(chan error, subscribers)
	for _, s := range all {
		go func() {
			for i := range count {
				got, err := s.client.next()
				if err != nil {
					errs <- fmt.Errorf("message %d: %w", i, err)
					return
				}
				if msg, err := s.client.mode.message(got); err != nil || msg.payload != fmt.Sprint(i) {
					errs <- fmt.Errorf("message %d is %q, %v", i, msg.payload, err)
					return
				}
			}
			errs <- nil
		}()
	}
	for range all {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// unread asks for count echoes of size bytes each and reads none of them. The gateway may stop
// reading, so it does not insist; what it could not send is the error's business.
func (c *client) unread(count, size int, patience time.Duration) error {
	var b []byte
	for i := range count {
		b = append(b, c.mode.ask(uint16(i), "sluice.Echo", quoted(i, size))...)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(b)
	return err
}

// stalledEchoes is clients that ask for echoes and read nothing, once all have asked.
func (p *process) stalledEchoes(tb testing.TB, clients, count, size int, patience time.Duration) []*client {
	tb.Helper()
	all := make([]*client, clients)
	for i := range all {
		all[i] = p.loginWith(tb, smallReceiver(4<<10), modes[0], "")
	}
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { _ = c.unread(count, size, patience) })
	}
	wg.Wait()
	return all
}

// Replies that their clients do not read cost publishers and their subscribers nothing.
func TestPressureUnreadEchoes(t *testing.T) {
	x := startPressure(t)
	clients, lasts := pick(x, 250, 60), pick(x, 8*time.Second, 1200*time.Millisecond)
	p := startDev(x)
	var pairs []*trip
	for i := range 4 {
		pairs = append(pairs, p.trip(x, fmt.Sprint("t", i)))
	}
	p.trips(x, pairs, lasts/4)
	quick, median, n := p.trips(x, pairs, lasts)
	empty := p.memory()
	p.stalledEchoes(x, clients, 8, 200<<10, pick(x, 5*time.Second, 1500*time.Millisecond))
	slow, median2, n2 := p.trips(x, pairs, lasts)
	x.holdTime(slow <= pick(x, quick*6/5, quick*5+5*time.Millisecond), pick(x, "p99 at most 1.2x", "p99 at most 5x and 5 ms"),
		"publishes p99 %v beside %d stalled clients, %v before: %.2fx; p50 %v and %v; %d and %d of them; closed %v",
		slow.Round(time.Microsecond), clients, quick.Round(time.Microsecond), float64(slow)/float64(max(quick, 1)),
		median2.Round(time.Microsecond), median.Round(time.Microsecond), n2, n, p.closedFor())
	x.explain(empty, p.memory())
}

// Nor do bytes that clients do not read cost a worker that publishes to others.
func TestPressureUnreadWorker(t *testing.T) {
	x := startPressure(t)
	const publishes = 50
	clients := pick(x, 80, 40)
	p := startDev(x)
	sub := p.login(x, modes[0], "")
	sub.subscribe("t")
	link, casts := p.workerLink(x), p.workerLink(x)
	link.sync()
	empty := p.memory()
	for range clients {
		c := p.loginWith(x, smallReceiver(4<<10), modes[0], "")
		id := c.whoami().UniqID
		casts.send(workerSingleCast, workerCast(id, strings.Repeat("s", 128<<10))) // the sockets take it
		casts.send(workerSingleCast, workerCast(id, strings.Repeat("q", 1280<<10)))
	}
	casts.sync()
	time.Sleep(200 * time.Millisecond)
	for round := range pick(x, 3, 2) {
		start := time.Now()
		for i := range publishes {
			link.send(workerTopicPublish, workerCast("t", fmt.Sprint(round, i)))
		}
		for i := range publishes {
			sub.wantPush("push", fmt.Sprint(round, i))
		}
		took := time.Since(start)
		x.holdTime(took < pick(x, 200*time.Millisecond, time.Second), pick(x, "below 0.2 s", "below 1 s"),
			"%d worker publishes, to where they are heard, took %v beside %d stalled clients with 1.25 MiB each; closed %v",
			publishes, took.Round(time.Microsecond), clients, p.closedFor())
		time.Sleep(pick(x, 700*time.Millisecond, 300*time.Millisecond))
	}
	x.explain(empty, p.memory())
}

// What a client asks for behind a request that nobody answers waits where it is counted and bounded.
func TestPressureUnanswered(t *testing.T) {
	x := startPressure(t).together()
	echoes, size := pick(x, 64, 12), 1<<20
	p := startDev(x, "--route", "slow.*=2", "--request-timeout", "3m")
	l := p.workerServer(x, 2)
	c := p.login(x, modes[0], "")
	empty := p.memory()
	c.write(c.mode.ask(1, "slow.Answer", "{}"))
	request := l.event(workerRequest)
	sent := make(chan error, 1)
	go func() {
		for i := range echoes {
			if err := c.send(c.mode.ask(uint16(i+2), "sluice.Echo", quoted(i, size))); err != nil {
				sent <- fmt.Errorf("echo %d: %w", i, err)
				return
			}
		}
		sent <- nil
	}()
	time.Sleep(pick(x, 3*time.Second, time.Second))
	held := p.memory()
	const most = 6 << 20 // twice the backlog, the request that crosses it, and its reply
	x.hold(held.heap-empty.heap <= most, "at most 6 MiB", "heap grew by %.1f MiB with %d echoes of 1 MiB behind an unanswered request",
		(held.heap-empty.heap)/(1<<20), echoes)
	x.explain(empty, held)
	l.reply(request, 0, "at last")
	got := 0
	err := func() error {
		for i := -1; i < echoes; i++ {
			want := "at last"
			if i >= 0 {
				want = echoed(quoted(i, size))
			}
			pk, err := c.next()
			if err != nil {
				return err
			}
			if msg, err := c.mode.message(pk); err != nil || int(msg.id) != i+2 || msg.payload != want {
				return fmt.Errorf("reply %d is %d %.50q, %v", i+2, msg.id, msg.payload, err)
			}
			got++
		}
		return <-sent
	}()
	x.hold(err == nil, "all replies in order", "%d of %d replies, %v; closed %v", got, echoes+1, err, p.closedFor())
}

// A burst is replies that come together, for a client that reads.
type burst struct {
	name  string
	count int
	size  int
	first bool          // the first is answered last, so that the order rule holds back all others
	pause time.Duration // of the reader, behind each MiB
}

// Nobody is closed for replies to its own requests while it goes on reading.
func TestPressureReplyBurst(t *testing.T) {
	for _, b := range []burst{
		{name: "1000 x 15 kB", count: 1000, size: 15_000},
		{name: "300 x 100 kB", count: 300, size: 100_000},
		{name: "1000 x 15 kB released together", count: 1000, size: 15_000, first: true},
		{name: "300 x 100 kB released together", count: 300, size: 100_000, first: true},
		{name: "300 x 100 kB read with pauses", count: 300, size: 100_000, pause: 200 * time.Millisecond},
		{name: "1000 x 15 kB released together, read with pauses", count: 1000, size: 15_000, first: true, pause: 200 * time.Millisecond},
	} {
		t.Run(b.name, func(t *testing.T) { b.run(startPressure(t).together()) })
	}
}

func (b burst) run(x *pressure) {
	if b.pause > 0 && !x.full {
		b.pause /= 4
	}
	p := startDev(x, "--route", "slow.*=2", "--request-timeout", "3m")
	l := p.workerServer(x, 2)
	c := p.loginWith(x, smallReceiver(64<<10), modes[0], "")
	var asked []byte
	for i := range b.count {
		asked = append(asked, c.mode.ask(uint16(i), "slow.Answer", fmt.Sprint(i))...)
	}
	sent := make(chan error, 1)
	go func() { sent <- c.send(asked) }()
	// The worker stands still until no more requests come, then answers all it has, and goes on.
	body := strings.Repeat("r", b.size)
	stop := make(chan struct{})
	var worker sync.WaitGroup
	x.Cleanup(func() {
		select {
		case <-stop:
		default:
			close(stop)
		}
		l.close()
		worker.Wait()
	})
	standing := 0
	worker.Go(func() {
		var waiting []workerFields
		for quiet := false; ; {
			a, ok := l.take(&l.events, 500*time.Millisecond)
			select {
			case <-stop:
				return
			default:
			}
			if ok && a.cmd == workerRequest {
				waiting = append(waiting, a.fields)
				if !quiet {
					continue
				}
			}
			if !ok && len(waiting) == 0 {
				continue
			}
			if !quiet {
				standing = len(waiting)
			}
			quiet = true
			order := slices.Clone(waiting)
			if b.first {
				order = append(order[1:], order[0])
			}
			var wire []byte
			for _, request := range order {
				wire = append(wire, workerCommand(workerReply, workerReplyTo(request, 0, request.text(8)+body))...)
			}
			if l.try(wire) != nil {
				return
			}
			waiting = nil
		}
	})
	got, read := 0, 0
	err := func() error {
		for i := range b.count {
			pk, err := c.next()
			if err != nil {
				return fmt.Errorf("reply %d: %w", i, err)
			}
			if msg, err := c.mode.message(pk); err != nil || int(msg.id) != i || msg.payload != fmt.Sprint(i)+body {
				return fmt.Errorf("reply %d is %d %.60q, %v", i, msg.id, msg.payload, err)
			}
			got++
			if read += b.size; b.pause > 0 && read > 1<<20 {
				read = 0
				time.Sleep(b.pause)
			}
		}
		return <-sent
	}()
	x.hold(err == nil, "nobody closed, all replies in order", "%d of %d replies of %d bytes, %d of them at once, %v; closed %v",
		got, b.count, b.size, standing, err, p.closedFor())
}

// Policies drop pushes: every reply and every pong arrives.
func TestPressureDropPolicies(t *testing.T) {
	for _, policy := range []string{"drop-newest", "drop-oldest"} {
		t.Run(policy, func(t *testing.T) { dropPolicy(startPressure(t).together(), policy) })
	}
}

func dropPolicy(x *pressure, policy string) {
	args := []string{"--slow-consumer", policy, "--backlog", "256KiB", "--send-buffer", "32KiB"}
	p := startDev(x, append(args, withFlag("--lag", "1MiB")...)...)
	link := p.workerLink(x)
	c := p.loginWith(x, smallReceiver(16<<10), modes[0], "")
	c.subscribe("t")
	healthy := p.trip(x, "other")
	requests := pick(x, 400, 100)
	const size = 4 << 10
	end := make(chan struct{})
	var publisher sync.WaitGroup
	published := 0
	publisher.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			payload := fmt.Sprintf("%08d", published) + strings.Repeat("p", size)
			if err := link.try(workerCommand(workerTopicPublish, workerCast("t", payload))); err != nil {
				x.Errorf("the worker could not go on: %v", err)
				return
			}
			published++
			time.Sleep(200 * time.Microsecond)
		}
	})
	// Meanwhile it does not read but asks, at first; then it reads less than what comes.
	asked := make(chan error, 1)
	go func() {
		for i := range requests {
			b := append(c.mode.ask(uint16(i), "sluice.Echo", fmt.Sprint(i)), c.mode.ping()...)
			if err := c.send(b); err != nil {
				asked <- fmt.Errorf("request %d: %w", i, err)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		asked <- nil
	}()
	time.Sleep(pick(x, 4*time.Second, 1500*time.Millisecond))
	replies, pongs, pushes, gaps, last := 0, 0, 0, 0, -1
	err := func() error {
		slow := true
		for replies < requests || pongs < requests {
			pk, err := c.next()
			if err != nil {
				return err
			}
			switch pk.typ {
			case pingResp:
				pongs++
			case sendResp:
				msg, err := c.mode.message(pk)
				if err != nil || int(msg.id) != replies || msg.payload != echoed(fmt.Sprint(replies)) {
					return fmt.Errorf("reply %d is %d %.60q, %v", replies, msg.id, msg.payload, err)
				}
				replies++
			default:
				msg, err := c.mode.message(pk)
				n := -1
				if err == nil {
					_, err = fmt.Sscanf(msg.payload[:min(8, len(msg.payload))], "%d", &n)
				}
				if err != nil || n <= last || len(msg.payload) != size+8 {
					return fmt.Errorf("push %d behind %d, %d bytes, %v", n, last, len(msg.payload), err)
				}
				if n != last+1 {
					gaps++
				}
				last = n
				if pushes++; slow && pushes%16 == 0 {
					time.Sleep(2 * time.Millisecond)
				}
			}
			select {
			case err := <-asked:
				if err != nil {
					return err
				}
				slow = false
			default:
			}
		}
		return nil
	}()
	_, other := healthy.once()
	close(end)
	publisher.Wait()
	dropped := p.metrics()[`sluice_drops_total{reason="slow-consumer"}`]
	x.hold(err == nil && other == nil, "every reply and pong arrives", "%d replies and %d pongs of %d, %d pushes with %d gaps, %d published, %.0f dropped, %v %v; closed %v",
		replies, pongs, requests, pushes, gaps, published, dropped, err, other, p.closedFor())
	x.hold(dropped > 0, "pushes are dropped", "%.0f dropped", dropped)
}

// noticed is when a reset has been noticed on the busiest machine. Nothing else ends those
// connections: their keep-alive and the timeouts of requests and packets are longer.
const noticed = 10 * time.Second

// A client whose input is held, and that resets, leaves at once; it does not count as one that has
// only ended its side.
func TestPressureReset(t *testing.T) {
	for _, held := range []string{"requests that nobody answers", "replies that it does not read", "half a packet", "publishes that wait"} {
		t.Run(held, func(t *testing.T) { resetWhileHeld(startPressure(t).together(), held) })
	}
	t.Run("a login under way", func(t *testing.T) { resetAtLogin(startPressure(t).together()) })
}

// A login whose client has gone is not completed.
func resetAtLogin(x *pressure) {
	asked, verdict := make(chan struct{}), make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		select {
		case <-verdict:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, `{"user":"ann"}`)
	}))
	x.Cleanup(service.Close)
	p := startServe(x, "--listen", "tcp://127.0.0.1:0", "--login", "http:"+service.URL, "--open-worker", "1", "--close-worker", "1")
	l := p.workerFor(x, 1)
	c := p.dial(x, modes[0])
	// What comes behind the login waits for the verdict, up to where it is not read any more.
	_ = c.conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = c.conn.Write(append(c.mode.connect(0, token("ann")), bytes.Repeat(c.mode.ping(), 30<<10)...))
	<-asked
	start := time.Now()
	c.reset()
	for p.metrics()["sluice_connections"] > 0 && time.Since(start) < noticed {
		time.Sleep(10 * time.Millisecond)
	}
	freed := time.Since(start)
	close(verdict)
	a, told := l.take(&l.events, 300*time.Millisecond)
	ok := p.metrics()[`sluice_logins_total{outcome="ok"}`]
	x.hold(freed <= pick(x, time.Second, noticed) && !told && ok == 0, pick(x, "freed within 1 s, not logged in", "freed at once, not logged in"),
		"slot free after %v; worker told: %v %d; %.0f logins", freed.Round(time.Millisecond), told, a.cmd, ok)
}

func resetWhileHeld(x *pressure, held string) {
	p := startDev(x, "--route", "slow.*=2", "--request-timeout", "3m", "--open-worker", "2", "--close-worker", "2")
	l := p.workerServer(x, 2)
	opened := func() string { // of whom, while earlier ones may leave
		for {
			if a, ok := l.take(&l.events, patience); !ok {
				x.Fatal("the worker was not told of a client")
			} else if a.cmd == workerConnOpen {
				return a.fields.text(1)
			}
		}
	}
	for i := range pick(x, 4, 1) {
		c := p.loginWith(x, smallReceiver(4<<10), modes[0], "")
		id := opened()
		base := p.metrics()["sluice_connections"]
		var b []byte
		switch held {
		case "requests that nobody answers":
			for n := range 600 {
				b = append(b, c.mode.ask(uint16(n), "slow.Answer", quoted(n, 64<<10))...)
			}
		case "replies that it does not read":
			for n := range 600 {
				b = append(b, c.mode.ask(uint16(n), "sluice.Echo", quoted(n, 64<<10))...)
			}
		case "publishes that wait":
			sub := p.loginWith(x, smallReceiver(4<<10), modes[0], "")
			opened()
			sub.subscribe("t")
			base = 0 // it may go at any time
			for n := range 600 {
				b = append(b, c.mode.sendReq(0, 0, "sluice.Publish", []byte(publish("t", quoted(n, 64<<10))))...)
			}
		case "half a packet":
			b = c.mode.header(sendReq, 2, 4<<20)
			b = append(b, make([]byte, 3<<20)...)
		}
		write := 700 * time.Millisecond
		if held == "publishes that wait" {
			write = 250 * time.Millisecond // for they do not wait long
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(write))
		_, err := c.conn.Write(b)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			x.Fatalf("client %d: %v", i, err)
		}
		l.sync()
		l.mu.Lock()
		l.events = nil // requests
		l.mu.Unlock()
		start := time.Now()
		c.reset()
		told := ""
		for time.Since(start) < noticed && told == "" {
			if a, ok := l.take(&l.events, 20*time.Millisecond); ok && a.cmd == workerConnClose && a.fields.text(1) == id {
				told = a.fields.text(1)
			}
		}
		took := time.Since(start)
		for base > 0 && p.metrics()["sluice_connections"] >= base && time.Since(start) < noticed {
			time.Sleep(10 * time.Millisecond)
		}
		freed := time.Since(start)
		x.hold(told == id && took <= pick(x, time.Second, noticed) && freed <= pick(x, time.Second, noticed),
			pick(x, "noticed and freed within 1 s", "noticed and freed at once"),
			"%s, held: %v; worker told after %v, slot free after %v", held, err != nil, took.Round(time.Millisecond), freed.Round(time.Millisecond))
	}
}

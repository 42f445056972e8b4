package clustertest

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// A listener is a client with a session that hears a topic with history.
type listener interface {
	subscribe(names ...string)
	push(within time.Duration) (int, error)
	hangUp()
}

func (c *client) hangUp() { c.conn.Close() }

// A dialect is how clients of a protocol begin sessions and resume them.
type dialect struct {
	name   string
	begin  func(g *gateway) (listener, string)
	resume func(g *gateway, ticket string) (listener, string)
}

var dialects = []dialect{
	{"GOSOC",
		func(g *gateway) (listener, string) { return g.begin("ann") },
		func(g *gateway, ticket string) (listener, string) { return g.comeBack(ticket) },
	},
	{"Longbridge",
		func(g *gateway) (listener, string) { return g.beginLongbridge("ben") },
		func(g *gateway, ticket string) (listener, string) { return g.reconnect(ticket) },
	},
}

// A ticker publishes numbers to a topic, one every few ms, until it is stopped.
type ticker struct {
	t    *testing.T
	last atomic.Int64
	stop chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	at   []time.Time // number n was published at at[n-1]

	pause sync.Mutex // held while nothing is to be published
}

func (g *gateway) tick(topic string) *ticker {
	k := &ticker{t: g.t, stop: make(chan struct{})}
	pub := g.login()
	k.done.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-k.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			k.pause.Lock()
			k.mu.Lock()
			k.at = append(k.at, time.Now())
			k.mu.Unlock()
			err := pub.publishes(topic, i)
			k.last.Store(int64(i))
			k.pause.Unlock()
			if err != nil {
				k.t.Errorf("message %d: %v", i, err)
				return
			}
		}
	})
	g.t.Cleanup(k.end)
	return k
}

// publishes is publish for another goroutine than the test's.
func (c *client) publishes(topic string, n int) error {
	if err := c.send("sluice.Publish", message(topic, n)); err != nil {
		return err
	}
	h, body, err := c.packet(patience)
	if err == nil && h.Type != gosoc.TypeSendResp {
		err = fmt.Errorf("a packet of type %d: %q", h.Type, body)
	}
	return err
}

func (k *ticker) end() {
	select {
	case <-k.stop:
	default:
		close(k.stop)
	}
	k.done.Wait()
}

func (k *ticker) published(n int) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.at[n-1]
}

// A script is what a listener has heard: the numbers from 1 on.
type script struct {
	t    *testing.T
	next int
}

// hear reads until number n has come, each once and in order.
func (s *script) hear(l listener, n int) {
	s.t.Helper()
	for s.next <= n {
		got, err := l.push(patience)
		if err != nil || got != s.next {
			s.t.Fatalf("push %d, %v, want %d", got, err, s.next)
		}
		s.next++
	}
}

// quiet has nothing be published from now on, until the function is called that it returns, and all that was
// be heard, and acknowledged.
func (s *script) quiet(l listener, k *ticker) (goOn func()) {
	s.t.Helper()
	k.pause.Lock()
	s.hear(l, int(k.last.Load()))
	time.Sleep(300 * time.Millisecond) // more than acknowledgements are put off for
	return k.pause.Unlock
}

// toTheEnd reads an older connection until it is closed.
func (s *script) toTheEnd(l listener) {
	s.t.Helper()
	for {
		n, err := l.push(patience)
		if err != nil {
			return
		}
		if n != s.next {
			s.t.Fatalf("push %d on the older connection, want %d", n, s.next)
		}
		s.next++
	}
}

// hearAgain is hear for who goes on behind the end of its gateway, or of a connection to which something was
// on its way: what was published up to so long before may come again.
func (s *script) hearAgain(l listener, k *ticker, ended time.Time, most time.Duration) {
	s.t.Helper()
	got, err := l.push(patience)
	if err != nil || got > s.next {
		s.t.Fatalf("push %d, %v, want %d or one before", got, err, s.next)
	}
	if age := ended.Sub(k.published(got)); got < s.next && age > most {
		s.t.Errorf("what was published %v before the end comes again", age)
	}
	s.t.Logf("%d messages come again, the first %v old", s.next-got, ended.Sub(k.published(got)))
	s.next = got + 1
}

// rest reads what is left when nothing is published any more.
func (s *script) rest(l listener, k *ticker) {
	s.t.Helper()
	k.end()
	s.hear(l, int(k.last.Load()))
	if n, err := l.push(50 * time.Millisecond); !errors.Is(err, io.EOF) {
		s.t.Errorf("push %d, %v behind the last", n, err)
	}
}

const historyRule = "news.*=10000,5m"

func startHistory(t *testing.T) []*gateway {
	t.Helper()
	s := startNATS(t, nil)
	return serveAll(t, 3, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"), "--history", historyRule)
}

// A session that is resumed on another gateway goes on where it was: from a connection that has ended,
// from one that lives, which hears nothing more, and behind the end of its gateway.
func TestPositionsMove(t *testing.T) {
	t.Parallel()
	list := startHistory(t)
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			topic := "news." + d.name
			l, ticket := d.begin(list[0])
			l.subscribe(topic)
			k := list[2].tick(topic)
			s := script{t, 1}
			s.hear(l, 100)
			for _, next := range [...]int{1, 0, 2} {
				goOn := s.quiet(l, k)
				l.hangUp()
				goOn()
				if next > 0 { // else it comes back at once
					time.Sleep(300 * time.Millisecond)
				}
				l, ticket = d.resume(list[next], ticket)
				s.hear(l, int(k.last.Load())+20)
			}
			goOn := s.quiet(l, k)
			older := l
			l, ticket = d.resume(list[1], ticket)
			goOn()
			s.toTheEnd(older)
			s.hear(l, int(k.last.Load())+20)
			older = l
			l, _ = d.resume(list[0], ticket)
			s.toTheEnd(older)
			s.hearAgain(l, k, time.Now(), patience) // what was not acknowledged
			s.hear(l, int(k.last.Load())+20)
			s.rest(l, k)
		})
	}
}

// The same behind SIGKILL: nothing is missed, and what comes again is of the last second.
func TestPositionsAfterAKill(t *testing.T) {
	t.Parallel()
	list := startHistory(t)
	var listeners [2]listener
	var tickets [2]string
	var scripts [2]script
	var ticks [2]*ticker
	for i, d := range dialects {
		topic := "news." + d.name
		listeners[i], tickets[i] = d.begin(list[0])
		listeners[i].subscribe(topic)
		ticks[i], scripts[i] = list[2].tick(topic), script{t, 1}
	}
	list[0].written(len(listeners))
	for i, l := range listeners {
		scripts[i].hear(l, int(ticks[i].last.Load())+300)
	}
	await(t, "checkpoints", func() bool {
		return list[0].metric(`sluice_cluster_checkpoints_total{result="written"}`) >= 3
	})
	list[0].kill()
	ended := time.Now()
	for i, d := range dialects {
		s := &scripts[i]
		s.toTheEnd(listeners[i]) // what was in the socket
		time.Sleep(300 * time.Millisecond)
		l, _ := d.resume(list[1], tickets[i])
		s.hearAgain(l, ticks[i], ended, mostRepeats)
		s.hear(l, int(ticks[i].last.Load())+50)
		s.rest(l, ticks[i])
	}
}

// mostRepeats is how long before the end of its gateway a message was published at most that comes again:
// a second or so, and what a busy machine needs.
const mostRepeats = 10 * time.Second

// Of two that show one ticket at once, on two gateways, one gets all.
func TestPositionsOfRivals(t *testing.T) {
	t.Parallel()
	list := startHistory(t)
	l, ticket := list[0].begin("ann")
	l.subscribe("news.a")
	k := list[0].tick("news.a")
	s := script{t, 1}
	for range 3 {
		s.hear(l, int(k.last.Load())+20)
		var wg sync.WaitGroup
		var won [3]*client
		var next [3]string
		for i := 1; i < len(list); i++ {
			wg.Go(func() {
				if c, code, ticket := list[i].connect(map[string]any{"session_id": ticket}); code == gosoc.Accepted {
					won[i], next[i] = c, ticket
				}
			})
		}
		s.toTheEnd(l)
		wg.Wait()
		winners := 0
		for i, w := range won {
			if w != nil {
				winners++
				l, ticket = w, next[i]
				list[0], list[i] = list[i], list[0]
			}
		}
		if winners != 1 {
			t.Fatalf("%d of two have resumed one session", winners)
		}
		s.hearAgain(l, k, time.Now(), patience)
		time.Sleep(600 * time.Millisecond)
	}
	s.rest(l, k)
}

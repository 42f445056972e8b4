package cluster

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// A newsLog is the log of all topics with history, which all nodes hear at once.
type newsLog struct {
	mu     sync.Mutex
	items  []newsItem // number n is items[n-1]
	topics []string
}

type newsItem struct {
	topic string
	at    time.Time
}

const newsEpoch = 7

func (l *newsLog) reach() (topic.Position, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return topic.Position{Epoch: newsEpoch, Seq: uint64(len(l.items))}, true
}

func (l *newsLog) add(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topics = append(l.topics, topic)
}

// behind returns the numbers of a topic's messages behind one.
func (l *newsLog) behind(topic string, n uint64) (list []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := n; i < uint64(len(l.items)); i++ {
		if l.items[i].topic == topic {
			list = append(list, i+1)
		}
	}
	return list
}

// last returns the number of a topic's last message.
func (l *newsLog) last(topic string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.items); i > 0; i-- {
		if l.items[i-1].topic == topic {
			return uint64(i)
		}
	}
	return 0
}

func (l *newsLog) item(n uint64) newsItem {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.items[n-1]
}

// publishNews publishes something every now and then until the function is called that it returns.
func (r *resort) publishNews() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	pick := r.rand.Uint64() | 1
	go func() {
		defer close(ended)
		for {
			pick ^= pick << 13
			pick ^= pick >> 7
			pick ^= pick << 17
			select {
			case <-done:
				return
			case <-time.After(time.Duration(20+pick%200) * time.Millisecond):
				r.publish(int(pick >> 16 % 1024))
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
	})
}

func (r *resort) publish(which int) {
	l := &r.news
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.guests { // nobody comes or goes meanwhile
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	l.mu.Lock()
	if len(l.topics) == 0 {
		l.mu.Unlock()
		return
	}
	name := l.topics[which%len(l.topics)]
	l.items = append(l.items, newsItem{name, time.Now()})
	n := uint64(len(l.items))
	l.mu.Unlock()
	for _, g := range r.guests {
		for _, c := range g.conns {
			if slices.Contains(c.topics, name) && !g.dead {
				c.mail.send(name, n)
			}
		}
	}
}

// A mailbag is what was sent to a connection. It has received what was sent a while ago, when it was there
// for as long. The node's mu guards it.
type mailbag struct {
	latency time.Duration
	sent    []letter
	stopped time.Time
}

type letter struct {
	topic string
	n     uint64
	at    time.Time
}

func (m *mailbag) send(topic string, n uint64) {
	m.sent = append(m.sent, letter{topic, n, time.Now()})
}

func (m *mailbag) stop() {
	if m.stopped.IsZero() {
		m.stopped = time.Now()
	}
}

// received returns how many of sent were received.
func (m *mailbag) received() int {
	now := time.Now()
	if !m.stopped.IsZero() {
		now = m.stopped
	}
	return sort.Search(len(m.sent), func(i int) bool { return m.sent[i].at.Add(m.latency).After(now) })
}

// at is where the connection is.
func (m *mailbag) at() topic.Position {
	at := engine.ReceivedAll
	for _, s := range m.sent[m.received():] {
		if p := (topic.Position{Epoch: newsEpoch, Seq: s.n - 1}); p.Before(at) {
			at = p
		}
	}
	return at
}

// newGuest makes a connection, some of them slow. g.mu is held.
func (g *guesthouse) newGuest() *guest {
	c := &guest{ref: g.next, mail: mailbag{latency: 30 * time.Millisecond}}
	if g.late != 0 {
		c.mail.latency = g.late
	} else if g.next%3 == 0 {
		c.mail.latency = 2 * time.Second
	}
	return c
}

// marks are where a connection is in its topics.
func (c *guest) marks(l *newsLog) (list []session.Mark) {
	missing := make(map[string]uint64)
	for _, s := range c.mail.sent[c.mail.received():] {
		if _, ok := missing[s.topic]; !ok {
			missing[s.topic] = s.n
		}
	}
	for _, t := range c.topics {
		m := session.Mark{Topic: t, Epoch: newsEpoch, At: time.Now().UnixMilli()}
		if n, ok := missing[t]; ok {
			m.Seq = n - 1
		} else {
			m.Seq = l.last(t)
		}
		list = append(list, m)
	}
	return list
}

// restore gives a connection the topics of its session, and what it has missed.
func (c *guest) restore(l *newsLog, s *session.Snapshot) {
	marks := s.Marks
	for _, t := range s.Topics {
		if slices.Contains(c.topics, t) {
			continue
		}
		c.topics = append(c.topics, t)
		if len(marks) == 0 || marks[0].Topic != t || marks[0].Epoch != newsEpoch {
			continue // what came is missed
		}
		for _, n := range l.behind(t, marks[0].Seq) {
			c.mail.send(t, n)
		}
		marks = marks[1:]
	}
}

// CutTrails implements SessionHolder.
func (g *guesthouse) CutTrails() {}

// Keeps implements SessionHolder.
func (g *guesthouse) Keeps(string) bool { return true }

// AskReceived implements SessionHolder.
func (g *guesthouse) AskReceived(upTo topic.Position, done func(topic.Position, []gateway.Laggard, bool)) {
	go func() {
		rest, behind := engine.ReceivedAll, []gateway.Laggard(nil)
		g.mu.Lock()
		for _, c := range g.conns {
			if at := c.mail.at(); at.Before(upTo) {
				behind = append(behind, gateway.Laggard{ID: c.issued.ID, At: at})
			} else if at.Before(rest) {
				rest = at
			}
		}
		g.mu.Unlock()
		done(rest, behind, true)
	}()
}

// A reader is a client as far as it reads its topics.
type reader struct {
	news   *newsLog
	cursor map[string]uint64 // by topic, the last message it has read
	// Nodes that had it were silent from then on, the last and the one before: what came shortly before that
	// may come again.
	since, before time.Time
	latency       time.Duration // of the connection before
	twice         int
}

// maxRepeat is how long before its node's end a message was published at most that comes again, to a fast
// client. Of one that is behind the session is written, once a second at most.
const maxRepeat = 1300 * time.Millisecond

func newReader(l *newsLog) reader { return reader{news: l, cursor: make(map[string]uint64)} }

func (c *reader) begin(topic string) { c.cursor[topic] = c.news.last(topic) }

func (c *reader) repeats() { c.since = time.Now() }

// read reads what a connection that has ended has received.
func (c *reader) read(t tester, step int, m *mailbag) {
	t.Helper()
	first := make(map[string]bool)
	for _, s := range m.sent[:m.received()] {
		last := c.cursor[s.topic]
		next := c.news.behind(s.topic, last)
		switch again := !first[s.topic] && s.n <= last; {
		case again && c.before.Sub(c.news.item(s.n).at) > maxRepeat+2*c.latency:
			t.Fatalf("step %d: message %d of %s comes again, %v after it was published", step, s.n, s.topic,
				c.before.Sub(c.news.item(s.n).at))
		case again:
			c.twice++
		case len(next) == 0 || s.n != next[0]:
			t.Fatalf("step %d: message %d of %s comes behind %d, want %v", step, s.n, s.topic, last, next[:min(len(next), 3)])
		}
		first[s.topic] = true
		c.cursor[s.topic] = s.n
	}
	c.before, c.since, c.latency = c.since, time.Time{}, m.latency
}

// hasAll wants everything to have been read.
func (c *reader) hasAll(t tester, topics []string) {
	t.Helper()
	for _, name := range topics {
		if left := c.news.behind(name, c.cursor[name]); len(left) > 0 {
			t.Errorf("%s: %d messages are missing: %v", name, len(left), fmt.Sprint(left[:min(len(left), 10)]))
		}
	}
}

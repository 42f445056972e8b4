package cluster

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A simNet is a cluster of servers, one per node, in a bubble of synctest. What a node sends goes to its
// own server first, in order. From there it goes to the others over pipes of their own, each in order,
// with delays that are the pipe's. Interest travels over the same pipes.
type simNet struct {
	mu    sync.Mutex
	rng   *rand.Rand
	buses []*simBus
	pipes map[[2]*simBus]*simPipe
	slow  time.Duration // the longest delay
}

type simPipe struct {
	last time.Time
	cut  bool
}

var errSimAway = errors.New("no connection")

func newSimNet(rng *rand.Rand) *simNet {
	return &simNet{rng: rng, pipes: make(map[[2]*simBus]*simPipe), slow: 2 * time.Millisecond}
}

// after returns when what goes into a pipe now comes out.
func (n *simNet) after(p *simPipe) time.Duration {
	now := time.Now()
	at := now.Add(time.Duration(n.rng.Int64N(int64(n.slow))))
	if !at.After(p.last) {
		at = p.last.Add(1)
	}
	p.last = at
	return at.Sub(now)
}

func (n *simNet) pipe(a, b *simBus) *simPipe {
	k := [2]*simBus{a, b}
	if n.pipes[k] == nil {
		n.pipes[k] = new(simPipe)
	}
	return n.pipes[k]
}

// A simBus is a node's connection.
type simBus struct {
	net      *simNet
	messages chan *nats.Msg
	// Of net.mu.
	subs      map[string]bool // that the node has made
	known     map[*simBus]map[string]bool
	up        *simPipe
	line      int // the number of the connection
	connected bool
	dead      bool
	in        simPipe // the node's own: how far it is behind
	behind    time.Duration
	change    func(bool)
}

func (n *simNet) bus() *simBus {
	b := &simBus{net: n, messages: make(chan *nats.Msg, 1<<16), subs: make(map[string]bool), known: make(map[*simBus]map[string]bool),
		up: new(simPipe)}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.buses {
		for subject := range o.subs {
			if o.connected {
				b.learn(o, subject, true)
			}
		}
	}
	n.buses = append(n.buses, b)
	return b
}

// send has f called when what is sent now has come to the node's server. What is on the way when the
// connection breaks is lost, or comes much later.
func (b *simBus) send(f func(late bool)) {
	line := b.line
	time.AfterFunc(b.net.after(b.up), func() {
		b.net.mu.Lock()
		defer b.net.mu.Unlock()
		if b.line == line {
			f(false)
		} else if b.net.rng.IntN(2) == 0 {
			time.AfterFunc(time.Duration(b.net.rng.Int64N(int64(4*time.Second))), func() {
				b.net.mu.Lock()
				defer b.net.mu.Unlock()
				f(true)
			})
		}
	})
}

// tell has the server of every node know that b has subscribed, or has not any more.
func (b *simBus) tell(subject string, is bool) {
	for _, to := range b.net.buses {
		if to == b {
			continue
		}
		p := b.net.pipe(b, to)
		time.AfterFunc(b.net.after(p), func() {
			b.net.mu.Lock()
			defer b.net.mu.Unlock()
			if p.cut {
				return // both ends exchange everything when it is mended
			}
			to.learn(b, subject, is)
		})
	}
}

func (b *simBus) learn(from *simBus, subject string, is bool) {
	if b.known[from] == nil {
		b.known[from] = make(map[string]bool)
	}
	if is {
		b.known[from][subject] = true
	} else {
		delete(b.known[from], subject)
	}
}

func (b *simBus) Publish(subject string, data []byte) error {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	if !b.connected || b.dead {
		return errSimAway
	}
	m := &nats.Msg{Subject: subject, Data: append([]byte(nil), data...)}
	b.send(func(bool) {
		for _, to := range b.net.buses {
			if to == b || !b.known[to][subject] {
				continue
			}
			p := b.net.pipe(b, to)
			if p.cut {
				continue
			}
			line := to.line
			time.AfterFunc(b.net.after(p), func() {
				b.net.mu.Lock()
				defer b.net.mu.Unlock()
				if to.line == line && !p.cut && to.subs[subject] && !to.dead {
					to.hear(m)
				}
			})
		}
	})
	return nil
}

// hear has the node get a message, when it gets to it. net.mu is held.
func (b *simBus) hear(m *nats.Msg) {
	now := time.Now()
	if at := now.Add(b.behind); at.After(b.in.last) {
		b.in.last = at
	} else if b.in.last.After(now) {
		b.in.last = b.in.last.Add(1)
	}
	if !b.in.last.After(now) {
		b.messages <- m
		return
	}
	time.AfterFunc(b.in.last.Sub(now), func() { b.messages <- m })
}

// lag has the node hear everything so much later.
func (b *simBus) lag(d time.Duration) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	b.behind = d
}

// Flush implements Bus.
func (b *simBus) Flush() error {
	done := make(chan bool, 1)
	b.net.mu.Lock()
	if !b.connected || b.dead {
		b.net.mu.Unlock()
		return errSimAway
	}
	b.send(func(late bool) { done <- !late })
	b.net.mu.Unlock()
	select {
	case ok := <-done:
		if ok {
			return nil
		}
	case <-time.After(time.Second):
	}
	return errSimAway
}

func (b *simBus) Subscribe(subject string) error {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	if b.subs[subject] {
		return nil
	}
	b.subs[subject] = true
	if b.connected {
		b.send(func(late bool) {
			if !late {
				b.tell(subject, true)
			}
		})
	}
	return nil
}

func (b *simBus) Unsubscribe(subject string) error {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	delete(b.subs, subject)
	if b.connected {
		b.send(func(late bool) {
			if !late {
				b.tell(subject, false)
			}
		})
	}
	return nil
}

func (b *simBus) Messages() <-chan *nats.Msg { return b.messages }

func (b *simBus) Connected() bool {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	return b.connected
}
func (b *simBus) Dropped() uint64       { return 0 }
func (b *simBus) MaxPayload() int       { return 1 << 20 }
func (b *simBus) OnChange(f func(bool)) { b.change = f }
func (b *simBus) Close()                {}

// lose breaks the connection.
func (b *simBus) lose(tell bool) {
	b.net.mu.Lock()
	was := b.connected
	b.connected = false
	b.line++
	for _, to := range b.net.buses {
		delete(to.known, b)
	}
	b.net.mu.Unlock()
	if was && tell {
		b.change(false)
	}
}

// connect makes a connection, which has all subscriptions, and says so.
func (b *simBus) connect() {
	b.net.mu.Lock()
	if b.connected || b.dead {
		b.net.mu.Unlock()
		return
	}
	b.connected = true
	line := b.line
	b.up = new(simPipe)
	for _, to := range b.net.buses {
		if to == b {
			continue
		}
		p := b.net.pipe(b, to)
		if !p.cut {
			for s := range b.subs {
				to.learn(b, s, true)
			}
		}
	}
	b.net.mu.Unlock()
	time.Sleep(3 * time.Millisecond)
	b.net.mu.Lock()
	ok := b.line == line && !b.dead
	b.net.mu.Unlock()
	if ok {
		b.change(true)
	}
}

// cut has two servers lose sight of one another, which no node is told, and mend see one another again.
func (n *simNet) cut(a, b *simBus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pipe(a, b).cut, n.pipe(b, a).cut = true, true
	delete(a.known, b)
	delete(b.known, a)
}

func (n *simNet) mend(a, b *simBus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range [][2]*simBus{{a, b}, {b, a}} {
		from, to := e[0], e[1]
		n.pipes[e] = &simPipe{last: n.pipe(from, to).last}
		if from.connected {
			for s := range from.subs {
				to.learn(from, s, true)
			}
		}
	}
}

package cluster

import (
	"errors"
	"fmt"
	"hash/fnv"
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
	turns int
	trace uint64 // the sum of the hashes of what nodes do: the order within an instant does not matter
	seed  uint64 // of pipes
}

type simPipe struct {
	rng  *rand.Rand // its own: two nodes that send at the same instant may do so in any order
	last time.Time
	cut  bool
}

var errSimAway = errors.New("no connection")

func newSimNet(rng *rand.Rand) *simNet {
	return &simNet{rng: rng, pipes: make(map[[2]*simBus]*simPipe), slow: 2 * time.Millisecond, seed: rng.Uint64()}
}

// turn is a short time, another one each time. It keeps apart what would be due at the same instant, since
// it is left to chance in which order timers expire then. mu is held.
func (n *simNet) turn() time.Duration {
	n.turns++
	return time.Microsecond + time.Duration(n.turns%1000)*101
}

// apart waits for a turn.
func (n *simNet) apart() {
	n.mu.Lock()
	d := n.turn()
	n.mu.Unlock()
	time.Sleep(d)
}

// note adds something that b does to the trace. mu is held.
func (n *simNet) note(b *simBus, what, of string, data []byte) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s %s ", time.Now().UnixNano(), b.number, what, of)
	h.Write(data)
	n.trace += h.Sum64()
}

// digest is the same for runs that are.
func (n *simNet) digest() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.trace
}

// after returns when what goes into a pipe now comes out.
func (n *simNet) after(p *simPipe) time.Duration {
	now := time.Now()
	at := now.Add(time.Duration(p.rng.Int64N(int64(n.slow))))
	if !at.After(p.last) {
		at = p.last.Add(1)
	}
	p.last = at
	return at.Sub(now)
}

// newPipe makes the pipe between two buses, whose numbers begin with 1.
func (n *simNet) newPipe(from, to int) *simPipe {
	return &simPipe{rng: rand.New(rand.NewPCG(n.seed, uint64(from)<<32|uint64(to)))}
}

func (n *simNet) pipe(a, b *simBus) *simPipe {
	k := [2]*simBus{a, b}
	if n.pipes[k] == nil {
		n.pipes[k] = n.newPipe(a.number, b.number)
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
	asks      *simPipe // for what has no order
	line      int      // the number of the connection
	connected bool
	dead      bool
	in        simPipe // the node's own: how far it is behind
	behind    time.Duration
	change    func(bool)
	number    int
	skew      time.Duration // of its connecting
}

func (n *simNet) bus() *simBus {
	b := &simBus{net: n, messages: make(chan *nats.Msg, 1<<16), subs: make(map[string]bool), known: make(map[*simBus]map[string]bool)}
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
	b.number, b.skew = len(n.buses), n.turn()
	b.up, b.asks = n.newPipe(b.number, 0), n.newPipe(b.number, b.number)
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
	b.net.note(b, "publishes", subject, data)
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
	b.net.note(b, "hears", m.Subject, m.Data)
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
	b.net.note(b, "subscribes", subject, nil)
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
	b.net.note(b, "unsubscribes", subject, nil)
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
	b.up = &simPipe{rng: b.up.rng}
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
	time.Sleep(3*time.Millisecond + b.skew)
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
		n.pipes[e] = &simPipe{rng: n.pipe(from, to).rng, last: n.pipe(from, to).last}
		if from.connected {
			for s := range from.subs {
				to.learn(from, s, true)
			}
		}
	}
}

package cluster

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/topic"
)

// The simulation: nodes that have topics alone, on a net that delays, reorders, loses and comes back,
// against a model of what subscribers must get.

const (
	simTopics = 5
	simNodes  = 4
	// simLag is how far a node may be behind with what it hears, while it speaks.
	simLag = 1500 * time.Millisecond
	// settleWithin is how long a subscription is waited for at most: half a second each while somebody does
	// not answer the barrier that is under way, and then somebody else its own, and what sending takes.
	settleWithin = time.Second + 20*time.Millisecond
	// maxSimNodes is how many there are when all have joined that do.
	maxSimNodes = 6
)

// A simNode is one process.
type simNode struct {
	simProcess
	w      *simWorld
	open   bool // it has clients
	subs   map[string]*simSub
	sent   map[string]uint64
	edges  sync.Mutex      // guards told
	told   map[string]bool // topics that have subscribers, as the node was told
	slow   bool            // its subscribers take nothing
	passed []time.Time     // since when Passed has been waited for
}

// A simSub is the time in which a topic has subscribers on a node.
type simSub struct {
	settled bool
	waits   bool      // the subscribers come when it is settled
	left    time.Time // since when there have been none, while it waits
	asked   time.Time
	fresh   bool                          // begun without a fault since
	owed    map[[2]uint64]map[uint64]bool // by process: messages it must get
	last    map[uint64]uint64             // by process: the last message
	since   map[uint64]uint64             // by process: the last one before it was settled first; nil: it was not yet
	gone    time.Time
}

type simWorld struct {
	rng     *rand.Rand
	net     *simNet
	mu      sync.Mutex // guards what injectors and Settle touch
	nodes   []*simNode // by place; the process that is there now
	every   []*simNode
	count   uint64
	busy    bool          // nodes hear late now and then
	known   time.Duration // how long it takes at least until a node that comes is known
	calm    bool          // no fault strikes, and none has for a while
	gaps    uint64
	failure string
}

func (w *simWorld) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
	}
}

// A simInjector is the subscribers of a node.
type simInjector struct{ n *simNode }

func (i simInjector) Publish(name, records []byte) error {
	eachRecord(records, func(record []byte) {
		var m topic.Message
		_, _ = m.Read(record)
		i.n.got(string(name), binary.BigEndian.Uint64(m.Payload), binary.BigEndian.Uint64(m.Payload[8:]))
	})
	return nil
}

// got is a message from a process that has come to n.
func (n *simNode) got(name string, from, k uint64) {
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	s := n.subs[name]
	if s == nil {
		return
	}
	last := s.last[from]
	if k <= last {
		w.fail("node %d got message %d of process %d, topic %s, behind %d", n.number, k, from, name, last)
	}
	if last > 0 && s.since != nil {
		if heard := max(last, s.since[from]); k > heard+1 { // before, who has not heard of it yet sends nothing
			w.gaps += k - heard - 1
		}
	}
	s.last[from] = k
	delete(s.owed[[2]uint64{from}], k)
}

type simCrowd struct{ n *simNode }

func (c simCrowd) MayGo() bool {
	c.n.w.mu.Lock()
	defer c.n.w.mu.Unlock()
	return !c.n.slow
}

// boot starts a process in a place.
func (w *simWorld) boot(place int) *simNode {
	w.count++
	n := &simNode{w: w, subs: make(map[string]*simSub), sent: make(map[string]uint64), told: make(map[string]bool)}
	n.number, n.alive, n.nodes = w.count, true, new(nodes)
	n.member = Member{ID: uint8(place), Incarnation: w.count}
	n.bus = w.net.bus()
	n.t = assemble(&Config{Name: "sim", Self: uint8(place), Incarnation: n.member.Incarnation, Queue: 1 << 20, Window: 1 << 20}, n.bus, n.nodes)
	n.t.injector = simInjector{n}
	n.t.acks.crowd = func(string) crowd { return simCrowd{n} }
	n.bus.change = n.t.changed
	control := w.net.bus()
	control.change = func(bool) {}
	n.t.trust.require(func(sent int64) {
		_ = control.Publish(n.t.subs.node(n.member.ID), seal(appendEcho(nil, n.t.self, sent)))
	})
	go control.connect()
	for _, o := range w.nodes {
		if o != nil && o.alive {
			n.nodes.put(o.member) // it has their leases when it begins; they hear of its own
			known := time.Duration(w.rng.Int64N(int64(20 * time.Millisecond)))
			if w.busy && w.rng.IntN(4) == 0 {
				known = time.Duration(w.rng.Int64N(int64(simLag)))
			}
			time.AfterFunc(max(known, w.known), func() {
				w.mu.Lock()
				both := o.alive && n.alive
				w.mu.Unlock()
				if both {
					o.meets(n.member)
				}
			})
		}
	}
	w.mu.Lock()
	w.nodes[place] = n
	w.every = append(w.every, n)
	w.mu.Unlock()
	n.t.start(true)
	go n.bus.connect()
	go func() {
		select {
		case <-n.t.greeted():
		case <-time.After(greetTimeout):
		case <-n.t.stop:
			return
		}
		n.t.greetingDone()
		w.mu.Lock()
		n.open = true
		w.mu.Unlock()
	}()
	return n
}

// kill ends a process. The others see it leave later.
func (w *simWorld) kill(n *simNode) {
	w.mu.Lock()
	n.alive = false
	w.mu.Unlock()
	n.die()
	for _, o := range w.nodes {
		if o == n || !o.alive {
			continue
		}
		time.AfterFunc(time.Duration(w.rng.Int64N(int64(time.Second))), func() {
			w.mu.Lock()
			alive := o.alive
			w.mu.Unlock()
			if m, ok := o.nodes.find(n.member.ID); ok && m.Incarnation == n.member.Incarnation && alive {
				o.parts(m)
			}
		})
	}
}

func (n *simNode) subscribe(name string) { n.gain(name, false) }

// gain has a topic have subscribers, once it is settled if they are expected: they are clients that are
// let in with it.
func (n *simNode) gain(name string, expected bool) {
	w := n.w
	w.mu.Lock()
	s := n.subs[name]
	if s != nil && s.gone.IsZero() {
		w.mu.Unlock()
		return
	}
	if s == nil || time.Since(s.gone) >= 10*time.Second {
		s = &simSub{last: make(map[uint64]uint64), owed: make(map[[2]uint64]map[uint64]bool)}
		n.subs[name] = s
	}
	if s.left = time.Now(); !s.gone.IsZero() && s.left.Sub(s.gone) < 5*time.Second {
		s.left = s.gone
	}
	s.gone, s.fresh, s.asked, s.settled = time.Time{}, w.calm && n.t.connected.Load(), time.Now(), false
	s.waits = expected
	w.mu.Unlock()
	if expected {
		n.t.Expect([]byte(name))
	} else {
		n.edge(name)
	}
	var calls int
	f := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if calls++; calls > 1 {
			w.fail("Settle's function is called twice")
		}
		if s.since == nil {
			s.since = make(map[uint64]uint64)
			for _, o := range w.every {
				s.since[o.number] = o.sent[name]
			}
		}
		if s.settled = true; s.waits {
			s.waits = false
			go n.edge(name)
		}
	}
	if !n.t.Settle([]byte(name), f) {
		f()
	}
}

// edge says whether there are subscribers, if that is new.
func (n *simNode) edge(name string) {
	n.edges.Lock()
	defer n.edges.Unlock()
	n.w.mu.Lock()
	s := n.subs[name]
	here := s != nil && !s.waits && s.gone.IsZero()
	n.w.mu.Unlock()
	if here == n.told[name] {
		return
	}
	n.told[name] = here
	if here {
		n.t.Subscribed(name)
	} else {
		n.t.Unsubscribed(name)
	}
}

func (n *simNode) unsubscribe(name string) {
	w := n.w
	w.mu.Lock()
	s := n.subs[name]
	if s == nil || !s.gone.IsZero() {
		w.mu.Unlock()
		return
	}
	if s.gone = time.Now(); s.waits {
		s.gone = s.left
	}
	clear(s.owed)
	w.mu.Unlock()
	n.edge(name)
}

// wanted reports whether n takes a topic for one that others have subscribers to, once it has had time to
// see that it hears.
func (n *simNode) wanted(name string) bool {
	n.t.Reaches([]byte(name), n.t.trust.now())
	n.w.net.apart()
	time.Sleep(20 * time.Millisecond)
	return n.t.Reaches([]byte(name), n.t.trust.now())
}

// publish publishes some messages, if the rules allow it.
func (n *simNode) publish(name string, count, size int) {
	w := n.w
	if n.t.Congested([]byte(name)) || w.calm && !n.t.connected.Load() {
		return
	}
	reaches := n.t.Reaches([]byte(name), n.t.trust.now())
	var records []byte
	w.mu.Lock()
	for range count {
		n.sent[name]++
		k := n.sent[name]
		p := make([]byte, 16+size)
		binary.BigEndian.PutUint64(p, n.number)
		binary.BigEndian.PutUint64(p[8:], k)
		records = topic.AppendRecord(records, "", 0, p)
		if !w.calm {
			continue
		}
		for _, o := range w.nodes {
			if s := o.subs[name]; o != n && o.alive && s != nil && s.gone.IsZero() && s.settled && s.fresh {
				from := [2]uint64{n.number}
				if s.owed[from] == nil {
					s.owed[from] = make(map[uint64]bool)
				}
				s.owed[from][k] = true
			}
		}
	}
	w.mu.Unlock()
	if reaches {
		n.t.Publish([]byte(name), records, count)
	}
}

// pass asks when others have passed on what n has published, and looks whether they have then.
func (n *simNode) pass() {
	w := n.w
	type owed struct {
		of   *simNode
		s    *simSub
		last uint64
	}
	var list []owed
	w.mu.Lock()
	for _, o := range w.nodes {
		for name, s := range o.subs {
			known := n.nodes.knows(origin{o.member.ID, o.member.Incarnation}) // else it is not asked
			if o != n && o.alive && known && w.calm && s.fresh && s.settled && s.gone.IsZero() {
				list = append(list, owed{o, s, n.sent[name]})
			}
		}
	}
	at := time.Now()
	n.passed = append(n.passed, at)
	w.mu.Unlock()
	over := func() {
		i := slices.Index(n.passed, at)
		if i < 0 {
			w.fail("Passed's function is called twice")
			return
		}
		n.passed = slices.Delete(n.passed, i, i+1)
	}
	f := func(whole bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		over()
		if !whole || !w.calm {
			return
		}
		for _, l := range list {
			for k := range l.s.owed[[2]uint64{n.number}] {
				if k <= l.last && l.s.fresh && l.of.alive {
					w.fail("node %d has not passed on message %d of process %d", l.of.number, k, n.number)
				}
			}
		}
	}
	if !n.t.Passed(f) {
		f(true)
	}
}

// faults says that something goes wrong: what was promised before holds no more.
func (w *simWorld) faults() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.every {
		for _, s := range n.subs {
			s.fresh = false
		}
	}
}

func simTopic(i int) string { return fmt.Sprintf("topic-%d", i) }

func (n *simNode) opened() bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.open
}

// step does something.
func (w *simWorld) step(stormy bool) {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	name := simTopic(w.rng.IntN(simTopics))
	switch r := w.rng.IntN(100); {
	case !n.alive:
		if r < 10 {
			w.boot(int(n.member.ID))
		}
	case !n.opened():
	case r < 60:
		size := 10
		if w.rng.IntN(20) == 0 {
			size = 20_000
		}
		n.publish(name, 1+w.rng.IntN(5), size)
		if w.rng.IntN(4) == 0 {
			n.pass()
		}
	case r < 75:
		n.gain(name, w.rng.IntN(3) == 0)
	case r < 85:
		n.unsubscribe(name)
	case r < 87:
		w.mu.Lock()
		n.slow = !n.slow
		w.mu.Unlock()
	case r < 88:
		time.Sleep(time.Duration(w.rng.Int64N(int64(11 * time.Second))))
	case r < 90 && w.busy:
		n.bus.lag(time.Duration(w.rng.Int64N(int64(simLag))))
		time.AfterFunc(time.Duration(w.rng.Int64N(int64(2*simLag))), func() { n.bus.lag(0) })
	case !stormy && r == 99 && len(w.nodes) < maxSimNodes:
		w.mu.Lock()
		w.nodes = append(w.nodes, nil)
		w.mu.Unlock()
		w.boot(len(w.nodes) - 1)
	case !stormy || r < 95:
	case r < 97:
		for i := range simTopics { // something is on its way
			n.publish(simTopic(i), 1, 0)
			n.subscribe(simTopic(i))
		}
		time.Sleep(time.Microsecond)
		n.bus.lose(true)
		time.AfterFunc(time.Duration(w.rng.Int64N(int64(500*time.Millisecond))), n.bus.connect)
	case r < 99:
		o := w.nodes[w.rng.IntN(len(w.nodes))]
		if o != n {
			w.net.cut(n.bus, o.bus)
			time.AfterFunc(time.Duration(w.rng.Int64N(int64(time.Second))), func() { w.net.mend(n.bus, o.bus) })
		}
	default:
		w.kill(n)
	}
	pause := 2 * time.Millisecond
	if stormy { // who is back has to be known before it speaks
		pause *= 5
	}
	time.Sleep(time.Duration(w.rng.Int64N(int64(pause))))
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if n.alive && len(n.passed) > 0 && time.Since(n.passed[0]) > 5*time.Second {
			w.fail("node %d: it is not known how far others are", n.number)
		}
		for name, s := range n.subs {
			if n.alive && s.gone.IsZero() && !s.settled && time.Since(s.asked) > settleWithin {
				w.fail("node %d: the subscription to %s is not settled", n.number, name)
			}
		}
	}
}

// quiet waits until what is on its way has come, and looks at what is owed.
func (w *simWorld) quiet() {
	time.Sleep(8 * time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		for name, s := range n.subs {
			for from, left := range s.owed {
				if n.alive && len(left) > 0 && s.fresh {
					w.fail("node %d has not got messages %v of topic %s, process %d", n.number, slices.Sorted(maps.Keys(left)), name, from[0])
				}
			}
		}
	}
}

// simulate plays a seed and returns what is wrong. The same seed gives the same run.
func simulate(t *testing.T, seed uint64, steps int) (failure string, sum TopicsStats, digest uint64) {
	defer mapOrder(seed)()
	faketime.Alone(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &simWorld{rng: rng, net: newSimNet(rand.New(rand.NewPCG(seed, 2))), nodes: make([]*simNode, simNodes), calm: true}
		w.busy = seed%2 == 1
		for i := range simNodes {
			w.boot(i)
			w.net.apart()
			if rng.IntN(2) == 0 {
				time.Sleep(30 * time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		for range steps {
			w.step(false)
		}
		w.quiet()
		w.mu.Lock()
		w.calm = false
		w.mu.Unlock()
		w.faults()
		for range steps {
			w.step(true)
		}
		time.Sleep(10 * time.Second)
		for i, n := range w.nodes {
			if !n.alive {
				w.boot(i)
				w.net.apart()
			}
		}
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		w.calm = true
		w.mu.Unlock()
		for range steps / 2 {
			w.step(false)
		}
		w.quiet()
		w.end()
		sum = w.sum()
		failure, digest = w.failure, w.net.digest()
	})
	return failure, sum, digest
}

func (w *simWorld) sum() (sum TopicsStats) {
	for _, n := range w.every {
		s := n.t.stats()
		sum.Lost += s.Lost
		sum.Late += s.Late
		sum.LateStatements += s.LateStatements
		sum.Refused += s.Refused
		sum.Dropped += s.Dropped
		sum.MessagesIn += s.MessagesIn
		sum.MessagesOut += s.MessagesOut
		sum.BarrierTimeouts += s.BarrierTimeouts
		sum.Barriers += s.Barriers
		sum.Distrusts += s.Distrusts
		for i := range s.Ignored {
			sum.Ignored[i] += s.Ignored[i]
		}
	}
	return sum
}

// end has everybody leave, and looks whether anything is left.
func (w *simWorld) end() {
	w.mu.Lock()
	for _, n := range w.nodes {
		n.slow = false
	}
	w.mu.Unlock()
	time.Sleep(3 * time.Second)
	for _, n := range w.nodes {
		for i := range simTopics {
			if n.t.Congested([]byte(simTopic(i))) {
				w.fail("node %d: %s is congested for ever", n.number, simTopic(i))
			}
			n.unsubscribe(simTopic(i))
		}
		w.net.apart()
	}
	time.Sleep(12 * time.Second)
	for _, n := range w.nodes { // nobody wants anything, and all know it
		for i := range simTopics {
			n.publish(simTopic(i), 1, 0)
		}
		w.net.apart()
	}
	time.Sleep(3 * time.Second)
	for _, n := range w.nodes {
		for i := range simTopics {
			if n.wanted(simTopic(i)) {
				e := n.t.interest.find([]byte(simTopic(i)))
				w.fail("node %d takes %s for wanted: %+v, %+v", n.number, simTopic(i), e, n.nodes.all())
			}
		}
	}
	time.Sleep(4 * sweepEvery)
	for _, n := range w.nodes {
		if s := n.t.stats(); s.Memory != 0 || s.Known != 0 || s.Topics != 0 || s.Queue != 0 || s.Hot != 0 {
			w.fail("node %d has %+v left", n.number, s)
		}
		if len(n.t.acks.topics) > 0 {
			w.fail("node %d has crowds left", n.number)
		}
	}
	for _, n := range w.nodes {
		n.t.close()
	}
	for _, n := range w.every {
		if len(n.passed) > 0 {
			w.fail("node %d: %d wait for ever for how far others are", n.number, len(n.passed))
		}
	}
	if s := w.sum(); w.gaps > s.Lost+(s.Refused+s.Dropped)*uint64(len(w.every)-1) { // each is missing on every other node
		w.fail("%d messages are missing, and %d lost, %d refused, %d dropped are counted", w.gaps, s.Lost, s.Refused, s.Dropped)
	} else if s.Ignored[ignoredBroken]+s.Ignored[ignoredOther]+s.Ignored[ignoredTopic]+s.Ignored[ignoredVersion] > 0 {
		w.fail("frames cannot be read: %v", s.Ignored)
	}
}

const simSteps = 300

// simSeeds returns the first seed to play and how many: SIM_SEEDS of them from SIM_SEED on. SIM_SEED alone
// names one.
func simSeeds(seeds uint64) (first, n uint64) {
	first, n = 1, seeds
	if seed, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64); err == nil {
		first, n = seed, 1
	}
	if some, err := strconv.ParseUint(os.Getenv("SIM_SEEDS"), 10, 64); err == nil {
		n = some
	}
	return first, n
}

// TestSimulation plays seeds, which simSeeds names.
func TestSimulation(t *testing.T) {
	first, seeds := simSeeds(40)
	var all TopicsStats
	for seed := first; seed < first+seeds; seed++ {
		failure, s, _ := simulate(t, seed, simSteps)
		if failure != "" {
			t.Errorf("SIM_SEED=%d: %s", seed, failure)
			continue
		}
		all.Lost, all.Late, all.Refused = all.Lost+s.Lost, all.Late+s.Late, all.Refused+s.Refused
		all.MessagesIn, all.LateStatements = all.MessagesIn+s.MessagesIn, all.LateStatements+s.LateStatements
		all.Distrusts += s.Distrusts
		all.BarrierTimeouts, all.Barriers = all.BarrierTimeouts+s.BarrierTimeouts, all.Barriers+s.Barriers
	}
	if seeds > 1 && (all.Lost == 0 || all.Late == 0 || all.LateStatements == 0 || all.Refused == 0 || all.BarrierTimeouts == 0 ||
		all.Distrusts == 0) {
		t.Errorf("something did not happen: %+v", all)
	}
	t.Logf("%+v", all)
}

package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// The simulation of topics with history: nodes that publish to a stream and follow it, over a net that
// delays, loses and comes back, with a stream that has no leader for seconds, forgets, and is another one
// now and then.

// A histNode is one process.
type histNode struct {
	simProcess
	w     *histWorld
	subs  map[string]*histSub
	rings map[string]*histRing
	sent  map[string]uint64
}

// A histSub is the time in which a topic has subscribers on a node.
type histSub struct {
	settled bool
	asked   time.Time
	fresh   bool // no fault since it was settled
	gone    time.Time
	owed    map[[2]uint64]bool
}

// A histRing is what a replica has of a topic.
type histRing struct {
	at      topic.Position
	stored  uint64 // the last frame
	gaps    int
	frames  int
	started uint64
}

type histWorld struct {
	rng                  *rand.Rand
	net                  *simNet
	store                *simStore
	mu                   sync.Mutex
	nodes                []*histNode
	every                []*histNode
	count                uint64
	calm                 bool
	failure              string
	asked                int                // calls of Append
	done                 map[[2]uint64]int  // answers, by message
	failed               map[[2]uint64]bool // messages whose publisher was told of an error
	errs                 map[error]int
	gaps                 int
	fetches, lostFetches int
	steps                int
	lostAt               time.Time // when something was last lost and nobody was told
}

func (w *histWorld) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
	}
}

// A histReplica is an engine.Replica that compares with all that the stream has ever had.
type histReplica struct{ n *histNode }

func (r histReplica) Publish(name []byte, epoch, prev uint64, f engine.Frame) (bool, error) {
	w := r.n.w
	w.net.mu.Lock()
	ever := w.store.ever[epoch]
	w.net.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	k := r.n.rings[string(name)]
	switch {
	case k == nil || k.at.Epoch != epoch || prev > k.at.Seq:
		w.fail("node %d: a frame %d of %s of epoch %d behind %d, which is not there: %+v", r.n.number, frameOf(f.Seq), name, epoch, prev, k)
		return false, nil
	case f.Seq <= k.at.Seq:
		w.fail("node %d: frame %d of %s comes again", r.n.number, frameOf(f.Seq), name)
		return true, nil
	}
	seq := frameOf(f.Seq)
	if seq > uint64(len(ever)) {
		w.fail("node %d: frame %d of %s was never stored in epoch %d", r.n.number, seq, name, epoch)
		return true, nil
	}
	subject := r.n.t.subs.history(string(name))
	for s := frameOf(k.at.Seq) + 1; s < seq; s++ {
		if ever[s-1].Subject == subject {
			w.fail("node %d: frame %d of %s is missing before %d", r.n.number, s, name, seq)
		}
	}
	records, ok := readStored(ever[seq-1].Frame, string(name))
	if !ok || string(records) != string(f.Records) {
		w.fail("node %d: frame %d of %s is not what was stored", r.n.number, seq, name)
	}
	k.at.Seq, k.stored = f.Seq, seq
	k.frames++
	eachRecord(f.Records, func(record []byte) {
		var m topic.Message
		_, _ = m.Read(record)
		if s := r.n.subs[string(name)]; s != nil {
			delete(s.owed, messageOf(m.Payload))
		}
	})
	return true, nil
}

func messageOf(payload []byte) [2]uint64 {
	return [2]uint64{binary.BigEndian.Uint64(payload), binary.BigEndian.Uint64(payload[8:])}
}

func (r histReplica) Begin(name []byte, at topic.Position, lost bool) error {
	w := r.n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	k := r.n.rings[string(name)]
	switch {
	case k == nil:
		r.n.rings[string(name)] = &histRing{at: at, started: frameOf(at.Seq)}
		return nil
	case !lost:
		w.fail("node %d: %s begins anew at %v and nobody is told of a gap: %+v", r.n.number, name, at, k)
	case w.calm && r.n.subs[string(name)].fresh:
		w.fail("node %d: a gap of %s, to %v, and nothing is wrong: %+v", r.n.number, name, at, k)
	}
	k.at = at
	k.gaps++
	w.gaps++
	return nil
}

func (r histReplica) End(name []byte) {
	w := r.n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.n.rings[string(name)] == nil {
		w.fail("node %d: %s is ended and was not begun", r.n.number, name)
	}
	delete(r.n.rings, string(name))
}

func (r histReplica) Last(name []byte) (topic.Position, bool) {
	r.n.w.mu.Lock()
	defer r.n.w.mu.Unlock()
	k := r.n.rings[string(name)]
	if k == nil {
		return topic.Position{}, false
	}
	return k.at, true
}

// boot starts a process in a place.
func (w *histWorld) boot(place int) *histNode {
	w.count++
	n := &histNode{w: w, subs: make(map[string]*histSub), rings: make(map[string]*histRing), sent: make(map[string]uint64)}
	n.number, n.alive, n.nodes = w.count, true, new(nodes)
	n.member = Member{ID: uint8(place), Incarnation: w.count}
	n.bus = w.net.bus()
	n.t = assemble(&Config{
		Name: "sim", Self: uint8(place), Incarnation: n.member.Incarnation, Queue: 1 << 20, Window: 1 << 20,
		History: HistoryConfig{Stream: &simStream{w.store, n.bus, make(chan StreamAck, 1<<16)}},
	}, n.bus, n.nodes)
	h := n.t.history
	h.keeps = func([]byte) bool { return true }
	h.wanted.Store(true)
	h.limits = func() StreamLimits { return simLimits }
	h.replica = histReplica{n}
	n.t.injector = nobody{}
	n.t.acks.crowd = func(string) crowd { return always{} }
	n.bus.change = func(connected bool) {
		h.reached(connected)
		n.t.changed(connected)
	}
	for _, o := range w.nodes {
		if o != nil && o.alive {
			n.nodes.put(o.member)
			o.meets(n.member)
		}
	}
	w.mu.Lock()
	w.nodes[place] = n
	w.every = append(w.every, n)
	w.mu.Unlock()
	n.t.start(false)
	go n.bus.connect()
	return n
}

type always struct{}

func (always) MayGo() bool { return true }

// kill ends a process.
func (w *histWorld) kill(n *histNode) {
	w.mu.Lock()
	n.alive = false
	w.mu.Unlock()
	n.die()
	for _, o := range w.nodes {
		if o != n && o.alive {
			o.parts(n.member)
		}
	}
}

func (n *histNode) subscribe(name string) {
	w := n.w
	w.mu.Lock()
	s := n.subs[name]
	if s != nil && s.gone.IsZero() {
		w.mu.Unlock()
		return
	}
	if s == nil || time.Since(s.gone) >= 10*time.Second {
		s = &histSub{owed: make(map[[2]uint64]bool)}
		n.subs[name] = s
	}
	s.gone, s.asked, s.settled, s.fresh = time.Time{}, time.Now(), false, w.calm
	w.mu.Unlock()
	n.t.Subscribed(name)
	f := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		s.settled = true
	}
	if !n.t.Settle([]byte(name), f) {
		f()
	}
}

func (n *histNode) unsubscribe(name string) {
	w := n.w
	w.mu.Lock()
	s := n.subs[name]
	if s == nil || !s.gone.IsZero() {
		w.mu.Unlock()
		return
	}
	s.gone = time.Now()
	clear(s.owed)
	w.mu.Unlock()
	n.t.Unsubscribed(name)
}

// publish publishes some messages, if the rules allow it.
func (n *histNode) publish(name string, count, size int) {
	w, h := n.w, n.t.history
	if h.Away() != nil || h.Full([]byte(name)) {
		return
	}
	var records []byte
	var last [2]uint64
	w.mu.Lock()
	var these [][2]uint64
	for range count {
		n.sent[name]++
		last = [2]uint64{n.number<<16 | uint64(name[len(name)-1]), n.sent[name]}
		these = append(these, last)
		p := make([]byte, 16+size)
		binary.BigEndian.PutUint64(p, last[0])
		binary.BigEndian.PutUint64(p[8:], last[1])
		records = topic.AppendRecord(records, "", 0, p)
		for _, o := range w.nodes {
			if s := o.subs[name]; w.calm && o.alive && s != nil && s.gone.IsZero() && s.settled && s.fresh {
				s.owed[last] = true
			}
		}
	}
	w.asked++
	w.mu.Unlock()
	h.Append([]byte(name), records, count, func(at topic.Position, err error) {
		w.net.mu.Lock()
		ever := w.store.ever[at.Epoch]
		w.net.mu.Unlock()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.done[last]++; w.done[last] > 1 {
			w.fail("node %d: done of %v is called twice", n.number, last)
		}
		if err != nil {
			for _, m := range these {
				w.failed[m] = true
				for _, o := range w.nodes {
					if s := o.subs[name]; s != nil {
						delete(s.owed, m)
					}
				}
			}
			if w.calm {
				w.fail("node %d: a publish to %s: %v", n.number, name, err)
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				w.errs[e]++
			}
			return
		}
		if seq := frameOf(at.Seq); w.calm && (seq == 0 || seq > uint64(len(ever)) || recordAt(ever[seq-1], at.Seq, name) != last) {
			w.fail("node %d: message %v of %s is not at %v", n.number, last, name, at)
		}
	})
}

// recordAt returns which message of a frame has a number.
func recordAt(k Stored, number uint64, name string) (id [2]uint64) {
	records, ok := readStored(k.Frame, name)
	if !ok {
		return id
	}
	i := behind(k.Seq) + 1 - uint64(countRecords(records))
	eachRecord(records, func(record []byte) {
		if i == number {
			var m topic.Message
			_, _ = m.Read(record)
			id = messageOf(m.Payload)
		}
		i++
	})
	return id
}

// fetch asks for what follows upon some message that there was, and checks the answer.
func (n *histNode) fetch(name string) {
	w := n.w
	w.net.mu.Lock()
	epoch := w.store.epoch
	ever := w.store.ever[epoch]
	w.net.mu.Unlock()
	if len(ever) == 0 || n.t.history.Away() != nil {
		return
	}
	at := ever[w.rng.IntN(len(ever))]
	after := topic.Position{Epoch: epoch, Seq: behind(at.Seq) - uint64(w.rng.IntN(2))}
	var before uint64
	if w.rng.IntN(2) == 0 {
		before = (at.Seq + uint64(w.rng.IntN(len(ever)))) << indexBits
		if before <= after.Seq {
			before = 0
		}
	}
	n.t.history.Fetch(name, after, 0, before, func(fill engine.Fill, err error) {
		if err != nil {
			return
		}
		w.net.mu.Lock()
		ever := w.store.ever[fill.Epoch]
		there := false
		for _, k := range w.store.frames {
			there = there || w.store.epoch == epoch && k.Seq == at.Seq && k.Subject == n.t.subs.history(name)
		}
		w.net.mu.Unlock()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fetches++
		if fill.First > after.Seq+1 {
			w.lostFetches++
			if there && fill.Epoch == epoch {
				w.fail("node %d: a gap of %s behind %v, which is there: %d to %d", n.number, name, after, fill.First, fill.Last)
			}
		}
		got := make(map[uint64]bool)
		for _, f := range fill.Frames {
			got[frameOf(f.Seq)] = true
		}
		subject := n.t.subs.history(name)
		for _, k := range ever {
			first := behind(k.Seq) + 1
			if records, ok := readStored(k.Frame, name); ok {
				first -= uint64(countRecords(records))
			}
			if k.Subject == subject && first >= fill.First && behind(k.Seq) <= fill.Last && behind(k.Seq) > after.Seq && !got[k.Seq] {
				w.fail("node %d: frame %d of %s is missing between %d and %d behind %v before %d: %v", n.number, k.Seq, name, fill.First, fill.Last, after, before, got)
			}
		}
	})
}

// reach asks up to where the log is here, and wants all rings to be there a moment later.
func (n *histNode) reach() {
	w := n.w
	go func() {
		at, ok := n.t.history.reach()
		time.Sleep(10 * time.Millisecond)
		w.net.mu.Lock()
		ever := w.store.ever[at.Epoch]
		w.net.mu.Unlock()
		w.mu.Lock()
		defer w.mu.Unlock()
		if !ok || !n.alive || time.Since(w.lostAt) < 10*time.Second && !w.lostAt.IsZero() {
			return
		}
		for name, k := range n.rings {
			for s := frameOf(k.at.Seq) + 1; k.at.Epoch == at.Epoch && s <= frameOf(at.Seq) && s <= uint64(len(ever)); s++ {
				if ever[s-1].Subject == n.t.subs.history(name) {
					w.fail("node %d: the log is here up to %d, and %s lacks frame %d", n.number, frameOf(at.Seq), name, s)
				}
			}
		}
	}()
}

// lostSilently says that something is lost and nobody is told.
func (w *histWorld) lostSilently() {
	w.mu.Lock()
	w.lostAt = time.Now()
	w.mu.Unlock()
}

func histTopic(i int) string { return fmt.Sprintf("h-%d", i) }

// faults says that something goes wrong.
func (w *histWorld) faults() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.every {
		for _, s := range n.subs {
			s.fresh = false
			clear(s.owed)
		}
	}
}

const histTopics = 4

func (w *histWorld) step(stormy bool) {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	name := histTopic(w.rng.IntN(histTopics))
	if w.steps++; w.steps%4 == 0 && n.alive {
		n.reach()
	}
	switch r := w.rng.IntN(100); {
	case !n.alive:
		if r < 10 {
			w.boot(int(n.member.ID))
		}
	case r < 60:
		size := 10
		if w.rng.IntN(20) == 0 {
			size = 20_000
		}
		n.publish(name, 1+w.rng.IntN(5), size)
	case r < 72:
		n.subscribe(name)
	case r < 80:
		n.unsubscribe(name)
	case r < 85:
		n.fetch(name)
	case r < 86:
		time.Sleep(time.Duration(w.rng.Int64N(int64(11 * time.Second))))
	case !stormy || r < 92:
	case r < 94:
		n.bus.lose(true)
		time.AfterFunc(time.Duration(w.rng.Int64N(int64(500*time.Millisecond))), n.bus.connect)
	case r < 96: // the way from the stream's server is lost, and nobody is told
		w.lostSilently()
		w.net.cut(n.bus, w.store.server)
		time.AfterFunc(time.Duration(w.rng.Int64N(int64(time.Second))), func() { w.net.mend(n.bus, w.store.server) })
	case r < 97 && w.rng.IntN(2) == 0:
		w.net.mu.Lock()
		w.store.edit()
		w.net.mu.Unlock()
		w.lostSilently()
	case r < 97:
		w.net.mu.Lock()
		w.store.stalled = time.Now().Add(4*time.Second + time.Duration(w.rng.Int64N(int64(5*time.Second))))
		w.net.mu.Unlock()
	case r < 98:
		w.net.mu.Lock()
		w.store.lose()
		w.net.mu.Unlock()
		for _, n := range w.nodes { // who have had their servers there are told
			switch {
			case !n.alive:
			case w.rng.IntN(3) == 0:
				n.bus.lose(true)
				time.AfterFunc(time.Duration(w.rng.Int64N(int64(100*time.Millisecond))), n.bus.connect)
			case w.rng.IntN(2) == 0:
				n.t.history.doubt(true)
			}
		}
	default:
		w.kill(n)
	}
	time.Sleep(time.Duration(w.rng.Int64N(int64(2 * time.Millisecond))))
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		for name, s := range n.subs {
			if n.alive && s.gone.IsZero() && !s.settled && time.Since(s.asked) > time.Second {
				w.fail("node %d: the subscription to %s is not settled", n.number, name)
			}
		}
	}
}

// quiet waits until what is on its way has come, and looks at what is owed.
func (w *histWorld) quiet() {
	time.Sleep(25 * time.Second)
	w.net.mu.Lock()
	epoch, ever := w.store.epoch, w.store.ever[w.store.epoch]
	w.net.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		for name, s := range n.subs {
			if !n.alive || !s.gone.IsZero() {
				continue
			}
			if len(s.owed) > 0 && s.fresh {
				w.fail("node %d has not got %d messages of %s", n.number, len(s.owed), name)
			}
			k := n.rings[name]
			if k == nil {
				w.fail("node %d does not follow %s", n.number, name)
				continue
			}
			if k.at.Epoch != epoch {
				w.fail("node %d: %s is in epoch %d, the stream in %d", n.number, name, k.at.Epoch, epoch)
			}
			for _, f := range ever {
				if f.Subject == n.t.subs.history(name) && f.Seq > frameOf(k.at.Seq) {
					w.fail("node %d: %s ends at frame %d, and there is %d", n.number, name, frameOf(k.at.Seq), f.Seq)
				}
			}
		}
	}
	if answers := len(w.done); answers != w.asked {
		w.fail("%d publishes have %d answers", w.asked, answers)
	}
	// Each message is in the stream once, in the order of its publisher.
	before := make(map[[2]uint64]bool) // what another stream has had may be late, and nobody knows of it
	for _, epoch := range slices.Sorted(maps.Keys(w.store.ever)) {
		last, here := make(map[uint64]uint64), make(map[[2]uint64]bool)
		for _, k := range w.store.ever[epoch] {
			for i := range histTopics {
				records, ok := readStored(k.Frame, histTopic(i))
				if !ok || !strings.HasSuffix(k.Subject, n0.history(histTopic(i))[len("sluice.sim.h."):]) {
					continue
				}
				eachRecord(records, func(record []byte) {
					var m topic.Message
					_, _ = m.Read(record)
					id := messageOf(m.Payload)
					if id[1] <= last[id[0]] && !w.failed[id] && !before[id] {
						w.fail("epoch %d: message %v of %s is behind %d", epoch, id, histTopic(i), last[id[0]])
					}
					last[id[0]] = max(last[id[0]], id[1])
					here[id] = true
				})
			}
		}
		maps.Copy(before, here)
	}
}

var n0 = newSubjects("sim")

func (w *histWorld) setCalm(is bool) {
	w.mu.Lock()
	w.calm = is
	w.mu.Unlock()
	if !is {
		w.faults()
		return
	}
	w.mu.Lock()
	for _, n := range w.nodes {
		for _, s := range n.subs {
			s.fresh = true
		}
	}
	w.mu.Unlock()
}

// simulateHistory plays a seed and returns what is wrong. The same seed gives the same run.
func simulateHistory(t *testing.T, seed uint64, steps int) (failure string, sum HistoryStats, digest uint64) {
	defer mapOrder(seed)()
	faketime.Alone(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 11))
		w := &histWorld{
			rng: rng, net: newSimNet(rand.New(rand.NewPCG(seed, 12))), nodes: make([]*histNode, 3), calm: true,
			done: make(map[[2]uint64]int), failed: make(map[[2]uint64]bool), errs: make(map[error]int),
		}
		w.store = newSimStore(w.net, rand.New(rand.NewPCG(seed, 13)))
		if w.store.room = 200 + rng.IntN(5000); seed%3 == 0 {
			w.store.room = 40
		}
		for i := range w.nodes {
			w.boot(i)
			w.net.apart()
		}
		time.Sleep(time.Second)
		for range steps {
			w.step(false)
		}
		w.quiet()
		w.setCalm(false)
		w.net.mu.Lock()
		w.store.lossy = true
		w.net.mu.Unlock()
		for range steps {
			w.step(true)
		}
		time.Sleep(15 * time.Second)
		for i, n := range w.nodes {
			if !n.alive {
				w.boot(i)
				w.net.apart()
			}
		}
		w.net.mu.Lock()
		w.store.lossy = false
		w.net.mu.Unlock()
		time.Sleep(25 * time.Second)
		w.quiet()
		w.setCalm(true)
		for range steps / 2 {
			w.step(false)
		}
		w.quiet()
		w.end()
		for _, n := range w.every {
			s := n.t.history.stats()
			sum.Appends += s.Appends
			sum.Again += s.Again
			sum.Twice += s.Twice
			sum.Late += s.Late
			sum.Full += s.Full
			sum.Heard += s.Heard
			sum.Repeated += s.Repeated
			sum.Holes += s.Holes
			sum.Found += s.Found
			sum.Lost += s.Lost
			sum.Epochs += s.Epochs
			sum.Reads += s.Reads
			sum.Timeouts += s.Timeouts
			sum.Mended += s.Mended
		}
		sum.Frames += uint64(w.lostFetches)
		sum.Wrong += w.store.edits
		failure, digest = w.failure, w.net.digest()
	})
	return failure, sum, digest
}

// end has everybody leave, and looks whether anything is left.
func (w *histWorld) end() {
	for _, n := range w.nodes {
		for i := range histTopics {
			n.unsubscribe(histTopic(i))
		}
		w.net.apart()
	}
	time.Sleep(2*sweepEvery + 30*time.Second)
	for _, n := range w.nodes {
		w.mu.Lock()
		if len(n.rings) > 0 {
			w.fail("node %d has rings left: %v", n.number, n.rings)
		}
		w.mu.Unlock()
		h := n.t.history
		if s := n.t.stats(); s.Memory != 0 || h.appender.queued.Load() != 0 || h.follower.topics.Load() != 0 {
			w.fail("node %d has %+v left, %+v", n.number, s, h.stats())
		}
	}
	for _, n := range w.nodes {
		n.t.close()
	}
}

// TestHistorySimulation plays seeds, which simSeeds names.
func TestHistorySimulation(t *testing.T) {
	first, seeds := simSeeds(20)
	var all HistoryStats
	for seed := first; seed < first+seeds; seed++ {
		failure, s, _ := simulateHistory(t, seed, simSteps)
		if failure != "" {
			t.Errorf("SIM_SEED=%d: %s", seed, failure)
			continue
		}
		all.Appends, all.Again, all.Twice = all.Appends+s.Appends, all.Again+s.Again, all.Twice+s.Twice
		all.Late, all.Heard, all.Repeated = all.Late+s.Late, all.Heard+s.Heard, all.Repeated+s.Repeated
		all.Holes, all.Found, all.Lost = all.Holes+s.Holes, all.Found+s.Found, all.Lost+s.Lost
		all.Epochs, all.Reads, all.Timeouts = all.Epochs+s.Epochs, all.Reads+s.Reads, all.Timeouts+s.Timeouts
		all.Frames += s.Frames
		all.Wrong, all.Mended = all.Wrong+s.Wrong, all.Mended+s.Mended
	}
	if seeds >= 20 && (all.Again == 0 || all.Twice == 0 || all.Holes == 0 || all.Found == 0 || all.Lost == 0 || all.Epochs == 0 ||
		all.Mended == 0) {
		t.Errorf("something did not happen: %+v", all)
	}
	t.Logf("%+v", all)
}

package cluster

import (
	"cmp"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/lograte"
)

// topics carries messages of topics over the data connection: it is the plane of a Node, and an
// engine.Remote.
type topics struct {
	self     origin
	bus      Bus
	nodes    *nodes
	subs     subjects
	log      *slog.Logger
	injector injector
	newPeer  func() injector // on start

	newReplica func() replica // likewise
	counts     topicsCounts
	kind       func(int64) // charges bytes
	bytes      atomic.Int64

	trust    trust
	interest *interest
	ours     *ours
	barriers barriers
	credits  credits
	acks     acks
	sender   sender
	receiver receiver
	history  *history // nil: no topic has one over nodes

	connected atomic.Bool
	wakes     chan struct{} // the keeper
	stop      chan struct{}
	kept      chan struct{} // closed when the keeper has ended
	known     chan struct{} // closed by passed, once, when all others know of the node
	knownOnce sync.Once

	mu      sync.Mutex // guards what follows
	started bool
	closed  bool
	due     []func() // of Settle, for the keeper to call
	left    []uint8  // nodes that are gone, the same
}

// Why frames were ignored.
const (
	ignoredOther   = iota // no frame of ours
	ignoredVersion        // of another version
	ignoredOwn            // of this node itself
	ignoredSender         // of a node that is not in the table
	ignoredTopic          // of another topic than the subject's
	ignoredBroken         // its body cannot be read
	numIgnored
)

// IgnoredReasons are the names of TopicsStats.Ignored.
var IgnoredReasons = [numIgnored]string{"foreign", "version", "own", "sender", "topic", "broken"}

type topicsCounts struct {
	framesIn, framesOut, bytesIn, bytesOut, messagesIn, messagesOut atomic.Uint64
	lost, late, lateStatements, unwanted, refused, dropped, errors  atomic.Uint64
	refusedAnswers, tooLong, distrusts, bypassed                    atomic.Uint64
	bypassing                                                       atomic.Int64 // nodes
	ignored                                                         [numIgnored]atomic.Uint64
}

// A TopicsStats says what was carried.
type TopicsStats struct {
	FramesIn, FramesOut     uint64 // of all kinds
	BytesIn, BytesOut       uint64
	MessagesIn, MessagesOut uint64
	Lost                    uint64 // messages that others have sent here and that have not come
	Late                    uint64 // messages that have come behind later ones, and were dropped
	LateStatements          uint64 // the same of what others say of their interest
	Unwanted                uint64 // messages that came when nobody was subscribed any more
	Refused                 uint64 // messages that were not sent, since there was no connection
	Dropped                 uint64 // messages that were not sent, since the queue was full
	TooLong                 uint64 // the same, since they are longer than the bus allows
	Errors                  uint64 // of the connection
	RefusedAnswers          uint64 // to questions of others, of which there were too many
	Ignored                 [numIgnored]uint64
	Barriers                uint64
	BarrierTimeouts         uint64 // that not all have answered, or were asked
	Distrusts               uint64 // times that nothing was trusted that is known of others' subscribers
	Excluded                int    // nodes that are not waited for
	Bypassing               int    // those of them that are sent no messages, since too much is on its way to them
	Bypassed                uint64 // messages that they were not sent
	Queue                   int64  // bytes that wait to be sent
	Memory                  int64  // bytes in all
	Topics                  int    // with subscribers here, or some a moment ago
	Known                   int    // topics that are published to here
	Hot                     int    // of them those with credits
}

// newTopics makes the topics of a node. config.Engine gets what others publish.
func newTopics(config *Config, bus Bus, nodes *nodes) *topics {
	t := assemble(config, bus, nodes)
	if e := config.Engine; e != nil {
		t.trust.now = e.Now
		t.kind = func(n int64) { e.Charge(engine.KindCluster, n) }
		t.newPeer = func() injector { return e.NewInjector() }
		t.acks.crowd = func(name string) crowd { return e.NewCrowd(name) }
		if h := t.history; h != nil {
			h.keeps = e.History().Keeps
			t.newReplica = func() replica { return e.NewReplica() }
		}
	}
	return t
}

func assemble(config *Config, bus Bus, nodes *nodes) *topics {
	t := &topics{
		self: origin{config.Self, config.Incarnation}, bus: bus, nodes: nodes, subs: newSubjects(config.Name),
		log: lograte.Logger(config.logger()), kind: func(int64) {},
		wakes: make(chan struct{}, 1), stop: make(chan struct{}), kept: make(chan struct{}),
		known: make(chan struct{}),
	}
	limit := int64(cmp.Or(max(config.Queue, 0), 8<<20))
	timeout := cmp.Or(max(config.BarrierTimeout, 0), 250*time.Millisecond)
	t.trust.init(timeout*3/5, t.wake, func() {
		t.counts.distrusts.Add(1)
		t.interest.changes.Add(1)
	})
	t.interest = newInterest(nodes, t.subs, t.charge, t.sender.wake, t.wake, &t.trust)
	t.ours = &ours{
		subs: t.subs, linger: cmp.Or(max(config.Linger, 0), 10*time.Second), charge: t.charge,
		post: t.sender.post, wake: t.wake, topics: make(map[string]*ownTopic),
	}
	t.barriers = barriers{
		nodes: nodes, timeout: timeout, flying: make(map[uint64]*barrier), slow: make(map[uint8]*slowNode),
		records: make(map[uint8]record),
	}
	t.credits = credits{window: uint64(cmp.Or(max(config.Window, 0), 4<<20)), hot: make(map[*target]*credit)}
	t.acks = acks{post: t.sender.post, wake: t.wake, topics: make(map[string]*askedTopic)}
	t.sender = sender{
		t: t, limit: limit, pace: uint64(cmp.Or(max(config.WindowTotal, 0), 32<<20)),
		wakes: make(chan struct{}, 1), done: make(chan struct{}),
	}
	t.receiver = receiver{
		t: t, mine: t.subs.node(t.self.id), heard: make(map[uint8]heard),
		wakes: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if config.History.Stream != nil {
		t.history = newHistory(t, config)
		t.ours.letGo = t.history.letGo
	}
	return t
}

func (t *topics) charge(n int64) {
	t.bytes.Add(n)
	t.kind(n)
}

func (t *topics) wake() {
	select {
	case t.wakes <- struct{}{}:
	default:
	}
}

// Reaches implements engine.Remote.
func (t *topics) Reaches(name []byte, now int64) bool { return t.interest.reaches(name, now) }

// Changes implements engine.Remote.
func (t *topics) Changes() uint64 { return t.interest.number() }

// Congested implements engine.Remote.
func (t *topics) Congested(name []byte) bool {
	if t.sender.congested.Load() {
		return true
	}
	e := t.interest.find(name)
	if e == nil || !e.congested.Load() {
		return false
	}
	e.used.Store(true) // who waits has not given the topic up
	return true
}

// Publish implements engine.Remote.
func (t *topics) Publish(name, records []byte, n int) {
	if !t.connected.Load() {
		t.counts.refused.Add(uint64(n))
		return
	}
	if len(name) == 0 || len(name) > maxName {
		return
	}
	if runHead(len(name))+len(records) > t.bus.MaxPayload()-1<<10 {
		if n > 1 {
			eachRecord(records, func(record []byte) { t.Publish(name, record, 1) })
			return
		}
		t.counts.tooLong.Add(1)
		t.drop(n, "a message is too long for the bus", name)
		return
	}
	if !t.sender.put(t.interest.get(name), name, records, n) {
		t.counts.dropped.Add(uint64(n))
		t.drop(n, "the queue to other nodes is full", name)
	}
}

func (t *topics) drop(n int, why string, name []byte) {
	t.log.Warn("messages did not go to other nodes", "why", why, "topic", string(name), "messages", n)
}

// Subscribed implements engine.Remote.
func (t *topics) Subscribed(name string) { t.ours.gained(name) }

// Unsubscribed implements engine.Remote.
func (t *topics) Unsubscribed(name string) { t.ours.lost(name) }

// Expect implements engine.Remote.
func (t *topics) Expect(name []byte) { t.ours.expect(name) }

// Settle implements engine.Remote. f is called by the keeper: it must not block for long.
func (t *topics) Settle(name []byte, f func()) bool {
	alone := len(t.nodes.all()) == 0 && (t.history == nil || !t.history.keeps(name))
	return !alone && t.ours.settle(name, f)
}

// start implements plane. It lets the goroutines run.
func (t *topics) start(waitForAll bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started || t.closed {
		return
	}
	t.started = true
	t.barriers.setWaitForAll(waitForAll)
	if t.newPeer != nil {
		t.injector = t.newPeer()
	}
	if t.history != nil {
		if t.newReplica != nil {
			t.history.replica = t.newReplica()
		}
		t.history.start()
	}
	go t.sender.run(t.stop)
	go t.receiver.run(t.stop, t.bus.Messages())
	go t.keep()
}

// greeted implements plane.
func (t *topics) greeted() <-chan struct{} { return t.known }

// greetingDone implements plane.
func (t *topics) greetingDone() {
	t.barriers.setWaitForAll(false)
	t.wake()
}

// changed says that there is a connection, or none any more. Others may have forgotten this node.
func (t *topics) changed(connected bool) {
	if !connected {
		t.connected.Store(false)
		if t.history != nil {
			t.history.forget()
		}
		t.later(t.ours.change(false))
		t.later(tells(t.barriers.forget(), false))
		t.credits.forget()
		t.sender.wake()
		return
	}
	t.interest.reset()
	t.trust.close(excludedFor) // others may have said meanwhile that they do not wait for this node
	t.later(t.ours.change(true))
	t.sender.post(job{kind: jobConnected}) // first: no message goes before the first barrier
	t.connected.Store(true)
	t.sender.wake()
}

// nodeGone forgets a node, or a process, that has left the table.
func (t *topics) nodeGone(m Member) {
	t.trust.warn(m.ID, false)
	for _, b := range t.barriers.gone(m.ID) {
		t.passed(b)
	}
	t.interest.gone(m.ID)
	t.credits.gone(m.ID)
	t.mu.Lock()
	t.left = append(t.left, m.ID)
	t.mu.Unlock()
	t.wake()
}

// passed is called when nobody is waited for any more who has not answered a barrier.
func (t *topics) passed(b *barrier) {
	switch b.use {
	case forTopics, forEverybody:
		if b.use == forEverybody {
			t.knownOnce.Do(func() { close(t.known) })
		}
		plain := b.topics
		if t.history != nil {
			plain = t.history.joinThose(b.topics)
		}
		t.later(t.ours.settled(plain))
	case forPassed:
		if !b.partial {
			t.sender.passed(b)
		}
		t.later(tells(b.passings, !b.partial))
	}
	t.sender.wake()
}

// later has the keeper call functions.
func (t *topics) later(due []func()) {
	if len(due) == 0 {
		return
	}
	t.mu.Lock()
	t.due = append(t.due, due...)
	t.mu.Unlock()
	t.wake()
}

// keep is the keeper: the goroutine that sees to what takes time.
func (t *topics) keep() {
	defer close(t.kept)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-t.stop:
			t.callDue()
			return
		case <-t.wakes:
		case <-timer.C:
		}
		timer.Reset(t.tick(time.Now()))
	}
}

func (t *topics) callDue() {
	t.mu.Lock()
	due, left := t.due, t.left
	t.due, t.left = nil, nil
	t.mu.Unlock()
	for _, id := range left {
		t.acks.gone(id)
	}
	for _, f := range due {
		f()
	}
}

// tick does what is due, and returns when it wants to be called again.
func (t *topics) tick(now time.Time) time.Duration {
	late, resend, say, again := t.barriers.expire(now)
	for _, b := range late {
		t.passed(b)
	}
	for _, b := range resend {
		t.sender.post(job{kind: jobAgain, barrier: b})
	}
	for kind, ids := range entries(say) {
		if len(ids) > 0 {
			t.sender.post(job{kind: kind, ids: ids})
		}
	}
	wait, due := t.ours.tick(now)
	t.later(due)
	again = min(again, wait, t.trust.tick(), t.credits.tick(now), t.acks.tick(now), t.interest.tick(now))
	t.callDue()
	return max(again, time.Millisecond)
}

// close sends what is queued, within a second, and ends the goroutines. Who waits for others waits no
// longer.
func (t *topics) close() {
	t.mu.Lock()
	started, closed := t.started, t.closed
	t.closed = true
	t.mu.Unlock()
	if closed {
		return
	}
	close(t.stop)
	if started {
		<-t.sender.done
		<-t.receiver.done
		<-t.kept
	}
	if t.history != nil {
		t.history.close()
	}
	t.connected.Store(false)
	t.later(t.ours.change(false))
	t.callDue()
	lograte.Flush(t.log)
}

// stats returns the counters.
func (t *topics) stats() TopicsStats {
	c := &t.counts
	s := TopicsStats{
		FramesIn: c.framesIn.Load(), FramesOut: c.framesOut.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		MessagesIn: c.messagesIn.Load(), MessagesOut: c.messagesOut.Load(),
		Lost: c.lost.Load(), Late: c.late.Load(), LateStatements: c.lateStatements.Load(),
		Unwanted: c.unwanted.Load(), Refused: c.refused.Load(), Dropped: c.dropped.Load(), TooLong: c.tooLong.Load(),
		Errors: c.errors.Load(), RefusedAnswers: c.refusedAnswers.Load(),
		Barriers: t.barriers.count.Load(), BarrierTimeouts: t.barriers.timeouts.Load(),
		Distrusts: t.counts.distrusts.Load(), Excluded: t.barriers.excluded(),
		Bypassing: int(c.bypassing.Load()), Bypassed: c.bypassed.Load(),
		Queue: t.sender.queued.Load(), Memory: t.bytes.Load(),
		Topics: t.ours.number(), Known: int(t.interest.count.Load()), Hot: t.credits.number(),
	}
	for i := range c.ignored {
		s.Ignored[i] = c.ignored[i].Load()
	}
	return s
}

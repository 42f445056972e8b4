package cluster

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// Errors of a command, for each node that it was to go to.
var (
	ErrAway    = errors.New("cluster: NATS is away")
	ErrFull    = errors.New("cluster: too much waits to be sent to other nodes")
	ErrTooLong = errors.New("cluster: a command is too long")
	ErrGone    = errors.New("cluster: the node is not there, or has left")
	ErrSuspect = errors.New("cluster: the node does not renew its lease")
	ErrSilent  = errors.New("cluster: the node has not answered in time")
	ErrBusy    = errors.New("cluster: the node is busy")
	ErrFailed  = errors.New("cluster: the node has failed to do it")
	ErrStopped = errors.New("cluster: stopped")
)

const (
	// askWait is how long an answer may take where nobody says otherwise.
	askWait = time.Second
	// maxWhole bounds a payload in bytes, however many frames it has.
	maxWhole = 64 << 20
	// maxCalls bounds the commands that wait for answers. At 50,000 a second it is what a node that
	// stands still costs until they are given up.
	maxCalls = 1 << 16
	// callCost is about what one costs, in bytes.
	callCost = 256
)

// An rpc carries commands to other nodes over the control connection, and their answers back. Each node
// has one subject for what is for it alone, so that answers need no subscription of their own. Commands
// of one node to another are carried out in their order. Its methods may be called from any goroutine,
// also from loops: all but await return at once.
type rpc struct {
	config   *Config
	bus      Bus
	nodes    *nodes
	log      *slog.Logger
	self     origin
	subjects subjects
	part     int // bytes of a payload that go into one frame
	handler  atomic.Pointer[func(from uint8, payload []byte, answer func([]byte))]
	out      outgoing
	stats    rpcStats
	stop     chan struct{}
	tasks    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	calls  map[uint64]*call
	next   uint64
	peers  map[uint8]*peer
	closed bool
}

// A call is a command whose answers are waited for.
type call struct {
	number uint64
	left   []*answering
	each   func(node uint8, answer []byte, err error)
	done   func()
	timer  *time.Timer
}

// An answering is a node that has not answered yet.
type answering struct {
	node     origin
	assembly assembly
}

// rpcStats count what becomes of commands.
type rpcStats struct {
	told, asked, served, answered, late, busy, panics atomic.Uint64
	away, full, tooLong, silent, unsent               atomic.Uint64
	foreign, version, own, short, sender, again       atomic.Uint64
}

// RPCStats are the counters of commands between nodes.
type RPCStats struct {
	Told     uint64 // commands that were sent and want no answer
	Asked    uint64 // those that want one
	Served   uint64 // of other nodes that were carried out
	Answered uint64 // answers that have come
	Late     uint64 // those that nobody waits for any more
	Silent   uint64 // nodes that have not answered in time
	Busy     uint64 // commands of other nodes that were refused: too many waited
	Panics   uint64 // commands of other nodes that panicked

	Refused map[string]uint64 // commands and answers that were not sent, by reason
	Ignored map[string]uint64 // frames that came and were not understood, by reason

	Waiting      int // now: commands that wait for answers
	WaitingBytes int // now: bytes that wait to be sent
}

func newRPC(config *Config, bus Bus, nodes *nodes) *rpc {
	r := &rpc{
		config: config, bus: bus, nodes: nodes, log: config.logger(),
		self: origin{config.Self, config.Incarnation}, subjects: newSubjects(config.Name),
		stop: make(chan struct{}), calls: make(map[uint64]*call), peers: make(map[uint8]*peer),
	}
	r.out.init(config.Queue, r.charge)
	return r
}

// charge counts bytes that are kept for other nodes, or takes them away.
func (r *rpc) charge(n int) {
	if e := r.config.Engine; e != nil {
		e.Charge(engine.KindCluster, int64(n))
	}
}

// serve says what carries out the commands of others. It runs on a goroutine of the node's that they
// come from, one after the other, and owns payload. It may block: then that node's commands wait. answer
// is nil when none is wanted, else it is called once, from any goroutine; the bytes are copied.
func (r *rpc) serve(f func(from uint8, payload []byte, answer func([]byte))) { r.handler.Store(&f) }

// start begins to send and to receive.
func (r *rpc) start() {
	r.part = max(min(r.bus.MaxPayload(), 1<<20)-1024, 1024)
	for _, subject := range []string{r.subjects.command(r.self.id), r.subjects.commands()} {
		if err := r.bus.Subscribe(subject); err != nil {
			r.log.Error("no commands of other nodes are heard", "subject", subject, "err", err)
		}
	}
	r.tasks.Go(r.send)
	r.tasks.Go(r.receive)
}

// close ends what waits for answers and waits for the goroutines. Handlers must come to an end.
func (r *rpc) close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	close(r.stop)
	for _, p := range r.peers {
		p.end()
	}
	var all []*call
	for _, c := range r.calls {
		all = append(all, c)
	}
	r.mu.Unlock()
	for _, c := range all {
		r.give(c, ErrStopped)
	}
	r.tasks.Wait()
	r.out.close()
}

// await waits until there is room to send something, for no longer than wait. The error is ErrFull,
// ErrAway or ErrStopped.
func (r *rpc) await(wait time.Duration) error {
	if !r.bus.Connected() {
		return ErrAway
	}
	room := r.out.room()
	if room == nil {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-room:
		return nil
	case <-t.C:
		return ErrFull
	case <-r.stop:
		return ErrStopped
	}
}

// tell sends a command to some nodes, nil: to all. The error says that it was sent to none of them, or
// not to some; what becomes of it there nobody says.
func (r *rpc) tell(nodes []uint8, payload []byte) error {
	if err := r.sendable(payload); err != nil {
		return err
	}
	r.stats.told.Add(1)
	number := r.number()
	if nodes == nil {
		return r.command(0, r.subjects.commands(), commandFrame{number: number, payload: payload}, nil)
	}
	var failed error
	for _, id := range nodes {
		m, ok := r.nodes.find(id)
		if !ok {
			failed = ErrGone
			continue
		}
		f := commandFrame{to: m.Incarnation, number: number, payload: payload}
		if err := r.command(id, r.subjects.command(id), f, nil); err != nil {
			failed = err
		}
	}
	return failed
}

// ask sends a command to some nodes, nil: to all, and has each called once for each of them, with its
// answer or an error, within wait; zero means 1 s. done, which may be nil, is called behind them. They
// are called on any goroutine, also on this one before ask returns, and perhaps at the same time. The
// answer is each's.
func (r *rpc) ask(
	nodes []uint8, payload []byte, wait time.Duration, each func(node uint8, answer []byte, err error), done func(),
) {
	if wait <= 0 {
		wait = askWait
	}
	if done == nil {
		done = func() {}
	}
	whole := nodes == nil
	if whole {
		for _, m := range r.nodes.all() {
			nodes = append(nodes, m.ID)
		}
	}
	err := r.sendable(payload)
	c := &call{number: r.number(), each: each, done: done}
	for _, id := range nodes {
		m, ok := r.nodes.find(id)
		switch {
		case err != nil:
			each(id, nil, err)
		case !ok:
			each(id, nil, ErrGone)
		case m.Suspect:
			each(id, nil, ErrSuspect)
		default:
			c.left = append(c.left, &answering{node: origin{id, m.Incarnation}})
		}
	}
	if len(c.left) == 0 {
		done()
		return
	}
	asked := slices.Clone(c.left)
	r.stats.asked.Add(1)
	if err := r.enter(c, wait); err != nil {
		for _, a := range asked {
			each(a.node.id, nil, err)
		}
		done()
		return
	}
	f := commandFrame{flags: flagWantsAnswer, number: c.number, payload: payload}
	if whole {
		if err := r.command(0, r.subjects.commands(), f, c); err != nil {
			r.give(c, err)
		}
		return
	}
	for _, a := range asked {
		f.to = a.node.incarnation
		if err := r.command(a.node.id, r.subjects.command(a.node.id), f, c); err != nil {
			r.finish(c, a.node, nil, err)
		}
	}
}

// sendable says why a command cannot go out.
func (r *rpc) sendable(payload []byte) error {
	switch {
	case len(payload) > maxWhole:
		r.stats.tooLong.Add(1)
		return ErrTooLong
	case !r.bus.Connected():
		r.stats.away.Add(1)
		return ErrAway
	}
	return nil
}

func (r *rpc) number() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return r.next
}

// enter has a call wait for its answers.
func (r *rpc) enter(c *call, wait time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrStopped
	}
	if len(r.calls) >= maxCalls {
		r.stats.full.Add(1)
		return ErrFull
	}
	r.calls[c.number] = c
	r.charge(callCost)
	c.timer = time.AfterFunc(wait, func() { r.give(c, ErrSilent) })
	return nil
}

// command queues the frames of a command for one node, or for all with id 0 and that subject.
func (r *rpc) command(id uint8, subject string, f commandFrame, c *call) error {
	payload, flags := f.payload, f.flags
	var frames [][]byte
	split(payload, r.part, func(more uint8, part uint32, b []byte) {
		f.flags, f.part, f.payload = flags|more, part, b
		frame := appendHeader(make([]byte, 0, commandHead+len(b)), KindCommand, r.self)
		frames = append(frames, f.append(frame))
	})
	var number uint64
	if c != nil {
		number = c.number
	}
	if !r.out.put(subject, frames, number) {
		r.stats.full.Add(1)
		return ErrFull
	}
	return nil
}

// finish is what a node has answered, or why it will not.
func (r *rpc) finish(c *call, node origin, answer []byte, err error) {
	r.mu.Lock()
	i := slices.IndexFunc(c.left, func(a *answering) bool { return a.node == node })
	if i < 0 {
		r.mu.Unlock()
		return
	}
	c.left = slices.Delete(c.left, i, i+1)
	over := len(c.left) == 0
	if over {
		r.leave(c)
	}
	r.mu.Unlock()
	c.each(node.id, answer, err)
	if over {
		c.done()
	}
}

// give gives up those that have not answered.
func (r *rpc) give(c *call, err error) {
	r.mu.Lock()
	left := c.left
	c.left = nil
	if len(left) > 0 {
		r.leave(c)
	}
	r.mu.Unlock()
	if len(left) == 0 {
		return
	}
	for _, a := range left {
		if errors.Is(err, ErrSilent) {
			r.stats.silent.Add(1)
		}
		c.each(a.node.id, nil, err)
	}
	c.done()
}

// leave takes a call out. r.mu is held.
func (r *rpc) leave(c *call) {
	delete(r.calls, c.number)
	r.charge(-callCost)
	c.timer.Stop()
}

// nodeGone ends the waits for a node, or process, that has left the table, and what it wanted done.
func (r *rpc) nodeGone(m Member) {
	who := origin{m.ID, m.Incarnation}
	var waiting []*call
	r.mu.Lock()
	for _, c := range r.calls {
		if slices.ContainsFunc(c.left, func(a *answering) bool { return a.node == who }) {
			waiting = append(waiting, c)
		}
	}
	if p := r.peers[m.ID]; p != nil && p.origin == who {
		delete(r.peers, m.ID)
		p.end()
	}
	r.mu.Unlock()
	for _, c := range waiting {
		r.finish(c, who, nil, ErrGone)
	}
}

// counts returns the counters.
func (r *rpc) counts() RPCStats {
	s := &r.stats
	r.mu.Lock()
	waiting := len(r.calls)
	r.mu.Unlock()
	return RPCStats{
		Told: s.told.Load(), Asked: s.asked.Load(), Served: s.served.Load(), Answered: s.answered.Load(),
		Late: s.late.Load(), Silent: s.silent.Load(), Busy: s.busy.Load(), Panics: s.panics.Load(),
		Refused: map[string]uint64{
			"away": s.away.Load(), "full": s.full.Load(), "too_long": s.tooLong.Load(), "unsent": s.unsent.Load(),
		},
		Ignored: map[string]uint64{
			"foreign": s.foreign.Load(), "version": s.version.Load(), "own": s.own.Load(),
			"short": s.short.Load(), "sender": s.sender.Load(), "again": s.again.Load(),
		},
		Waiting: waiting, WaitingBytes: r.out.size(),
	}
}

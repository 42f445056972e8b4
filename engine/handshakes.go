package engine

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine/internal/address"
)

// Handshakes are bounded in number, and so is what one address has of them; further ones wait, without a
// goroutine, and addresses take turns. Of those that have begun, only so many compute at a time that the
// loops have processors left.
type handshakes struct {
	limits func() *Limits
	cpu    chan struct{} // one value for each that computes
	crowd  chan struct{} // one for each of a crowd's that does, or is next
	ended  sync.WaitGroup
	// onWake is the simulation's: a loop has given a goroutine something to do.
	onWake func()

	mu      sync.Mutex
	closed  bool
	running int
	from    map[netip.Addr]int     // running, by address
	waiting map[netip.Addr]*queued // by address, those that have any
	turns   []*queued              // the same, in the order of their turns
	next    int                    // of turns
	length  int                    // of all queues
}

// handshakeShare is the part of Limits.MaxHandshakes that one address may have.
const handshakeShare = 4

// handshakes returns how many may be under way: MaxHandshakes, or as many as there is room for in
// BacklogTotal, of which they are part. Handshakes that are left to stand would have others closed.
func (n *Limits) handshakes() int {
	return int(min(int64(n.MaxHandshakes), max(n.BacklogTotal/handshakeMemory, handshakeShare)))
}

// A place is a handshake's among the others.
type place struct {
	key         netip.Addr   // what its address is counted by
	prev, after *handshake   // in the queue of its address
	queue       *queued      // nil when it does not wait
	computing   atomic.Int32 // computesNot, or how it does
	timer       *time.Timer  // takes that away
	begun       atomic.Bool  // it has a goroutine
}

// queued are the handshakes of one address that wait, first come first served.
type queued struct {
	key         netip.Addr
	first, last *handshake
	turn        int // its index in turns
}

func (hs *handshakes) init(e *Engine) {
	hs.limits = e.limits.Load
	hs.cpu = make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1))
	hs.crowd = make(chan struct{}, cap(hs.cpu))
	hs.from = make(map[netip.Addr]int)
	hs.waiting = make(map[netip.Addr]*queued)
}

// add begins h, or has it wait. A peer without an address shares the bound of all alone.
func (hs *handshakes) add(h *handshake) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.key = address.Key(h.peer.Addr())
	switch {
	case hs.closed:
	case hs.mayRun(h.key):
		hs.start(h)
	default:
		hs.enqueue(h)
	}
}

// mayRun reports whether a handshake of an address may begin.
func (hs *handshakes) mayRun(key netip.Addr) bool {
	limit := hs.limits().handshakes()
	return hs.running < limit && (!key.IsValid() || hs.from[key] < max(limit/handshakeShare, 1))
}

func (hs *handshakes) start(h *handshake) {
	hs.running++
	hs.from[h.key]++
	hs.ended.Add(1)
	h.begun.Store(true)
	go h.run()
}

func (hs *handshakes) enqueue(h *handshake) {
	q := hs.waiting[h.key]
	if q == nil {
		q = &queued{key: h.key, turn: len(hs.turns)}
		hs.waiting[h.key] = q
		hs.turns = append(hs.turns, q)
	}
	h.queue, h.prev = q, q.last
	if q.last != nil {
		q.last.after = h
	} else {
		q.first = h
	}
	q.last = h
	hs.length++
}

// dequeue takes h off its queue.
func (hs *handshakes) dequeue(h *handshake) {
	q := h.queue
	if h.prev != nil {
		h.prev.after = h.after
	} else {
		q.first = h.after
	}
	if h.after != nil {
		h.after.prev = h.prev
	} else {
		q.last = h.prev
	}
	h.queue, h.prev, h.after = nil, nil, nil
	hs.length--
	if q.first == nil {
		delete(hs.waiting, q.key)
		last := len(hs.turns) - 1
		moved := hs.turns[last]
		hs.turns[q.turn], moved.turn = moved, q.turn
		hs.turns[last] = nil
		hs.turns = hs.turns[:last]
	}
}

// startNext begins what waits and may run, an address after the other. At most handshakeShare addresses
// have their share already and are passed over.
func (hs *handshakes) startNext() {
	for passed := 0; passed < len(hs.turns); {
		if hs.next >= len(hs.turns) {
			hs.next = 0
		}
		q := hs.turns[hs.next]
		if !hs.mayRun(q.key) {
			if hs.running >= hs.limits().handshakes() {
				return
			}
			hs.next++
			passed++
			continue
		}
		passed = 0
		h := q.first
		before := len(hs.turns)
		hs.dequeue(h)
		if len(hs.turns) == before {
			hs.next++
		}
		hs.start(h)
	}
}

// done notes that h's goroutine ends.
func (hs *handshakes) done(h *handshake) {
	hs.mu.Lock()
	hs.running--
	if hs.from[h.key]--; hs.from[h.key] == 0 {
		delete(hs.from, h.key)
	}
	if !hs.closed {
		hs.startNext()
	}
	hs.mu.Unlock()
	hs.ended.Done()
}

// abandon ends h, whose connection is over. Of thousands that end together the goroutines may be at the
// lock, in a queue: a loop does not join it for one that has begun.
func (hs *handshakes) abandon(h *handshake) {
	h.cancel()
	if h.begun.Load() {
		hs.woke()
		return
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h.queue != nil {
		hs.dequeue(h)
	}
}

// woke tells the simulation that a loop has given a goroutine something to do.
func (hs *handshakes) woke() {
	if f := hs.onWake; f != nil {
		f()
	}
}

// retry begins what a limit that is larger now lets begin.
func (hs *handshakes) retry() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if !hs.closed {
		hs.startNext()
	}
}

// computeTime is how long one computes at most: what takes longer waits for something, such as a
// certificate that a function of the tls.Config asks somebody for, and others need not wait with it.
const computeTime = 50 * time.Millisecond

// crowdOf is how many handshakes under way make an address a crowd: more than a client, or a few, have.
const crowdOf = 8

// How a handshake computes.
const (
	computesNot   = iota
	computesAlone // it has a value in cpu
	computesCrowd // and one in crowd
)

// acquire waits until h may compute. It reports false when its connection is over. Those of a crowd wait
// among themselves first, so that others wait for few of them, however many they are.
func (hs *handshakes) acquire(h *handshake) bool {
	computes := int32(computesAlone)
	if hs.crowded(h.key) {
		select {
		case hs.crowd <- struct{}{}:
		case <-h.ctx.Done():
			return false
		}
		computes = computesCrowd
	}
	select {
	case hs.cpu <- struct{}{}:
	case <-h.ctx.Done():
		if computes == computesCrowd {
			<-hs.crowd
		}
		return false
	}
	h.computing.Store(computes)
	if h.timer == nil {
		h.timer = time.AfterFunc(computeTime, func() { hs.giveBack(h) })
	} else {
		h.timer.Reset(computeTime)
	}
	return true
}

func (hs *handshakes) crowded(key netip.Addr) bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.from[key] > crowdOf
}

// release lets another one compute.
func (hs *handshakes) release(h *handshake) {
	if h.timer != nil {
		h.timer.Stop()
	}
	hs.giveBack(h)
}

func (hs *handshakes) giveBack(h *handshake) {
	switch h.computing.Swap(computesNot) {
	case computesAlone:
		<-hs.cpu
	case computesCrowd:
		<-hs.cpu
		<-hs.crowd
	}
}

// close begins no more, and waits for those that have begun, whose connections are over, but for
// stopGrace at most: a function of a tls.Config may take its time.
func (hs *handshakes) close() error {
	hs.mu.Lock()
	hs.closed = true
	hs.mu.Unlock()
	done := make(chan struct{})
	go func() {
		hs.ended.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(stopGrace):
		select {
		case <-done: // the process has stood still, and both have come
			return nil
		default:
		}
		return errors.New("engine: a TLS handshake does not end")
	}
}

// now returns how many are under way and how many wait.
func (hs *handshakes) now() (running, waiting int) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.running, hs.length
}

// HandshakeStats are the counters of TLS.
type HandshakeStats struct {
	TLS12, TLS13 uint64 // handshakes that were completed, by version
	Resumed      uint64 // of those, from session tickets
	Failed       uint64 // refused by one side
	TimedOut     uint64
	Abandoned    uint64 // the connection ended meanwhile
	KeyUpdates   uint64 // records without data, after the handshake: new keys, mostly

	Running int // now, with a goroutine
	Waiting int // now, for their turn
}

// handshakeStats are one loop's share of them.
type handshakeStats struct {
	tls12, tls13, resumed, failed, timedOut, abandoned, keyUpdates atomic.Uint64
}

// count counts a handshake that was completed.
func (s *handshakeStats) count(t *tlsConn) {
	state := t.tls.ConnectionState()
	if state.Version >= tls.VersionTLS13 {
		s.tls13.Add(1)
	} else {
		s.tls12.Add(1)
	}
	if state.DidResume {
		s.resumed.Add(1)
	}
}

func (s *handshakeStats) addTo(all *HandshakeStats) {
	all.TLS12 += s.tls12.Load()
	all.TLS13 += s.tls13.Load()
	all.Resumed += s.resumed.Load()
	all.Failed += s.failed.Load()
	all.TimedOut += s.timedOut.Load()
	all.Abandoned += s.abandoned.Load()
	all.KeyUpdates += s.keyUpdates.Load()
}

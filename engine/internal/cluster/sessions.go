package cluster

import (
	"container/heap"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/lograte"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

const (
	// sessionPause is the least time between two writes of one session.
	sessionPause = time.Second
	// sessionWriters is how many writes are under way at once: with answers in 1 ms some 16,000 a second.
	sessionWriters = 16
	// sessionTakers is how many sessions are taken over at once.
	sessionTakers = 32
	// maxSessionQueue bounds the sessions that wait to be written, and maxTakes those that wait to be taken.
	maxSessionQueue = 1 << 18
	maxTakes        = 1 << 14
	// giveWait is how long a node may take to give a session up.
	giveWait = 500 * time.Millisecond
	// takeWait is how long taking a session over may take in all.
	takeWait = 3 * time.Second
	// shareWait is how long a connection's loop may take to say what is in its session.
	shareWait = time.Second
	// checkPace is the time between two sessions that are looked at after NATS was away.
	checkPace = 500 * time.Microsecond
	// sharedCost is about what an entry costs, in bytes: itself, and its place in map and queue.
	sharedCost = 192
	// readmitAtOnce is how many sessions that did not fit into the queue are put there at once.
	readmitAtOnce = 256
	// storePause is how long nothing is written after the store has failed.
	storePause = 250 * time.Millisecond
)

// SessionHolder is what a Node needs of its gateway: gateway.Gateway says what its methods do.
type SessionHolder interface {
	ShareSession(id session.SessionID, upTo topic.Position, done func(session.Shared, error))
	StepSession(shared *session.Shared, t session.Ticket) error
	GiveSession(id session.SessionID, serial uint32, done func(session.Shared, error))
	LoseSession(id session.SessionID)
	EndShared(id session.SessionID)
	SharedSessions() []session.SessionID
	CutTrails()
	AskReceived(upTo topic.Position, done func(rest topic.Position, behind []gateway.Laggard, ok bool))
	// Keeps reports whether a topic has history.
	Keeps(topic string) bool
}

// An asker carries commands to other nodes; an rpc is one.
type asker interface {
	tell(nodes []uint8, payload []byte) error
	ask(nodes []uint8, payload []byte, wait time.Duration, each func(node uint8, answer []byte, err error), done func())
}

// sessions has the sessions of clients be resumed on other nodes. What a node knows of a session is in
// the Store, under the session's id, and is written when it has changed, at most once a second. Its key's
// last revision makes a node the session's owner: who takes it over writes behind that revision, which
// only one of several can, and has asked the owner to give it up before, if that one is there.
//
// It is a gateway.SessionShare. Changed, Ended and Forgotten are called on loops; they take one lock for a
// few operations of a map and a heap.
type sessions struct {
	store  Store
	nodes  *nodes
	self   origin
	max    int // bytes of a value
	log    *slog.Logger
	charge func(n int)
	bounds struct{ queue int }

	holder SessionHolder // set by start
	rpc    asker         // likewise
	// reach returns the position of the log up to which all that is heard here has been handed to the
	// engine; ok is false while that is not known. on reports whether topics have history now. Both are set
	// before start, or none has.
	reach  func() (at topic.Position, ok bool)
	on     func() bool
	clock  func() time.Time // NATS's
	stats  sessionStats
	takes  chan sessionTake
	kick   chan struct{}
	stop   chan struct{} // takers
	halt   chan struct{} // writers
	tasks  sync.WaitGroup
	takers sync.WaitGroup

	mu        sync.Mutex // guards what follows
	entries   map[session.SessionID]*sharedEntry
	taking    map[session.SessionID]int // takes that are under way: their key may be this node's already
	queue     sharedQueue
	connected bool
	missed    []*sharedEntry // those that did not fit into queue
	hold      time.Time      // nothing is written until then
	looked    time.Time      // when the Store was found to have lost some
	failed    error          // why the last write has; nil: it has not
	closing   bool
	writing   int
	points    points
}

// A sharedEntry is what is known of the key of a session of this node's. sessions.mu guards it, but while
// writing is true its writer has revision and sum.
type sharedEntry struct {
	id       session.SessionID
	revision uint64 // of its key; 0: there is none, as far as is known
	sum      uint64 // of the value
	written  time.Time
	due      time.Time
	pos      int32 // in sessions.queue; -1: it is not there
	dirty    bool  // it has changed
	check    bool  // its key is looked at even if it has not
	ended    bool  // the session has
	writing  bool
	unsure   bool            // it was perhaps ended elsewhere without its owner having heard
	giving   bool            // it is given up: nothing is written but last
	last     *session.Shared // what is given up
	missed   bool
	gone     bool   // it is not in sessions.entries any more
	awaited  uint64 // the round of checkpoints since which its next write is; 0: it is not
	awaiting uint64 // the same of the write that is under way
	then     func() // called once it is not writing
}

type sessionTake struct {
	ticket session.Ticket
	done   func(session.Shared, error)
}

// sessionStats count what becomes of sessions.
type sessionStats struct {
	written, failed, over, lost, given, notGiven, ended, foreign atomic.Uint64
	emptied                                                      atomic.Uint64
	taken, silent, loggedOver                                    atomic.Uint64
	points, pointsLate, marksCut                                 atomic.Uint64
	refused                                                      [numTakeErrors]atomic.Uint64
}

// SessionStats are the counters of sessions that can be resumed on other nodes.
type SessionStats struct {
	Written uint64 // writes of sessions' keys
	Failed  uint64 // those that failed, and are tried again
	Over    uint64 // changes that were not written when they were to be, since too many waited
	Taken   uint64 // sessions that were taken over from other nodes
	Silent  uint64 // those whose owner did not answer
	Given   uint64 // sessions that were given up to others
	Kept    uint64 // those that were not, since the ticket was not good
	Lost    uint64 // sessions that others have taken without an answer of this node
	Ended   uint64 // sessions of this node that were ended on others
	Foreign uint64 // values that could not be read
	Emptied uint64 // times that the bucket had lost what was there
	// Points are checkpoints that were written, and PointsLate those that were not, since too many clients
	// were behind, or their sessions could not be written.
	Points, PointsLate uint64
	MarksCut           uint64            // sessions whose positions were not written: too many, or too long
	Refused            map[string]uint64 // tickets of sessions that were not to be had, by reason
	Shared             int               // now: sessions with a key
	Waiting            int               // now: sessions that wait to be written
	Behind             int               // now: those whose key says that their connection lacks something
	// PointAge is how old the last checkpoint is; 0: there is none.
	PointAge time.Duration
}

// A takeError is why a session cannot be taken over.
type takeError uint8

const (
	takeUnknown takeError = iota // there is none, or its ticket is not good
	takeRival                    // somebody else has taken it at the same time
	takeAway                     // NATS is away
	takeBusy                     // too many are taken over
	takeFailed                   // NATS has failed
	numTakeErrors
)

var takeErrors = [numTakeErrors]struct{ reason, text string }{
	takeUnknown: {"unknown", "no such session, or a used ticket"},
	takeRival:   {"rival", "another node has taken it"},
	takeAway:    {"away", "NATS is away"},
	takeBusy:    {"busy", "too many sessions are taken over"},
	takeFailed:  {"failed", "NATS has failed"},
}

func (e takeError) Error() string { return "cluster: session: " + takeErrors[e].text }

func newSessions(config *Config, store Store, nodes *nodes, maxValue int) *sessions {
	s := &sessions{
		store: store, nodes: nodes, self: origin{config.Self, config.Incarnation}, max: maxValue,
		clock: config.now, log: lograte.Logger(config.logger()), entries: make(map[session.SessionID]*sharedEntry),
		taking: make(map[session.SessionID]int),
		takes:  make(chan sessionTake, maxTakes), kick: make(chan struct{}, sessionWriters),
		stop: make(chan struct{}), halt: make(chan struct{}), points: newPoints(),
	}
	s.bounds.queue = maxSessionQueue
	s.charge = func(n int) {
		if e := config.Engine; e != nil {
			e.Charge(engine.KindCluster, int64(n))
		}
	}
	return s
}

// start begins to write and to take over.
func (s *sessions) start(holder SessionHolder, rpc asker) {
	s.holder, s.rpc = holder, rpc
	for range sessionWriters {
		s.tasks.Go(s.writer)
	}
	for range sessionTakers {
		s.takers.Go(s.taker)
	}
	if s.on != nil {
		s.tasks.Go(func() { s.each(pointEvery, s.nextPoint) })
	}
	s.tasks.Go(func() { s.each(sampleEvery, s.sample) })
}

// each calls f again and again until the sessions are closed.
func (s *sessions) each(d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-s.halt:
			return
		case <-t.C:
			f()
		}
	}
}

// close writes what waits, until ctx is done, and ends the goroutines.
func (s *sessions) close(ctx context.Context) {
	close(s.stop)
	s.takers.Wait()
	s.mu.Lock()
	s.closing = true
	for _, e := range s.queue {
		e.due = time.Time{}
	}
	s.mu.Unlock()
	s.wake()
	for s.busy() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	close(s.halt)
	s.tasks.Wait()
	s.mu.Lock()
	s.charge(-sharedCost * len(s.entries))
	s.entries, s.queue = nil, nil
	s.mu.Unlock()
}

func (s *sessions) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected && (len(s.queue) > 0 || s.writing > 0)
}

// changed says whether there is a connection. When it is there again, all sessions are looked at: what
// has not been written is, and what others have taken meanwhile is found out.
func (s *sessions) changed(connected bool) {
	var ids []session.SessionID
	if connected {
		ids = s.holder.SharedSessions()
	}
	s.mu.Lock()
	again := connected && !s.connected
	s.connected, s.hold = connected, time.Time{}
	s.mu.Unlock()
	if again {
		s.checkAll(ids)
	} else if connected {
		s.wake()
	}
}

// status is a line for people, empty when nothing is wrong. s may be nil.
func (s *sessions) status() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := len(s.queue) + s.writing
	if s.failed == nil || waiting == 0 {
		return ""
	}
	return fmt.Sprintf("sessions: %d wait, and cannot be resumed elsewhere, since they cannot be written: %v", waiting, s.failed)
}

func (s *sessions) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// entry returns a session's entry, which it makes; nil when it is closed. s.mu is held.
func (s *sessions) entry(id session.SessionID) *sharedEntry {
	e := s.entries[id]
	if e == nil && s.entries != nil {
		e = &sharedEntry{id: id, pos: -1}
		s.entries[id] = e
		s.charge(sharedCost)
	}
	return e
}

// drop forgets an entry. s.mu is held.
func (s *sessions) drop(e *sharedEntry) {
	if e.gone {
		return
	}
	e.gone = true
	s.settle(e.awaited)
	e.awaited = 0
	s.setBehind(e, false)
	if e.pos >= 0 {
		heap.Remove(&s.queue, int(e.pos))
	}
	if s.entries != nil {
		delete(s.entries, e.id)
		s.charge(-sharedCost)
	}
}

// enqueue has an entry be written at a time, or sooner if it is to be. It reports false when there is no
// room. s.mu is held.
func (s *sessions) enqueue(e *sharedEntry, at time.Time) bool {
	e.dirty = true
	switch {
	case e.writing || e.giving || e.gone: // it is seen to then
	case e.pos >= 0:
		if at.Before(e.due) {
			e.due = at
			heap.Fix(&s.queue, int(e.pos))
		}
	case len(s.queue) >= s.bounds.queue:
		if !e.missed {
			e.missed = true
			s.missed = append(s.missed, e)
		}
		return false
	default:
		e.due = at
		heap.Push(&s.queue, e)
	}
	return true
}

// Changed implements session.Watcher.
func (s *sessions) Changed(id session.SessionID) {
	s.mu.Lock()
	e := s.entry(id)
	if e == nil || e.dirty {
		s.mu.Unlock()
		return
	}
	ok := s.enqueue(e, s.when(e, sessionPause))
	s.mu.Unlock()
	s.queued(ok)
}

// Ended implements session.Watcher.
func (s *sessions) Ended(id session.SessionID) {
	s.mu.Lock()
	e := s.entry(id)
	if e == nil || e.ended {
		s.mu.Unlock()
		return
	}
	e.ended = true
	ok := s.enqueue(e, time.Now())
	s.mu.Unlock()
	s.queued(ok)
}

// queued is called on loops, with a lock of the session store's held: it leaves the log to a writer.
func (s *sessions) queued(ok bool) {
	if !ok {
		s.stats.over.Add(1)
	}
	s.wake()
}

// Forgotten implements session.Watcher. The key expires by itself.
func (s *sessions) Forgotten(id session.SessionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[id]; e != nil && !e.ended {
		s.drop(e)
	}
}

// sharedQueue is a heap of entries by due.
type sharedQueue []*sharedEntry

func (q sharedQueue) Len() int           { return len(q) }
func (q sharedQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q sharedQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].pos, q[j].pos = int32(i), int32(j)
}

// Push implements heap.Interface.
func (q *sharedQueue) Push(x any) {
	e := x.(*sharedEntry)
	e.pos = int32(len(*q))
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *sharedQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.pos = -1
	if last == 0 {
		*q = nil // it was long once, perhaps
	}
	return e
}

// keyOfSession is a session's key in the Store.
func keyOfSession(id session.SessionID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// The value of a session's key: 'S', version 1, 0 or 1 for one that was ended, the owner's server id, its
// incarnation as uint64, big-endian; and, but for one that was ended, a session.Shared.
const sessionHead = headerLen

func appendSession(dst []byte, owner origin, shared *session.Shared) []byte {
	dst = append(dst, magic, version, 0, owner.id)
	return shared.Append(binary.BigEndian.AppendUint64(dst, owner.incarnation))
}

func (s *sessions) endValue() []byte {
	return binary.BigEndian.AppendUint64([]byte{magic, version, 1, s.self.id}, s.self.incarnation)
}

// value is what is written of a session, and its sum. Of one that is too long the places in histories are
// not, and if that is not enough, only the user is. The sum of one whose owner's checkpoint says where it
// is leaves its own places out: that they change is no reason to write it.
func (s *sessions) value(shared *session.Shared) (b []byte, sum uint64) {
	v := *shared
	if len(v.Snapshot.Marks) <= maxMarks {
		b = appendSession(nil, s.self, &v)
	}
	if n := len(v.Snapshot.Marks); n > maxMarks || n > 0 && len(b) > s.max {
		s.stats.marksCut.Add(1)
		v.Snapshot.Marks, v.Snapshot.MarksLost = nil, true
		b = appendSession(nil, s.self, &v)
	}
	if len(b) > s.max {
		v.Snapshot = session.Snapshot{Lost: true}
		b = appendSession(nil, s.self, &v)
	}
	if !v.Attached || v.Behind || len(v.Snapshot.Marks) == 0 {
		return b, xxhash.Sum64(b)
	}
	v.Snapshot.Marks = nil
	return b, xxhash.Sum64(appendSession(nil, s.self, &v))
}

func parseSession(b []byte) (owner origin, shared session.Shared, ended bool, err error) {
	switch {
	case len(b) < sessionHead || b[0] != magic || b[2] > 1:
		return owner, shared, false, errForeign
	case b[1] != version:
		return owner, shared, false, errVersion
	}
	owner = origin{b[3], binary.BigEndian.Uint64(b[4:])}
	if b[2] == 1 {
		return owner, shared, true, nil
	}
	shared, err = session.ParseShared(b[sessionHead:])
	return owner, shared, false, err
}

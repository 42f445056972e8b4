package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// Topics with history have one order for all nodes: that of a Stream. Who publishes to one appends
// to it (append.go), and all nodes with subscribers, that one too, get the messages from there:
// over the data connection while nothing is missing (follow.go), and by reading where something is
// (fetch.go).
//
// What a node has of a topic is complete from the number on that the stream's leader has told
// behind the subscription. From then on each frame names the one before it. That the last one has
// come is not known from frames: after a connection was lost, after messages were dropped, a moment
// after the subscription, which may get to the leader's server behind the question, and now and
// then the stream is asked for its last ones.

// A HistoryConfig is about topics with history.
type HistoryConfig struct {
	// Stream keeps their messages. Nil: they have no history over nodes.
	Stream Stream
	// Wait is how long a message may wait to be in the stream before its publisher is told that it is
	// not. Zero means DefaultHistoryWait.
	Wait time.Duration
	// Total is how many bytes the stream keeps, if it has to be made, and File has it do so on disk.
	// Zero means 256 MiB.
	Total int64
	File  bool
}

// DefaultHistoryWait is the zero HistoryConfig.Wait: longer than NATS takes to elect a leader.
const DefaultHistoryWait = 10 * time.Second

// Errors of messages to topics with history.
var (
	// ErrHistoryAway means that the log of histories cannot be reached.
	ErrHistoryAway = errors.New("cluster: the log of histories cannot be reached: NATS is away")
	// ErrHistoryLate means that the log has not confirmed a message in time: it may yet be delivered.
	ErrHistoryLate = errors.New("cluster: the log of histories has not confirmed the message in time")
	// ErrHistoryFull means that too much waits for the log.
	ErrHistoryFull = errors.New("cluster: too many messages wait for the log of histories")
	// ErrHistoryTooLong means that a message is longer than NATS takes.
	ErrHistoryTooLong = errors.New("cluster: the message is too long for the log of histories")
	errHistoryClosed  = errors.New("cluster: the node is closed")
)

// A replica has the messages of topics with history that are here: an engine.Replica.
type replica interface {
	Publish(name []byte, epoch, prev uint64, f engine.Frame) (ok bool, err error)
	Begin(name []byte, at topic.Position, lost bool) error
	End(name []byte)
	Last(name []byte) (topic.Position, bool)
}

// history is what a node does for topics with history: it is an engine.Log.
type history struct {
	t       *topics
	name    string // of the cluster
	stream  Stream
	config  HistoryConfig
	now     func() time.Time // by NATS's clock
	log     *slog.Logger
	wanted  atomic.Bool            // this node has rules
	keeps   func(name []byte) bool // by them
	limits  func() StreamLimits    // what these want
	hold    int64                  // how many bytes of frames of all topics may wait for others
	total   atomic.Int64           // how many bytes of all topics may be kept here
	replica replica
	counts  historyCounts

	appender appender
	fetcher  fetcher
	follower follower

	away      atomic.Pointer[error] // why nothing can be appended; nil: it can
	heardAt   atomic.Int64          // unix nanoseconds: when the stream was heard of
	reachable atomic.Bool           // the stream's servers are there
	wakes     chan struct{}         // the clerk
	ctx       context.Context       // done when the node closes
	cancel    context.CancelFunc
	tasks     sync.WaitGroup

	complaint  string // the clerk's
	complained time.Time

	mu      sync.Mutex // guards what follows
	joining []*joining
	losses  uint64      // of the data connection
	unsure  bool        // the stream may be another, or gone
	missing bool        // it is gone, or has to be looked at anew
	catchUp bool        // frames may be missing of all topics
	broken  bool        // and may be gone by now
	confirm bool        // topics are to be confirmed
	state   StreamState // the last that was heard
	known   bool        // state is
	refused error       // why there is no stream, which does not go away by itself
	fit     fitting
}

// joining is topics that have their first subscribers here. Of history.mu.
type joining struct {
	topics  []*ownTopic
	losses  uint64 // then
	settled bool
}

func newHistory(t *topics, config *Config) *history {
	h := &history{
		t: t, name: config.Name, stream: config.History.Stream, config: config.History, now: config.now, log: t.log, wakes: make(chan struct{}, 1),
		keeps: func([]byte) bool { return false }, limits: func() StreamLimits { return StreamLimits{} },
		hold: int64(cmp.Or(max(config.Queue, 0), 8<<20)),
	}
	h.total.Store(math.MaxInt64)
	h.config.Wait = cmp.Or(h.config.Wait, DefaultHistoryWait)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	away := ErrHistoryAway
	h.away.Store(&away)
	h.appender = newAppender(h, h.hold, int64(t.credits.window))
	h.fetcher = newFetcher(h)
	h.follower = follower{h: h}
	return h
}

func (h *history) wake() {
	select {
	case h.wakes <- struct{}{}:
	default:
	}
}

// start lets the goroutines run.
func (h *history) start() {
	h.tasks.Go(h.appender.run)
	h.tasks.Go(h.clerk)
	for range readers {
		h.tasks.Go(h.fetcher.run)
	}
}

func (h *history) close() {
	h.cancel()
	h.tasks.Wait()
	h.appender.end()
	h.fetcher.end()
	h.follower.end()
}

// Away implements engine.Log.
func (h *history) Away() error {
	if err := h.away.Load(); err != nil {
		return *err
	}
	return nil
}

// follows reports whether there are topics with history. h may be nil.
func (h *history) follows() bool { return h != nil && h.wanted.Load() }

// judge finds out whether anything can be appended. h.mu is held.
func (h *history) judge() {
	var err error
	switch {
	case !h.reachable.Load():
		err = ErrHistoryAway
	case h.refused != nil:
		err = h.refused
	case !h.known:
		err = ErrHistoryAway
	case len(h.state.Wrong) > 0 && h.fit.failed != nil:
		err = h.fit.failed
	}
	if err == nil {
		h.away.Store(nil)
		return
	}
	h.away.Store(&err)
}

// reached is told whether the stream's servers are there. What was heard of it may not be so any more.
func (h *history) reached(is bool) {
	h.mu.Lock()
	h.reachable.Store(is)
	if is {
		h.missing = true
	}
	h.judge()
	h.mu.Unlock()
	h.wake()
	h.appender.hurry()
}

// doubt has the stream be asked for its state.
func (h *history) doubt(gone bool) {
	h.mu.Lock()
	h.unsure = true
	h.missing = h.missing || gone
	h.mu.Unlock()
	h.wake()
}

// catch has the stream be asked whether frames are missing. broken says that they may have gone
// from it, too.
func (h *history) catch(broken bool) {
	h.mu.Lock()
	h.catchUp = true
	h.broken = h.broken || broken
	h.mu.Unlock()
	h.wake()
}

// confirmSoon has topics be compared with the stream that were begun with now.
func (h *history) confirmSoon() {
	time.AfterFunc(confirmAfter, func() {
		h.mu.Lock()
		h.confirm = true
		h.mu.Unlock()
		h.wake()
	})
}

// join has topics with history that have their first subscribers here, or have them still behind a
// loss of the connection, be followed. Who waits for them to be settled does so no longer than for
// a barrier.
func (h *history) join(topics []*ownTopic) {
	h.mu.Lock()
	j := &joining{topics: topics, losses: h.losses}
	h.joining = append(h.joining, j)
	h.mu.Unlock()
	h.wake()
	time.AfterFunc(h.t.barriers.timeout, func() {
		if h.settle(j) {
			h.counts.joinTimeouts.Add(1)
		}
	})
}

// settle has who waits for topics wait no longer. It reports false if nobody does.
func (h *history) settle(j *joining) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if j.settled || j.losses != h.losses {
		return false
	}
	j.settled = true
	h.t.later(h.t.ours.settled(j.topics))
	return true
}

// joinThose joins those topics that have history, and returns the others.
func (h *history) joinThose(topics []*ownTopic) (plain []*ownTopic) {
	if !h.wanted.Load() {
		return topics
	}
	var some []*ownTopic
	for _, o := range topics {
		if h.keeps([]byte(o.name)) {
			some = append(some, o)
		} else {
			plain = append(plain, o)
		}
	}
	if len(some) > 0 {
		h.join(some)
	}
	if fault == 40 {
		return topics
	}
	return plain
}

// letGo has a topic without subscribers here be forgotten.
func (h *history) letGo(o *ownTopic) {
	h.follower.post(func() error { h.follower.leave(o); return nil })
}

// forget gives up what waits for an answer: the data connection is lost.
func (h *history) forget() {
	h.mu.Lock()
	h.joining = nil
	h.losses++
	h.mu.Unlock()
	h.follower.post(func() error { h.follower.lost(); return nil })
}

// open looks at the stream, and makes it if there is none.
func (h *history) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	_, err := h.hear(func() (StreamState, error) { return h.stream.Open(ctx, h.limits()) })
	var final *StreamError
	h.mu.Lock()
	h.refused = nil
	if errors.As(err, &final) {
		h.refused = final
	}
	h.missing = err != nil
	h.judge()
	h.mu.Unlock()
	return err
}

// ask asks the stream for its state.
func (h *history) ask(within time.Duration) (StreamState, error) {
	ctx, cancel := context.WithTimeout(h.ctx, within)
	defer cancel()
	return h.hear(func() (StreamState, error) { return h.stream.State(ctx) })
}

// hear asks and notes what the stream is. Several may ask at once: an answer that was under way
// while the stream was found to be another one may be of the one before, and is asked for again.
func (h *history) hear(ask func() (StreamState, error)) (StreamState, error) {
	for {
		asked, _ := h.lastState()
		st, err := ask()
		if err != nil || h.heard(&st, asked.Epoch) {
			return st, err
		}
	}
}

// heard notes what the stream is, by an answer to a question from when it was that of the epoch
// asked, 0 where none was known, and adds to it what is known here. It reports false when the
// answer may be of the stream before the one that is known.
func (h *history) heard(answer *StreamState, asked uint64) bool {
	h.mu.Lock()
	other := h.known && h.state.Epoch != answer.Epoch
	if other && h.state.Epoch != asked {
		h.mu.Unlock()
		return false
	}
	h.fits(answer)
	st := *answer
	h.heardAt.Store(time.Now().UnixNano())
	h.state, h.known = st, true
	h.judge()
	h.follower.post(func() error { return h.follower.state(st) }) // in the order of answers
	h.mu.Unlock()
	if other {
		h.counts.epochs.Add(1)
		h.log.Warn("the log of histories is another one: what was in the old one is lost",
			"made", time.UnixMicro(int64(st.Epoch)).UTC().Format(time.RFC3339))
	}
	return true
}

func (h *history) lastState() (StreamState, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state, h.known
}

const (
	// auditEvery is the time between two looks at what was not heard of, idleEvery the same while
	// nothing is followed here.
	auditEvery = time.Second
	idleEvery  = 5 * time.Second
	// complainEvery is how often the same is said of it.
	complainEvery = 10 * time.Second
	// againEvery is the time between two tries of what has failed.
	againEvery = 250 * time.Millisecond
	// confirmAfter is how long after a topic was begun with the stream is asked once more.
	confirmAfter = 50 * time.Millisecond
)

// clerk is the goroutine that asks the stream for its state: when topics are joined, after a loss, and
// once a second for those that were not heard of, and for what an administrator has changed.
func (h *history) clerk() {
	timer := time.NewTimer(never)
	defer timer.Stop()
	var audited time.Time
	dropped := h.t.bus.Dropped()
	for h.ctx.Err() == nil {
		if n := h.t.bus.Dropped(); n != dropped {
			dropped = n
			h.follower.post(func() error { h.follower.lost(); return nil })
			h.catch(true)
		}
		every := auditEvery
		if h.follower.topics.Load() == 0 {
			every = idleEvery
		}
		again := every
		switch {
		case !h.wanted.Load() || !h.reachable.Load():
			again = never
		case !h.turn():
			again = againEvery
		case time.Since(audited) >= every:
			audited = time.Now()
			h.audit()
		}
		h.mendIfDue()
		timer.Reset(again)
		select {
		case <-h.ctx.Done():
		case <-h.wakes:
		case <-timer.C:
		}
	}
}

// turn does what waits, and reports false if some of that has failed.
func (h *history) turn() bool {
	h.mu.Lock()
	joins, unsure, missing, catchUp, broken := h.joining, h.unsure, h.missing, h.catchUp, h.broken
	confirm, asked := h.confirm, time.Now()
	h.joining, h.unsure, h.catchUp, h.broken, h.confirm = nil, false, false, false, false
	h.mu.Unlock()
	if len(joins) == 0 && !unsure && !missing && !catchUp && !confirm {
		return true
	}
	var st StreamState
	var err error
	if missing {
		if err = h.open(h.ctx); err == nil {
			st, _ = h.lastState()
		}
	} else {
		st, err = h.ask(h.t.barriers.timeout)
	}
	if err != nil {
		if h.ctx.Err() != nil {
			return true
		}
		h.complain(err)
		h.mu.Lock()
		joins = slices.DeleteFunc(joins, func(j *joining) bool { return j.losses != h.losses })
		h.joining = append(joins, h.joining...)
		h.unsure = h.unsure || unsure
		h.missing = h.missing || errors.Is(err, ErrNoStream)
		h.catchUp = h.catchUp || catchUp
		h.broken = h.broken || broken
		h.confirm = h.confirm || confirm
		h.mu.Unlock()
		return false
	}
	for _, j := range joins {
		h.follower.post(func() error {
			err := h.follower.join(j.topics, st)
			h.settle(j)
			return err
		})
	}
	if unsure {
		h.follower.post(func() error { return h.follower.resolved(st) })
	}
	if catchUp {
		h.follower.post(func() error { return h.follower.review(st, broken) })
	}
	if confirm {
		h.follower.post(func() error { h.follower.confirm(st, asked); return nil })
	}
	return true
}

// complain says why the stream does not answer, and not with each try again.
func (h *history) complain(err error) {
	if text := err.Error(); text != h.complaint || time.Since(h.complained) >= complainEvery {
		h.complaint, h.complained = text, time.Now()
		h.log.Warn("the log of histories does not answer", "err", err)
	}
}

// audit looks whether the stream has frames of topics that were not heard of for a while.
func (h *history) audit() {
	h.counts.audits.Add(1)
	st, err := h.ask(time.Second)
	if err != nil {
		if errors.Is(err, ErrNoStream) {
			h.doubt(true)
		}
		return
	}
	h.follower.post(func() error { h.follower.audit(st); return nil })
}

// look asks for the last frames of topics, and has the follower compare.
func (h *history) look(topics []*ownTopic, from uint64, st StreamState) {
	subjects := make([]string, len(topics))
	for i, o := range topics {
		subjects[i] = h.t.subs.history(o.name)
	}
	ctx, cancel := context.WithTimeout(h.ctx, renewTimeout)
	defer cancel()
	last, err := h.stream.Last(ctx, subjects, from)
	if err != nil {
		h.counts.failures.Add(1)
		h.catch(false)
		return
	}
	h.follower.post(func() error { return h.follower.compare(topics, subjects, last, st) })
}

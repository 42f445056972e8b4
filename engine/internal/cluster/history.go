package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
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
// then the stream is asked for its last ones (historyclerk.go).

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
	t           *topics
	name        string // of the cluster
	stream      Stream
	config      HistoryConfig
	now         func() time.Time // by NATS's clock
	log         *slog.Logger
	wanted      atomic.Bool            // this node has rules
	keeps       func(name []byte) bool // by them
	limits      func() StreamLimits    // what these want
	mostPending int64                  // how many bytes of frames may be pending, of all topics
	total       atomic.Int64           // how many bytes of all topics may be kept here
	replica     replica
	counts      historyCounts

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

func newHistory(t *topics, config *Config) *history {
	h := &history{
		t: t, name: config.Name, stream: config.History.Stream, config: config.History, now: config.now, log: t.log, wakes: make(chan struct{}, 1),
		keeps: func([]byte) bool { return false }, limits: func() StreamLimits { return StreamLimits{} },
		mostPending: int64(cmp.Or(max(config.Queue, 0), 8<<20)),
	}
	h.total.Store(math.MaxInt64)
	h.config.Wait = cmp.Or(h.config.Wait, DefaultHistoryWait)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	away := ErrHistoryAway
	h.away.Store(&away)
	h.appender = newAppender(h, h.mostPending, int64(t.credits.window))
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
	h.appender.resend()
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

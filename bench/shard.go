package bench

import (
	"errors"
	"fmt"
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicenet/sluice/bench/latency"
	"github.com/sluicenet/sluice/bench/observe"
	"github.com/sluicenet/sluice/bench/reactor"
)

// A shard is the part of a run that is in one process. All methods are for the goroutine of Run.
type shard interface {
	// connect starts bringing all connections up.
	connect() error
	// enlist has a worker subscribe everybody.
	enlist() error
	// begin starts the run, at t0 and measuring from from to to, nanoseconds of CLOCK_MONOTONIC.
	begin(t0, from, to int64) error
	// halt ends all sending.
	halt() error
	// snapshot is what has happened so far, and the latencies since the last one.
	snapshot() (snapshot, error)
	// published is how many messages each publisher sent to each group.
	published() (map[int][]uint32, error)
	// settle counts what is lost or in flight, given what all shards published.
	settle(published map[int][]uint32) (tally, error)
	// close ends all connections and loops.
	close()
}

type snapshot struct {
	Counters Counters `json:"counters"`
	Live     int      `json:"live"`
	Left     int      `json:"left"`
	Enlisted int      `json:"enlisted,omitempty"`
	Done     bool     `json:"done"`
	Err      string   `json:"err,omitempty"`
	Errors   []string `json:"errors,omitempty"`
	Waited   int64    `json:"waited"` // of the loop that slept least, in all
	Loops    int      `json:"loops"`
	CPU      int64    `json:"cpu"` // of the process, in all

	latency, raw *hdrhistogram.Histogram
	Latency      string `json:"latency,omitempty"` // between processes
	Raw          string `json:"raw,omitempty"`
}

// A tally is the end of the accounts. Things may still be arriving, so each loop's counters are
// those of the very moment at which it counted the rest.
type tally struct {
	Counters Counters `json:"counters"`
	Lost     uint64   `json:"lost"` // beside Counters.Lost
	InFlight uint64   `json:"in_flight"`
}

// merge adds o, of other loops.
func (s *snapshot) merge(o snapshot) {
	s.Counters.add(o.Counters)
	s.Live += o.Live
	s.Left += o.Left
	s.Enlisted += o.Enlisted
	if s.Loops == 0 {
		s.Done, s.Waited = o.Done, o.Waited
	}
	s.Done = s.Done && o.Done
	s.Waited = min(s.Waited, o.Waited)
	s.Loops += o.Loops
	s.CPU += o.CPU
	if s.Err == "" {
		s.Err = o.Err
	}
	for _, e := range o.Errors {
		if len(s.Errors) < 10 {
			s.Errors = append(s.Errors, e)
		}
	}
	latency.Merge(&s.latency, o.latency)
	latency.Merge(&s.raw, o.raw)
}

// local is the shard of this process.
type local struct {
	workers []*worker
	running sync.WaitGroup
	mu      sync.Mutex
	failure error // of a loop
}

var errLoopGone = errors.New("bench: a loop has ended")

func newLocal(p *plan, proc int) (*local, error) {
	l := &local{}
	units := p.Procs * p.Loops
	for i := range p.Loops {
		w, err := newWorker(p, proc*p.Loops+i, units)
		if err != nil {
			l.close()
			return nil, err
		}
		l.workers = append(l.workers, w)
		l.running.Go(func() {
			if err := w.loop.Run(); err != nil {
				l.mu.Lock()
				l.failure = err
				l.mu.Unlock()
			}
		})
	}
	return l, nil
}

// each runs f on every loop, one after another.
func (l *local) each(f func(*worker)) error {
	for _, w := range l.workers {
		if !w.loop.Call(func() { f(w) }) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return fmt.Errorf("%w: %w", errLoopGone, l.failure)
		}
	}
	return nil
}

func (l *local) connect() error {
	return l.each((*worker).connectAll)
}

func (l *local) begin(t0, from, to int64) error {
	return l.each(func(w *worker) {
		w.t0, w.from, w.to = t0, from, to
		w.behaviour.start()
		w.started = true
	})
}

func (l *local) halt() error {
	return l.each(func(w *worker) { w.halted = true })
}

func (l *local) snapshot() (s snapshot, err error) {
	err = l.each(func(w *worker) { s.merge(w.snapshot()) })
	s.CPU = int64(observe.Self())
	return s, err
}

func (w *worker) snapshot() snapshot {
	s := snapshot{
		Counters: w.count, Live: w.live, Left: w.left, Enlisted: w.enlisted, Done: w.behaviour.done(), Errors: w.errors,
		Waited: int64(w.loop.Waited()), Loops: 1, latency: w.latency.Drain(), raw: w.raw.Drain(),
	}
	if w.err != nil {
		s.Err = w.err.Error()
	}
	return s
}

// A behaviour that publishes tells what.
type publishes interface {
	published() map[int][]uint32
}

func (l *local) published() (map[int][]uint32, error) {
	all := map[int][]uint32{}
	err := l.each(func(w *worker) {
		if p, ok := w.behaviour.(publishes); ok {
			for pub, groups := range p.published() {
				all[pub] = append([]uint32(nil), groups...)
			}
		}
	})
	return all, err
}

// A behaviour that does not publish knows itself what is under way.
type settles interface {
	inFlight() uint64
}

func (l *local) settle(published map[int][]uint32) (t tally, err error) {
	err = l.each(func(w *worker) {
		lost, inFlight := w.settle(published)
		if s, ok := w.behaviour.(settles); ok {
			inFlight += s.inFlight()
		}
		t.Counters.add(w.count)
		t.Lost += lost
		t.InFlight += inFlight
	})
	return t, err
}

func (l *local) close() {
	for _, w := range l.workers {
		w.loop.Post(w.loop.Stop)
	}
	l.running.Wait()
}

var _ reactor.Handler = (*worker)(nil)

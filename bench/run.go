package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicenet/sluice/bench/latency"
	"github.com/sluicenet/sluice/bench/observe"
	"github.com/sluicenet/sluice/bench/reactor"
)

// An Observer is told how a run goes, on the goroutine of Run. The zero Observer hears nothing.
type Observer struct {
	// Phase says what the run does now: "connect", "warm up", "measure", "drain".
	Phase func(name string)
	// Progress is called several times a second; done and total are connections while connecting,
	// else nanoseconds.
	Progress func(done, total int64, s Second)
	// Second is called for every second measured.
	Second func(s Second)
}

// Run does what c says and reports it. An error means that there is no result: ErrConfig that c
// makes no sense, anything else that the run failed. What a result is worth, its Accounting tells.
// If ctx ends while it measures, or the gateway goes away, the result is about the time until then,
// and says so in Incomplete.
func Run(ctx context.Context, c Config, o Observer) (*Result, error) {
	p, err := c.plan()
	if err != nil {
		return nil, err
	}
	r := &run{plan: p, observer: o, result: newResult(p)}
	defer r.close()
	return r.do(ctx)
}

type run struct {
	*plan
	observer Observer
	result   *Result
	shards   []shard
	server   *observe.Watcher
	t0       int64
	from, to int64
	haltedAt int64 // 0: it was not
	notes    []string

	total    snapshot // the last one
	lastAt   int64
	sent     Counters // at the last second
	latency  *hdrhistogram.Histogram
	raw      *hdrhistogram.Histogram
	interval snapshot // latencies since the last second
	use      observe.Sample
	seen     observe.Use // in the last whole second
}

const (
	poll     = 20 * time.Millisecond
	leadTime = 50 * time.Millisecond // by when all loops know of the start
)

var errNotReady = errors.New("bench: connections did not come up")

func (r *run) do(ctx context.Context) (*Result, error) {
	var err error
	if r.server, err = observe.Watch(r.PIDs); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if r.shards, err = startShards(r.plan); err != nil {
		return nil, err
	}
	var counters map[string]float64
	if r.Admin != "" {
		if counters, err = observe.Scrape(ctx, strings.TrimSuffix(r.Admin, "/")+"/metrics"); err != nil {
			return nil, err
		}
	}
	r.result.Server.Before = r.server.Sample()
	if !r.cold() || r.Resume {
		if err := r.connect(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	if err := r.drain(ctx); err != nil {
		return nil, err
	}
	if err := r.settle(); err != nil {
		return nil, err
	}
	if r.Admin != "" {
		if err := r.compareCounters(context.WithoutCancel(ctx), counters); err != nil {
			r.result.Errors = append(r.result.Errors, "the gateway's own counters: "+err.Error())
		}
	}
	return r.result, nil
}

func (r *run) phase(name string) {
	if r.observer.Phase != nil {
		r.observer.Phase(name)
	}
}

func (r *run) progress(done, total int64) {
	if r.observer.Progress == nil {
		return
	}
	var s Second
	if r.lastAt > 0 {
		s = r.second(reactor.Now(), r.total.Counters.sub(r.sent), r.interval.latency)
		s.Server = r.seen
	}
	r.observer.Progress(done, total, s)
}

func (r *run) connect(ctx context.Context) error {
	r.phase("connect")
	for _, s := range r.shards {
		if err := s.connect(); err != nil {
			return err
		}
	}
	begun := reactor.Now()
	for {
		if err := r.look(); err != nil {
			return err
		}
		if r.total.Err != "" {
			return fmt.Errorf("%w: %s", errNotReady, r.total.Err)
		}
		r.progress(int64(r.plan.total()-r.total.Left), int64(r.plan.total()))
		if r.total.Left == 0 {
			break
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
	if r.enlists() {
		if err := r.enlist(ctx); err != nil {
			return err
		}
	}
	r.result.SetUp = time.Duration(reactor.Now() - begun)
	if !r.server.Empty() {
		_ = sleep(ctx, 200*time.Millisecond) // for the last of its garbage
	}
	r.result.Server.Connected = r.server.Sample()
	return nil
}

// look takes a snapshot of all shards.
func (r *run) look() error {
	var all snapshot
	for _, s := range r.shards {
		one, err := s.snapshot()
		if err != nil {
			return err
		}
		all.merge(one)
	}
	latency.Merge(&r.interval.latency, all.latency)
	latency.Merge(&r.interval.raw, all.raw)
	r.total = all
	return nil
}

func (r *run) close() {
	for _, s := range r.shards {
		s.close()
	}
}

func startShards(p *plan) ([]shard, error) {
	if p.Procs > 1 {
		return startProcs(p)
	}
	if n := p.Loops + 1; runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
	l, err := newLocal(p, 0)
	if err != nil {
		return nil, err
	}
	return []shard{l}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

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
	// Progress is called several times a second; done and total are connections while connecting, else nanoseconds.
	Progress func(done, total int64, s Second)
	// Second is called for every second measured.
	Second func(s Second)
}

// Run does what c says and reports it. An error means that there is no result: ErrConfig that c makes no
// sense, anything else that the run failed. What a result is worth, its Accounting tells.
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
		if err := r.compareCounters(ctx, counters); err != nil {
			return nil, err
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

func (r *run) measure(ctx context.Context) error {
	r.t0 = reactor.Now() + int64(leadTime)
	r.from = r.t0 + int64(r.Warmup)
	r.to = r.from + int64(r.Duration)
	if r.cold() { // it may be over before we look again
		if err := r.look(); err != nil {
			return err
		}
		r.mark(r.t0)
	}
	for _, s := range r.shards {
		if err := s.begin(r.t0, r.from, r.to); err != nil {
			return err
		}
	}
	if r.Warmup > 0 {
		r.phase("warm up")
	}
	if err := r.until(ctx, r.from); err != nil {
		return err
	}
	r.phase("measure")
	if !r.cold() {
		r.mark(reactor.Now())
	}
	begin, first, before, own := r.lastAt, r.sent, r.use, r.total
	ended := false
	for next := r.from + int64(time.Second); !ended; next += int64(time.Second) {
		stop := min(next, r.to)
		if err := r.until(ctx, stop); err != nil {
			return err
		}
		ended = stop == r.to || r.total.Done && r.cold()
		r.closeSecond(ended)
	}
	end := r.lastAt
	span := time.Duration(end - begin)
	r.result.Window = span
	r.result.InWindow = r.total.Counters.sub(first)
	r.result.Rate = float64(r.result.InWindow.Delivered) / span.Seconds()
	r.result.PublishRate = float64(r.result.InWindow.Published) / span.Seconds()
	r.result.Server.use(before, r.use, r.result.InWindow.Delivered, r.server)
	r.result.Generator = GeneratorUse{
		CPU: time.Duration(r.total.CPU - own.CPU), BusiestLoop: 1 - float64(r.total.Waited-own.Waited)/float64(span),
	}
	return nil
}

// cold reports whether connections come up while measured.
func (r *run) cold() bool { return scenarios[r.Scenario].cold }

// mark begins a second at the last look.
func (r *run) mark(at int64) {
	r.lastAt, r.sent, r.use = at, r.total.Counters, r.server.Sample()
}

// until waits for a time, showing progress. Measuring ends when the scenario has nothing left to do, too.
func (r *run) until(ctx context.Context, at int64) error {
	for {
		now := reactor.Now()
		if now >= at {
			return r.look()
		}
		pause := min(time.Duration(at-now), 250*time.Millisecond)
		if r.cold() {
			pause = min(pause, poll)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		if r.observer.Progress == nil && !r.cold() {
			continue
		}
		if err := r.look(); err != nil {
			return err
		}
		if r.total.Err != "" {
			return errors.New(r.total.Err)
		}
		r.progress(reactor.Now()-r.t0, r.to-r.t0)
		if r.cold() && r.total.Done && now >= r.from {
			return nil
		}
	}
}

// closeSecond ends a second of the series, the last of which may be short.
func (r *run) closeSecond(last bool) {
	now := reactor.Now()
	if last && now-r.lastAt < int64(time.Millisecond) {
		return
	}
	use := r.server.Sample()
	s := r.second(now, r.total.Counters.sub(r.sent), r.interval.latency)
	s.Server = observe.Between(r.use, use)
	s.hist, r.seen = r.interval.latency, s.Server
	latency.Merge(&r.latency, r.interval.latency)
	latency.Merge(&r.raw, r.interval.raw)
	r.interval.latency, r.interval.raw = nil, nil
	r.use, r.lastAt, r.sent = use, now, r.total.Counters
	r.result.Seconds = append(r.result.Seconds, s)
	if r.observer.Second != nil {
		r.observer.Second(s)
	}
}

func (r *run) second(now int64, c Counters, h *hdrhistogram.Histogram) Second {
	span := max(time.Duration(now-r.lastAt), time.Nanosecond)
	return Second{
		At: time.Duration(now - r.from), Span: span, Counters: c, Live: r.total.Live,
		Rate:    float64(c.Delivered) / span.Seconds(),
		Latency: latency.Summarize(h),
	}
}

// drain waits for what is under way, as long as some of it arrives.
func (r *run) drain(ctx context.Context) error {
	r.phase("drain")
	r.result.Server.After = r.use
	deadline, last := reactor.Now()+int64(r.Drain), r.total.Counters.Delivered
	for {
		if err := r.look(); err != nil {
			return err
		}
		c := r.total.Counters
		if c.Delivered != last {
			deadline, last = reactor.Now()+int64(r.Drain), c.Delivered
		}
		owed := int64(c.Sent - c.Delivered - c.Lost)
		if r.total.Done || r.Scenario == "idle" || owed <= 0 && r.unsent(c) == 0 || reactor.Now() >= deadline {
			return nil
		}
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// unsent is how much of the schedule was due and never left.
func (r *run) unsent(c Counters) uint64 {
	total := uint64(r.schedule.Total())
	switch r.Scenario {
	case "fanout":
		return total - min(c.Published, total)
	case "echo", "worker":
		return total - min(c.Sent, total)
	}
	return 0
}

func (r *run) settle() error {
	published := map[int][]uint32{}
	for _, s := range r.shards {
		one, err := s.published()
		if err != nil {
			return err
		}
		for pub, groups := range one {
			published[pub] = groups
		}
	}
	if err := r.look(); err != nil {
		return err
	}
	var t tally
	for _, s := range r.shards {
		one, err := s.settle(published)
		if err != nil {
			return err
		}
		t.Counters.add(one.Counters)
		t.Lost += one.Lost
		t.InFlight += one.InFlight
	}
	latency.Merge(&r.latency, r.interval.latency) // what came during the drain was due in the window
	latency.Merge(&r.raw, r.interval.raw)
	r.result.Latency, r.result.Raw = describe(r.latency), describe(r.raw)
	if r.result.Raw.Count == 0 {
		r.result.Raw = r.result.Latency // no schedule: nothing to be late for
	}
	r.result.hist, r.result.rawHist = r.latency, r.raw
	r.result.Server.memory(r)
	c := t.Counters
	r.result.Total = c
	r.result.Live = r.total.Live
	r.result.Errors = r.total.Errors
	r.result.Accounting = Accounting{
		Sent: c.Sent, Delivered: c.Delivered, Lost: c.Lost + t.Lost, InFlight: t.InFlight, Late: c.Late,
		Unsent: r.unsent(c), Closed: c.Closed, Failed: c.Failed, Refused: c.Refused, Mismatch: c.Mismatch,
	}
	r.result.Accounting.Balanced = r.result.Accounting.Sent ==
		r.result.Accounting.Delivered+r.result.Accounting.Lost+r.result.Accounting.InFlight
	return nil
}

func describe(h *hdrhistogram.Histogram) latency.Distribution {
	d := latency.Summarize(h)
	d.Histogram = latency.Pack(h)
	return d
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

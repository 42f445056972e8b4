package bench

import (
	"context"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicenet/sluice/bench/latency"
	"github.com/sluicenet/sluice/bench/reactor"
)

// shortDrain is how long a run that was interrupted waits in all: somebody is waiting for us.
const shortDrain = time.Second

// drain waits for what is under way, as long as some of it arrives.
func (r *run) drain(ctx context.Context) error {
	r.phase("drain")
	r.result.Server.After = r.use
	latest := never
	if ctx.Err() != nil {
		ctx, latest = context.WithoutCancel(ctx), reactor.Now()+int64(shortDrain)
	}
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
		settled := owed <= 0 && r.unsent(c) == 0
		if r.total.Done || r.Scenario == "idle" || settled || r.deserted() || reactor.Now() >= min(deadline, latest) {
			return nil
		}
		if sleep(ctx, poll) != nil {
			return nil // all has been measured; what has not come is in flight
		}
	}
}

// unsent is how much of the schedule was due and never left.
func (r *run) unsent(c Counters) uint64 {
	total := uint64(r.schedule.Total())
	if r.haltedAt > 0 {
		total = uint64(r.schedule.Count(time.Duration(r.haltedAt - r.t0)))
	}
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
	r.result.Errors = append(r.notes, r.total.Errors...)
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

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sluicenet/sluice/bench/latency"
	"github.com/sluicenet/sluice/bench/observe"
	"github.com/sluicenet/sluice/bench/reactor"
)

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
	if !r.cold() { // the observer may have taken its time
		if err := r.look(); err != nil {
			return err
		}
		r.mark(reactor.Now())
	}
	if r.to-r.lastAt < int64(shortest) {
		r.late(r.from, r.lastAt)
		r.result.Incomplete = "this process stood still until the time was over"
		return nil
	}
	begin, first, before, own := r.lastAt, r.sent, r.use, r.total
	for ended := false; !ended; {
		stop := min(r.nextSecond(), r.to)
		err := r.until(ctx, stop)
		switch {
		case err != nil && ctx.Err() != nil:
			err = r.halt("interrupted")
		case err == nil:
			if r.server.Sample(); r.deserted() {
				err = r.halt(r.whyDeserted())
			}
		}
		if err != nil {
			return err
		}
		ended = stop == r.to || r.haltedAt > 0 || r.total.Done && r.cold()
		r.closeSecond(ended)
	}
	span := time.Duration(r.lastAt - begin)
	if span <= 0 {
		return nil // interrupted at once: nothing can be said per second
	}
	r.result.Window = span
	r.result.InWindow = r.total.Counters.sub(first)
	r.result.Rate = float64(r.result.InWindow.Delivered) / span.Seconds()
	r.result.PublishRate = float64(r.result.InWindow.Published) / span.Seconds()
	r.result.Server.use(before, r.use, r.result.InWindow.Delivered, r.server)
	r.result.Generator = GeneratorUse{
		CPU:         time.Duration(r.total.CPU - own.CPU),
		BusiestLoop: max(1-float64(r.total.Waited-own.Waited)/float64(span), 0),
	}
	return nil
}

// shortest is the shortest time over which a rate says something.
const shortest = time.Millisecond

// nextSecond is the end of the first second that is not over.
func (r *run) nextSecond() int64 {
	passed := (r.lastAt - r.from) / int64(time.Second)
	return r.from + (passed+1)*int64(time.Second)
}

// halt ends the run before its time: nothing more is sent, and what is under way is accounted for.
func (r *run) halt(why string) error {
	r.result.Incomplete = why
	for _, s := range r.shards {
		if err := s.halt(); err != nil {
			return err
		}
	}
	r.haltedAt = reactor.Now()
	return r.look()
}

// deserted reports whether nobody is left who could measure anything. Some scenarios bring their
// connections back, to a gateway that is there.
func (r *run) deserted() bool {
	return r.server.Gone() || r.total.Live == 0 && !r.cold() && !scenarios[r.Scenario].reconnects
}

func (r *run) whyDeserted() string {
	if r.server.Gone() {
		return "the gateway's process has ended"
	}
	return "the gateway has closed all connections"
}

// cold reports whether connections come up while measured.
func (r *run) cold() bool { return scenarios[r.Scenario].cold }

// mark begins a second at the last look.
func (r *run) mark(at int64) {
	r.lastAt, r.sent, r.use = at, r.total.Counters, r.server.Sample()
}

// late notes that a time was noticed at now, if that is too late for the run to be worth much.
func (r *run) late(at, now int64) {
	if d := time.Duration(now - at); d > min(time.Second, r.Duration/4) {
		r.result.Standstill = max(r.result.Standstill, d)
		r.note(fmt.Sprintf("this process stood still for %v", d.Round(time.Millisecond)))
	}
}

// until waits for a time, showing progress. Measuring ends when the scenario has nothing left to
// do, too.
func (r *run) until(ctx context.Context, at int64) error {
	for {
		now := reactor.Now()
		if now >= at {
			r.late(at, now)
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

// note keeps a remark for the report.
func (r *run) note(text string) { r.notes = append(r.notes, text) }

// closeSecond ends a second of the series, the last of which may be short.
func (r *run) closeSecond(last bool) {
	now := reactor.Now()
	if last && now-r.lastAt < int64(shortest) {
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

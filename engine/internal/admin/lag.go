package admin

import (
	"sync/atomic"
	"time"
)

// A lag measures how late loops are: once a second each is told to run nothing, and the time until
// it does is noted. What a loop is told comes before messages, so this is the length of its turns
// and the system's delay, not the length of its queue.
type lag struct {
	tell    func(loop int, fn func()) bool
	start   time.Time
	probes  []probe
	buckets [len(lagBounds) + 1]atomic.Uint64
	sum     atomic.Int64 // ns
}

// A probe is what is known of one loop.
type probe struct {
	posted atomic.Int64 // ns since lag.start, 0 when none is on its way
	last   atomic.Int64 // ns, how late the last one ran
	told   bool         // the log knows that the loop stands still; the sampler's
}

// lagBounds are the upper bounds of the histogram's buckets, in seconds.
var lagBounds = [...]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// lagEvery is the time between two probes of a loop.
const lagEvery = time.Second

func newLag(loops int, tell func(int, func()) bool) *lag {
	return &lag{tell: tell, start: time.Now(), probes: make([]probe, loops)}
}

// run samples until done is closed, and has watch look each time.
func (l *lag) run(done <-chan struct{}, watch func()) {
	t := time.NewTicker(lagEvery)
	defer t.Stop()
	for {
		l.sample()
		watch()
		select {
		case <-done:
			return
		case <-t.C:
		}
	}
}

// sample sends a probe to each loop that has answered the one before.
func (l *lag) sample() {
	for i := range l.probes {
		p := &l.probes[i]
		if p.posted.Load() != 0 {
			continue
		}
		at := int64(time.Since(l.start)) + 1 // never 0
		p.posted.Store(at)
		if !l.tell(i, func() { l.ran(p, at) }) {
			p.posted.Store(0) // the loops have stopped
		}
	}
}

// ran notes a probe, on the loop.
func (l *lag) ran(p *probe, at int64) {
	late := max(int64(time.Since(l.start))-at, 0)
	i, seconds := 0, time.Duration(late).Seconds()
	for i < len(lagBounds) && seconds > lagBounds[i] {
		i++
	}
	l.buckets[i].Add(1)
	l.sum.Add(late)
	p.last.Store(late)
	p.posted.Store(0)
}

// of returns how late a loop is: the last probe's delay or, when that is longer, the age of the
// one it has yet to answer, so that a loop that hangs shows.
func (l *lag) of(loop int) time.Duration {
	p := &l.probes[loop]
	late := p.last.Load()
	if at := p.posted.Load(); at != 0 {
		late = max(late, int64(time.Since(l.start))-at)
	}
	return time.Duration(late)
}

// standing returns how long a loop has not run what it was told, 0 when nothing is on its way.
func (l *lag) standing(loop int) time.Duration {
	if at := l.probes[loop].posted.Load(); at != 0 {
		return max(time.Since(l.start)-time.Duration(at), 0)
	}
	return 0
}

// histogram returns the count of each bucket, not cumulated, the last without a bound, and the sum.
func (l *lag) histogram() (counts []uint64, sum time.Duration) {
	for i := range l.buckets {
		counts = append(counts, l.buckets[i].Load())
	}
	return counts, time.Duration(l.sum.Load())
}

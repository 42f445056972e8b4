// Package looplag measures how late loops are, and finds out what keeps one from running.
//
// # Data flow
//
//	Run -> Config.Tell -> the loop -> how late it was -> histogram, Of, Standing
//	Run -> a probe that is not answered -> Config.Stack -> the log
//
// A probe is a function that a loop is told to run; the time until it does is its lag. What a loop is
// told comes before messages, so this is the length of its turns and the system's delay, not the length
// of its queue. A loop that has much to do, or is at something when it is looked at, is probed up to
// twenty times a second; one that has little to do, or sleeps, hardly ever, for to wake it would cost
// more than all else that an idle gateway does. Whoever blocks a loop for 250 ms or more is seen
// while he does. While all loops sleep nobody looks: the first that has something to do says so
// (Begin).
//
// # Goroutines
//
// One, Run's. Probes run on the loops, and Begin is called there. Everything else may be called by any
// goroutine.
package looplag

import (
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// Every is the time between two looks at the loops while they are busy, or have yet to answer.
	Every = 50 * time.Millisecond
	// quietLook is the same while they have little to do.
	quietLook = 150 * time.Millisecond
	// dozeAfter is after how many such looks at loops that slept nobody looks any more: whoever
	// begins a step has to say so then, which takes as much as two looks.
	dozeAfter = 5
	// busySteps is how many steps a loop begins between two looks that has much to do: one more, which
	// wakes nobody up, is a hundredth of it.
	busySteps = 100
	// Late is how long a loop may take to run what it was told before that is counted and logged.
	Late = 100 * time.Millisecond
	// sleepingEvery is the time between two probes of a loop that has little to do or sleeps.
	sleepingEvery = 10 * time.Second
	// stackEvery is the time between two lines with a stack: to take one stops the process for as long
	// as it takes to write down all goroutines.
	stackEvery = 10 * time.Second
)

// Bounds are the upper bounds of the histogram's buckets, in seconds.
var Bounds = [...]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// Config sets up a Lag. Loops and Tell must be set.
type Config struct {
	Loops int
	// Tell has a loop run fn. It reports false when the loops have stopped.
	Tell func(loop int, fn func()) bool
	// Steps returns how many steps a loop has begun, and whether it is at one. Nil: it always has
	// much to do.
	Steps func(loop int) (begun uint64, running bool)
	// Stack returns what the loop is at, empty if that cannot be told. Nil: it never can.
	Stack  func(loop int) string
	Logger *slog.Logger // nil discards
}

// A Lag is what is known of how late loops are.
type Lag struct {
	config  Config
	start   time.Time
	probes  []probe
	buckets [len(Bounds) + 1]atomic.Uint64
	sum     atomic.Int64 // ns
	late    atomic.Uint64
	dozing  atomic.Bool   // nobody looks until a loop begins a step
	stirred chan struct{} // one has

	// The rest belongs to Run's goroutine. Times are ns since start.
	looked  int64
	stackAt int64  // when the next stack may be logged
	omitted uint64 // lines that were not logged since the last one
}

// A probe is what is known of one loop.
type probe struct {
	posted atomic.Int64  // ns since Lag.start, 0 when none is on its way
	last   atomic.Int64  // ns, how late the last one ran
	seen   atomic.Uint64 // steps at the last look, with the one that ran the last probe

	// The rest belongs to Run's goroutine.
	sent   int64 // ns since Lag.start, when the last one was
	waited int64 // ns that it has taken, while the process ran
	told   bool  // that it is late
}

// New returns a Lag that has not looked yet.
func New(config Config) *Lag {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Lag{
		config: config, start: time.Now(), probes: make([]probe, config.Loops), stirred: make(chan struct{}, 1),
	}
}

// Run looks at the loops until done is closed.
func (l *Lag) Run(done <-chan struct{}) {
	t := time.NewTimer(Every)
	defer t.Stop()
	slept := 0 // looks in a row
	for {
		wait := l.Look()
		switch {
		case wait != sleepingEvery:
			slept = 0
		case slept < dozeAfter:
			wait = quietLook
			slept++
		default:
			l.dozing.Store(true)
			if l.haveStirred() { // since they were looked at
				wait = quietLook
			}
		}
		t.Reset(wait)
		select {
		case <-done:
			return
		case <-l.stirred:
			t.Reset(quietLook) // nearly all steps are over by then
			select {
			case <-done:
				return
			case <-t.C:
			}
		case <-t.C:
		}
		l.dozing.Store(false)
	}
}

// Begin is called by a loop that begins a step, once Config.Steps says so.
func (l *Lag) Begin() {
	if l.dozing.Load() && l.dozing.CompareAndSwap(true, false) {
		select {
		case l.stirred <- struct{}{}:
		default:
		}
	}
}

func (l *Lag) haveStirred() bool {
	for i := range l.probes {
		if l.Begun(i) != l.probes[i].seen.Load() {
			return true
		}
	}
	return false
}

// Begun returns how many steps a loop has begun.
func (l *Lag) Begun(loop int) uint64 {
	begun, _ := l.steps(loop)
	return begun
}

// steps is Config.Steps.
func (l *Lag) steps(i int) (begun uint64, running bool) {
	if l.config.Steps == nil {
		return l.probes[i].seen.Load() + busySteps, true
	}
	return l.config.Steps(i)
}

// Look sends probes to the loops that have answered the one before, if it is time, and says which are
// late. It returns when to look again. Only one goroutine may call it.
func (l *Lag) Look() (wait time.Duration) { return l.look(int64(time.Since(l.start))) }

func (l *Lag) look(now int64) time.Duration {
	wait := sleepingEvery
	// What the process did not run is nobody's fault: a look that comes late counts as one.
	ran := min(now-l.looked, int64(Every))
	l.looked = now
	for i := range l.probes {
		p := &l.probes[i]
		if at := p.posted.Load(); at == 0 {
			wait = min(wait, l.probe(i, now))
		} else if p.waited += ran; p.waited >= int64(Late) && !p.told {
			p.told = true
			l.late.Add(1)
			l.log(i, now, time.Duration(now-at))
		}
		if p.posted.Load() != 0 {
			wait = Every
		}
	}
	return wait
}

// probe tells loop i to say when it runs, if it is busy or has not been asked for long. It returns when
// to look at the loop again.
func (l *Lag) probe(i int, now int64) time.Duration {
	p := &l.probes[i]
	begun, running := l.steps(i)
	news := begun - p.seen.Load()
	p.seen.Store(begun)
	if !running && news < busySteps && p.last.Load() > 0 && now-p.sent < int64(sleepingEvery) {
		if news > 0 {
			return quietLook
		}
		return sleepingEvery
	}
	p.sent, p.waited, p.told = now, 0, false
	at := int64(time.Since(l.start)) + 1 // never 0
	p.posted.Store(at)
	if !l.config.Tell(i, func() { l.ran(i, at) }) {
		p.posted.Store(0) // the loops have stopped
	}
	return Every
}

// ran notes a probe, on the loop.
func (l *Lag) ran(i int, at int64) {
	p := &l.probes[i]
	late := max(int64(time.Since(l.start))-at, 1) // never 0
	bucket, seconds := 0, time.Duration(late).Seconds()
	for bucket < len(Bounds) && seconds > Bounds[bucket] {
		bucket++
	}
	l.buckets[bucket].Add(1)
	l.sum.Add(late)
	p.seen.Store(l.Begun(i))
	p.last.Store(late)
	p.posted.Store(0)
}

// log says that a loop is late and what it is at.
func (l *Lag) log(loop int, now int64, late time.Duration) {
	if now < l.stackAt {
		l.omitted++
		return
	}
	l.stackAt = now + int64(stackEvery)
	stack := ""
	if l.config.Stack != nil {
		stack = l.config.Stack(loop)
	}
	l.config.Logger.Warn("a loop is late: a handler or a hook takes long, or the process has no core",
		"loop", loop, "late", late.Round(time.Millisecond), "omitted", l.omitted, "stack", stack)
	l.omitted = 0
}

// Of returns how late a loop is: the last probe's delay or, when that is longer, the age of the one it
// has yet to answer, so that a loop that hangs shows.
func (l *Lag) Of(loop int) time.Duration {
	return max(time.Duration(l.probes[loop].last.Load()), l.Standing(loop))
}

// Standing returns how long a loop has not run what it was told, 0 when nothing is on its way.
func (l *Lag) Standing(loop int) time.Duration {
	if at := l.probes[loop].posted.Load(); at != 0 {
		return max(time.Since(l.start)-time.Duration(at), 0)
	}
	return 0
}

// LateTimes returns how often a loop was late by more than Late, of all loops.
func (l *Lag) LateTimes() uint64 { return l.late.Load() }

// Histogram returns the count of each bucket, not cumulated, the last without a bound, and the sum.
func (l *Lag) Histogram() (counts []uint64, sum time.Duration) {
	for i := range l.buckets {
		counts = append(counts, l.buckets[i].Load())
	}
	return counts, time.Duration(l.sum.Load())
}

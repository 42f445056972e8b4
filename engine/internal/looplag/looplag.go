// Package looplag measures how late loops are, and finds out what keeps one from running.
//
// # Data flow
//
//	Run -> Config.Tell -> the loop -> how late it was -> histogram, Of, Standing
//	Run -> a probe that is not answered -> Config.Stack -> the log
//
// A probe is a function that a loop is told to run; the time until it does is its lag. What a loop is
// told comes before messages, so this is the length of its turns and the system's delay, not the length
// of its queue. A loop that does something is probed twenty times a second, one that sleeps once: to
// wake it more often would cost more than all else that an idle gateway does. Whoever blocks a loop for
// 250 ms or more is seen while he does. Loops do nothing for it.
//
// # Goroutines
//
// One, Run's. Probes run on the loops. Everything else may be called by any goroutine.
package looplag

import (
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// Every is the time between two looks at the loops.
	Every = 50 * time.Millisecond
	// idleLook is the same while all loops sleep.
	idleLook = 100 * time.Millisecond
	// Late is how long a loop may take to run what it was told before that is counted and logged.
	Late = 100 * time.Millisecond
	// idleEvery is the time between two probes of a loop that sleeps.
	idleEvery = time.Second
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
	// Busy returns a number that is another one when the loop has done something. Nil: it always has.
	Busy func(loop int) uint64
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

	// The rest belongs to Run's goroutine. Times are ns since start.
	looked  int64
	stackAt int64  // when the next stack may be logged
	omitted uint64 // lines that were not logged since the last one
}

// A probe is what is known of one loop.
type probe struct {
	posted atomic.Int64  // ns since Lag.start, 0 when none is on its way
	last   atomic.Int64  // ns, how late the last one ran
	busy   atomic.Uint64 // Config.Busy, behind the last one

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
	return &Lag{config: config, start: time.Now(), probes: make([]probe, config.Loops)}
}

// Run looks at the loops until done is closed.
func (l *Lag) Run(done <-chan struct{}) {
	t := time.NewTimer(Every)
	defer t.Stop()
	for {
		if l.Look() {
			t.Reset(idleLook)
		} else {
			t.Reset(Every)
		}
		select {
		case <-done:
			return
		case <-t.C:
		}
	}
}

// Look sends a probe to each loop that has answered the one before, if it is time, and says which are
// late. It reports whether all of them sleep. Only one goroutine may call it.
func (l *Lag) Look() (asleep bool) { return l.look(int64(time.Since(l.start))) }

func (l *Lag) look(now int64) (asleep bool) {
	asleep = true
	// What the process did not run is nobody's fault: a look that comes late counts as one.
	ran := min(now-l.looked, int64(Every))
	l.looked = now
	for i := range l.probes {
		p := &l.probes[i]
		if at := p.posted.Load(); at == 0 {
			asleep = !l.probe(i, now) && asleep
		} else if p.waited += ran; p.waited >= int64(Late) && !p.told {
			p.told = true
			l.late.Add(1)
			l.log(i, now, time.Duration(now-at))
		}
		asleep = asleep && p.posted.Load() == 0
	}
	return asleep
}

// probe tells loop i to say when it runs, unless it sleeps and has been asked in this second. It reports
// whether it does something.
func (l *Lag) probe(i int, now int64) (awake bool) {
	p := &l.probes[i]
	asleep := l.config.Busy != nil && p.last.Load() > 0 && l.config.Busy(i) == p.busy.Load()
	if asleep && now-p.sent < int64(idleEvery) {
		return false
	}
	p.sent, p.waited, p.told = now, 0, false
	at := int64(time.Since(l.start)) + 1 // never 0
	p.posted.Store(at)
	if !l.config.Tell(i, func() { l.ran(i, at) }) {
		p.posted.Store(0) // the loops have stopped
	}
	return !asleep
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
	if l.config.Busy != nil {
		p.busy.Store(l.config.Busy(i))
	}
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

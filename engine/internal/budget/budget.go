package budget

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/internal/beat"
)

// A Stage is how far a Watch goes to save memory. Each does what those below it do.
type Stage int32

// The stages.
const (
	Calm   Stage = iota // there is enough
	Refuse              // connections that come are refused
	Trim                // sessions of clients that are away and histories of topics are forgotten, the oldest first
	Close               // the clients with the most unsent that have been slow for longest are closed

	Stages
)

// does says in the log and on health pages what a stage does.
var does = [Stages]string{
	Refuse: "new connections are refused",
	Trim:   "new connections are refused, and sessions of clients that are away and histories are forgotten",
	Close:  "new connections are refused, sessions of clients that are away and histories are forgotten, and the slowest clients are closed",
}

// String says what the stage does.
func (s Stage) String() string {
	if s <= Calm || s >= Stages {
		return "nothing is shed"
	}
	return does[s]
}

// enter are the parts of the limit, in percent, from which a stage holds. The last tenth is for the
// garbage between two collections: without it the collector would run all the time.
var enter = [Stages]int64{Refuse: 80, Trim: 85, Close: 90}

// leave is by how many percent of the limit use must have fallen below that for the stage to end.
const leave = 5

// Every is the time between two looks: memory that nobody keeps account of grows with the number of
// connections, some MiB in that time.
const Every = 250 * time.Millisecond

// collectEvery is how old the last collection may be while something is shed: what was shed must not
// be taken for used.
const collectEvery = time.Second

// trimPart is which part of the sessions and of the histories is forgotten at a time.
const trimPart = 8

// Config sets up a Watch. All fields but Logger and TrimHistory must be set.
type Config struct {
	Limit int64 // bytes
	// Used returns how many bytes are in use.
	Used func() int64
	// Refuse has new connections refused, or taken again.
	Refuse func(refuse bool)
	// TrimSessions forgets one of each so many detached sessions, the oldest, and returns how many.
	TrimSessions func(part int) int
	// TrimHistory forgets one of each so many bytes of topics' histories, the oldest, and returns
	// how many messages. Nil: there are none.
	TrimHistory func(part int) int
	// Squeeze has slow clients closed until so many bytes are free, as far as there are any. It is
	// called at each look of the last stage, and with 0 at its end.
	Squeeze func(bytes int64)
	// Collect has the garbage collected if that was not done for so long, so that Used is right.
	Collect func(within time.Duration)
	Logger  *slog.Logger // nil discards
}

// A Watch compares what is used with the limit.
type Watch struct {
	config  Config
	stage   atomic.Int32
	used    atomic.Int64
	entered [Stages]atomic.Uint64
	trimmed atomic.Uint64
}

// New returns a Watch that has not looked yet.
func New(config Config) *Watch {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Watch{config: config}
}

// Limit returns the bytes that may be used.
func (w *Watch) Limit() int64 { return w.config.Limit }

// Stage returns the present stage.
func (w *Watch) Stage() Stage { return Stage(w.stage.Load()) }

// Used returns the bytes that were in use at the last look.
func (w *Watch) Used() int64 { return w.used.Load() }

// Entered returns how often a stage has begun.
func (w *Watch) Entered(s Stage) uint64 { return w.entered[s].Load() }

// Trimmed returns the number of sessions that were forgotten.
func (w *Watch) Trimmed() uint64 { return w.trimmed.Load() }

// Look asks what is used, goes a stage up or down if it must, and does what the stage says.
func (w *Watch) Look() {
	if w.Stage() > Calm {
		w.config.Collect(collectEvery)
	}
	stage, used := w.Stage(), w.config.Used()
	more := func() bool { return stage+1 < Stages && used >= w.part(enter[stage+1]) }
	if more() {
		// What was given back while the last collection ran may have been taken for used, and sessions
		// that are forgotten are lost: only what a collection from now on finds begins a stage.
		w.config.Collect(0)
		used = w.config.Used()
	}
	w.used.Store(used)
	switch {
	case more():
		w.change(stage, stage+1, used)
	case stage > Calm && used < w.part(enter[stage]-leave):
		w.change(stage, stage-1, used)
	}
	switch stage = w.Stage(); stage {
	case Close:
		w.config.Squeeze(max(used-w.part(enter[Close]-leave), 1))
		fallthrough
	case Trim:
		w.trimmed.Add(uint64(w.config.TrimSessions(trimPart)))
		if w.config.TrimHistory != nil {
			w.config.TrimHistory(trimPart)
		}
	}
}

// part returns so many percent of the limit.
func (w *Watch) part(percent int64) int64 { return w.config.Limit / 100 * percent }

func (w *Watch) change(from, to Stage, used int64) {
	w.stage.Store(int32(to))
	attrs := []any{"stage", int(to), "used", used, "memory", w.config.Limit}
	switch {
	case to > from:
		w.entered[to].Add(1)
		w.config.Logger.Warn("memory is short: "+to.String(), attrs...)
	case to == Calm:
		w.config.Logger.Info("memory is no longer short: connections are taken again", attrs...)
	default:
		w.config.Logger.Info("memory is less short: "+to.String(), attrs...)
	}
	switch {
	case from == Calm:
		w.config.Refuse(true)
	case to == Calm:
		w.config.Refuse(false)
	case from == Close:
		w.config.Squeeze(0)
	}
}

// Run looks until done is closed.
func (w *Watch) Run(done <-chan struct{}) {
	beat.Run(Every, done, w.Look)
}

// Status says in one line how much is used and what is done about it.
func (w *Watch) Status() string {
	return fmt.Sprintf("memory: %d of %d bytes used, stage %d of %d: %v",
		w.Used(), w.Limit(), w.Stage(), Stages-1, w.Stage())
}

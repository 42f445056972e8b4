// Package lograte keeps floods out of logs: whatever peers do, a place in the program logs only so many
// lines a second, and says a second later in one line how many it has left out.
//
// It is a handler in front of the operator's own, so that every log call is under it, also the next
// that somebody writes. The key is the place of the call, so the memory is bounded by the program. A
// place whose lines are of several kinds, one of which must not use up what there is for the others,
// makes a Kind of each.
//
// Of what a place may say, lines about one peer are a quarter at most, so that no client drowns the
// lines about others; see keys.go.
package lograte

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Lines a second that a place may log, by level. Debug is for who looks for something.
const (
	perSecondDebug = 2000
	perSecondInfo  = 200
	perSecondWarn  = 10 // and Error
)

func perSecond(level slog.Level) int {
	switch {
	case level < slog.LevelInfo:
		return perSecondDebug
	case level < slog.LevelWarn:
		return perSecondInfo
	}
	return perSecondWarn
}

// A handler passes on what is within the limits.
type handler struct {
	slog.Handler
	*places
	about key // of the attributes of With
}

// places are shared by a handler and those made from it with attributes and groups.
type places struct {
	operators slog.Handler // as it was given: a sum has no attributes of one of its lines

	mu      sync.Mutex
	seen    map[place]*window
	sums    map[*window]*sum // that are to be told
	omitted uint64
}

// A sum is told when its timer runs out, or by Flush.
type sum struct {
	timer *time.Timer
	tell  func(omitted uint64)
}

// A place is where a log call is, or what it says if it does not tell. The level is of lines that one
// place logs at several.
type place struct {
	pc    uintptr
	text  string // "" unless pc is 0
	level slog.Level
}

// A window is the present second of a place or a Kind.
type window struct {
	second  int64
	lines   int
	keyed   map[key]int // of lines, by whom they are about; as long as a place may have lines
	omitted uint64      // to be told a second after the first of them
}

// Logger returns a logger that passes on to log what is within the limits. One that does so already is
// returned as it is; nil stays nil.
func Logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return nil
	}
	if _, ok := log.Handler().(*handler); ok {
		return log
	}
	h := log.Handler()
	return slog.New(&handler{Handler: h, places: &places{operators: h, seen: make(map[place]*window), sums: make(map[*window]*sum)}})
}

// Flush has a logger of Logger say at once what it has left out. No timer is left behind.
func Flush(log *slog.Logger) {
	h, ok := log.Handler().(*handler)
	if !ok {
		return
	}
	for {
		w, s := h.anySum()
		if s == nil {
			return
		}
		h.tellSum(w, s)
	}
}

func (p *places) anySum() (*window, *sum) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, s := range p.sums {
		return w, s
	}
	return nil, nil
}

// tellSum tells s, the sum of w, unless that is done.
func (p *places) tellSum(w *window, s *sum) {
	p.mu.Lock()
	if p.sums[w] != s {
		p.mu.Unlock()
		return
	}
	delete(p.sums, w)
	s.timer.Stop()
	n := w.omitted
	w.omitted = 0
	p.mu.Unlock()
	s.tell(n)
}

// Omitted returns how many lines a logger of Logger has left out.
func Omitted(log *slog.Logger) uint64 {
	h, ok := log.Handler().(*handler)
	if !ok {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.omitted
}

const (
	// maxTexts bounds the places that are known by their text.
	maxTexts = 4096
	// textPlace is how much of a text says which place it is from.
	textPlace = 16
)

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	level, text := r.Level, r.Message
	if !h.allow(h.window(&r), h.keyOf(&r), perSecond(level), func(n uint64) {
		h.tell(level, "lines of the log were left out", n, slog.String("line", text))
	}) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// window returns that of the place of a line.
func (p *places) window(r *slog.Record) *window {
	key := place{pc: r.PC, level: r.Level}
	if r.PC == 0 { // what follows may be of a peer, and different each time
		key.text = r.Message[:min(len(r.Message), textPlace)]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.seen[key]
	if w == nil {
		if len(p.seen) >= maxTexts {
			clear(p.seen)
		}
		w = new(window)
		p.seen[key] = w
	}
	return w
}

// allow reports whether one more line of w may go on, which is about k. If it is the first that may not,
// tell is called a second later with the number of those that could not.
func (p *places) allow(w *window, k key, perSecond int, tell func(omitted uint64)) bool {
	second := time.Now().Unix()
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.second != second {
		w.second, w.lines = second, 0
		clear(w.keyed)
	}
	if w.lines < perSecond && w.spend(k, perSecond) {
		w.lines++
		return true
	}
	p.omitted++
	if w.omitted++; w.omitted == 1 {
		s := &sum{tell: tell}
		s.timer = time.AfterFunc(time.Second, func() { p.tellSum(w, s) })
		p.sums[w] = s
	}
	return false
}

// tell logs how many lines were left out, of those that attrs says.
func (p *places) tell(level slog.Level, text string, omitted uint64, attrs ...slog.Attr) {
	if !p.operators.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, text, 0)
	r.AddAttrs(attrs...)
	r.AddAttrs(slog.Uint64("omitted", omitted))
	_ = p.operators.Handle(context.Background(), r)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	about := h.about
	for _, a := range attrs {
		about.take(a)
	}
	return &handler{h.Handler.WithAttrs(attrs), h.places, about}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.places, h.about}
}

// KindConfig says what the lines of a Kind have in common.
type KindConfig struct {
	Level     slog.Level
	PerSecond int    // lines
	Message   string // of a line
	Omitted   string // the message of the line that says how many were left out
	Attr      slog.Attr
}

// A Kind is lines that are limited together, wherever they are logged. Any goroutine may use it.
type Kind struct {
	log    *handler
	config KindConfig
	window window
}

// NewKind returns a Kind that logs to log, which must be one of Logger.
func NewKind(log *slog.Logger, c KindConfig) *Kind {
	return &Kind{log: log.Handler().(*handler), config: c}
}

// Enabled reports whether lines of k's level are logged at all.
func (k *Kind) Enabled() bool { return k.log.Enabled(context.Background(), k.config.Level) }

// Log logs a line with what attrs returns, which is asked only if the line goes on. The line is about
// peer, which may be invalid: a peer without an address.
func (k *Kind) Log(peer netip.Addr, attrs func() []slog.Attr) {
	c := &k.config
	if !k.Enabled() || !k.log.allow(&k.window, peerKey(peer), c.PerSecond, k.tell) {
		return
	}
	var pc [1]uintptr
	runtime.Callers(2, pc[:])
	r := slog.NewRecord(time.Now(), c.Level, c.Message, pc[0])
	r.AddAttrs(c.Attr)
	r.AddAttrs(attrs()...)
	_ = k.log.Handler.Handle(context.Background(), r)
}

func (k *Kind) tell(omitted uint64) {
	k.log.tell(k.config.Level, k.config.Omitted, omitted, k.config.Attr)
}

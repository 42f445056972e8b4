// Package lograte keeps floods out of logs: whatever peers do, a place in the program logs only so many
// lines a second, and says how many it has left out.
//
// It is a handler in front of the operator's own, so that every log call is under it, also the next
// that somebody writes. The key is the place of the call, so the memory is bounded by the program.
package lograte

import (
	"context"
	"log/slog"
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
}

// places are shared by a handler and those made from it with attributes and groups.
type places struct {
	now func() time.Time

	mu      sync.Mutex
	seen    map[place]*window
	omitted uint64
}

// A place is where a log call is, or what it says if it does not tell. The level is of lines that one
// place logs at several.
type place struct {
	pc    uintptr
	text  string // "" unless pc is 0
	level slog.Level
}

// A window is the present second of a place.
type window struct {
	second  int64
	lines   int
	omitted uint64 // since the last line
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
	return slog.New(newHandler(log.Handler(), time.Now))
}

func newHandler(next slog.Handler, now func() time.Time) *handler {
	return &handler{next, &places{now: now, seen: make(map[place]*window)}}
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

// maxTexts bounds the places that are known by their text.
const maxTexts = 4096

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	omitted, ok := h.allow(&r)
	if !ok {
		return nil
	}
	if omitted > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Uint64("omitted", omitted))
	}
	return h.Handler.Handle(ctx, r)
}

// allow reports whether a line may go on, and how many of its place were left out since the last one.
func (p *places) allow(r *slog.Record) (omitted uint64, ok bool) {
	key := place{pc: r.PC, level: r.Level}
	if r.PC == 0 {
		key.text = r.Message
	}
	second := p.now().Unix()
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
	if w.second != second {
		w.second, w.lines = second, 0
	}
	if w.lines >= perSecond(r.Level) {
		w.omitted++
		p.omitted++
		return 0, false
	}
	w.lines++
	omitted, w.omitted = w.omitted, 0
	return omitted, true
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.places}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.places}
}

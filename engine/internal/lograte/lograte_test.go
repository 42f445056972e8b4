package lograte

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A place logs so many lines a second, others are not held up by it, and what is left out is said.
func TestFlood(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	h := newHandler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}), func() time.Time { return now })
	log := slog.New(h)
	flood := func(level slog.Level, n int) {
		for range n {
			log.With("a", 1).Log(t.Context(), level, "flood")
		}
	}
	for _, tt := range []struct {
		level slog.Level
		want  int
	}{{slog.LevelDebug, perSecondDebug}, {slog.LevelInfo, perSecondInfo}, {slog.LevelWarn, perSecondWarn}, {slog.LevelError, perSecondWarn}} {
		out.Reset()
		flood(tt.level, 5000)
		if got := strings.Count(out.String(), "flood"); got != tt.want {
			t.Errorf("%v: %d lines of 5000, want %d", tt.level, got, tt.want)
		}
		log.Log(t.Context(), tt.level, "another place")
		if !strings.Contains(out.String(), "another place") {
			t.Errorf("%v: another place is held up", tt.level)
		}
		now = now.Add(time.Second)
		out.Reset()
		flood(tt.level, 2)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if want := slog.Uint64("omitted", uint64(5000-tt.want)).String(); len(lines) != 2 || !strings.Contains(lines[0], want) ||
			strings.Contains(lines[1], "omitted") {
			t.Errorf("%v: %q a second later, want %s once", tt.level, lines, want)
		}
		now = now.Add(time.Second)
	}
	if want := uint64(4*5000 - perSecondDebug - perSecondInfo - 2*perSecondWarn); Omitted(log) != want {
		t.Errorf("%d lines omitted, want %d", Omitted(log), want)
	}
	if n := len(h.seen); n > 2*4 {
		t.Errorf("%d places are remembered for 2 at 4 levels", n)
	}
}

func TestLogger(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	once := Logger(log)
	if Logger(once) != once || Logger(nil) != nil || Omitted(log) != 0 {
		t.Error("wrapped twice, or out of nothing")
	}
}

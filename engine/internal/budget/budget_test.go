package budget

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A gauge is a memory of the test's own, of 1,000 bytes.
type gauge struct {
	used     int64
	mistaken int64 // of used, what a collection finds is not
	done     []string
	sessions int
	log      bytes.Buffer
}

func (g *gauge) watch() *Watch {
	note := func(format string, args ...any) { g.done = append(g.done, fmt.Sprintf(format, args...)) }
	return New(Config{
		Limit:  1000,
		Used:   func() int64 { return g.used },
		Refuse: func(on bool) { note("refuse %v", on) },
		TrimSessions: func(part int) int {
			n := (g.sessions + part - 1) / part
			g.sessions -= n
			note("trim %d", n)
			return n
		},
		Squeeze: func(n int64) { note("squeeze %d", n) },
		Collect: func(d time.Duration) {
			if note("collect"); d == 0 {
				g.used -= g.mistaken
			}
		},
		Logger: slog.New(slog.NewTextHandler(&g.log, nil)),
	})
}

// Each look goes one stage up or down at most, and does what the stage says; a stage ends only well
// below where it began.
func TestStages(t *testing.T) {
	g := gauge{sessions: 9}
	w := g.watch()
	for i, step := range []struct {
		used  int64
		stage Stage
		does  string
	}{
		{0, Calm, ""},
		{799, Calm, ""},
		{800, Refuse, "collect, refuse true"},
		{799, Refuse, "collect"}, // at the edge nothing changes
		{849, Refuse, "collect"},
		{750, Refuse, "collect"},
		{749, Calm, "collect, refuse false"},
		{950, Refuse, "collect, refuse true"}, // one stage a look, however much is used
		{950, Trim, "collect, collect, trim 2"},
		{950, Close, "collect, collect, squeeze 100, trim 1"},
		{2000, Close, "collect, squeeze 1150, trim 1"},
		{850, Close, "collect, squeeze 1, trim 1"},
		{849, Trim, "collect, squeeze 0, trim 1"},
		{800, Trim, "collect, trim 1"},
		{790, Refuse, "collect"},
		{849, Refuse, "collect"},
		{900, Trim, "collect, collect, trim 1"},
		{0, Refuse, "collect"},
		{0, Calm, "collect, refuse false"},
		{0, Calm, ""},
	} {
		g.used, g.done = step.used, nil
		w.Look()
		if got := strings.Join(g.done, ", "); w.Stage() != step.stage || got != step.does || w.Used() != step.used {
			t.Errorf("step %d, %d used: stage %d, %q, want %d, %q", i, step.used, w.Stage(), got, step.stage, step.does)
		}
	}
	if a, b, c := w.Entered(Refuse), w.Entered(Trim), w.Entered(Close); a != 2 || b != 2 || c != 1 || w.Trimmed() != 8 {
		t.Errorf("entered %d, %d, %d times, %d sessions trimmed", a, b, c, w.Trimmed())
	}
	if lines := strings.Count(g.log.String(), "\n"); lines != 10 {
		t.Errorf("%d lines of log, want one for each change:\n%s", lines, g.log.String())
	}
}

// What only seems to be used begins no stage.
func TestStageIsConfirmed(t *testing.T) {
	g := gauge{sessions: 9}
	w := g.watch()
	for _, stage := range []Stage{Calm, Refuse} {
		g.used, g.mistaken, g.done = 2000, 1300, nil
		if stage == Refuse {
			g.mistaken = 1160
		}
		used := g.used - g.mistaken
		if w.Look(); w.Stage() != stage || w.Used() != used || w.Trimmed() != 0 {
			t.Errorf("stage %d of %d used, %d of them truly", w.Stage(), w.Used(), used)
		}
	}
}

// Use that goes up and down around a mark does not have the gateway go back and forth.
func TestStagesDoNotFlap(t *testing.T) {
	for mark := int64(750); mark < 1000; mark += 10 {
		var g gauge
		w := g.watch()
		for range 8 { // up to where the mark leads
			g.used = mark
			w.Look()
		}
		for i := range 100 {
			g.used = mark + 20*int64(i%2)
			w.Look()
		}
		for s := Refuse; s < Stages; s++ {
			if w.Entered(s) > 1 {
				t.Errorf("around %d: stage %d began %d times", mark, s, w.Entered(s))
			}
		}
	}
}

func TestStatus(t *testing.T) {
	g := gauge{used: 810}
	w := g.watch()
	w.Look()
	if got, want := w.Status(), "memory: 810 of 1000 bytes used, stage 1 of 3: new connections are refused"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

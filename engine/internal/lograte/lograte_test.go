package lograte

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

func textLog(out *syncbuf.Buffer) *slog.Logger {
	return Logger(slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// A place logs so many lines a second, others are not held up by it, and what is left out is said in a line a second
// later, also when the place has nothing more to say.
func TestFlood(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out syncbuf.Buffer
		log := textLog(&out)
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
			if got := strings.Count(out.String(), "msg=flood"); got != tt.want {
				t.Errorf("%v: %d lines of 5000, want %d", tt.level, got, tt.want)
			}
			log.Log(t.Context(), tt.level, "another place")
			if !strings.Contains(out.String(), "another place") {
				t.Errorf("%v: another place is held up", tt.level)
			}
			out.Reset()
			time.Sleep(time.Second)
			synctest.Wait()
			want := fmt.Sprintf("level=%v msg=\"lines of the log were left out\" line=flood omitted=%d\n", tt.level, 5000-tt.want)
			if got := out.String(); !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 1 {
				t.Errorf("%v: %q a second later, want %q", tt.level, got, want)
			}
			out.Reset()
			flood(tt.level, 2)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := out.String(); strings.Count(got, "msg=flood") != 2 || strings.Contains(got, "omitted") {
				t.Errorf("%v: %q after the flood", tt.level, got)
			}
		}
		if want := uint64(4*5000 - perSecondDebug - perSecondInfo - 2*perSecondWarn); Omitted(log) != want {
			t.Errorf("%d lines omitted, want %d", Omitted(log), want)
		}
		if n := len(log.Handler().(*handler).seen); n > 2*4 {
			t.Errorf("%d places are remembered for 2 at 4 levels", n)
		}
	})
}

// A flood that goes on is summed up each second, and no line is lost from the sum.
func TestLongFlood(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out syncbuf.Buffer
		log := textLog(&out)
		const each, seconds = 50, 10
		for range seconds * 10 {
			for range each {
				log.Warn("flood")
			}
			time.Sleep(time.Second / 10)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		lines, sums, omitted := 0, 0, 0
		for line := range strings.Lines(out.String()) {
			n := 0
			if _, sum, ok := strings.Cut(line, "omitted="); !ok {
				lines++
			} else if _, err := fmt.Sscan(sum, &n); err != nil {
				t.Errorf("%q: %v", line, err)
			} else {
				sums, omitted = sums+1, omitted+n
			}
		}
		if lines != seconds*perSecondWarn || lines+omitted != seconds*10*each || sums < seconds-1 || sums > seconds+1 {
			t.Errorf("%d lines, and %d in %d sums, of %d", lines, omitted, sums, seconds*10*each)
		}
	})
}

// Kinds have each their own limit, and ask for what a line says only when it goes on.
func TestKinds(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out syncbuf.Buffer
		log := textLog(&out)
		kind := func(reason string, level slog.Level) *Kind {
			return NewKind(log, KindConfig{level, 3, "end", "ends without a line", slog.String("reason", reason)})
		}
		one, two, quiet := kind("one", slog.LevelInfo), kind("two", slog.LevelInfo), kind("three", slog.LevelDebug-1)
		asked := 0
		say := func(k *Kind, n int) {
			for i := range n {
				k.Log(netip.Addr{}, func() []slog.Attr { asked++; return []slog.Attr{slog.Int("n", i)} })
			}
		}
		say(one, 1000)
		say(two, 2)
		say(quiet, 5)
		if asked != 5 {
			t.Errorf("asked %d times for 5 lines", asked)
		}
		if text := out.String(); strings.Count(text, "msg=end reason=one n=") != 3 || strings.Count(text, "msg=end reason=two n=") != 2 ||
			strings.Count(text, "\n") != 5 {
			t.Errorf("%s", text)
		}
		out.Reset()
		time.Sleep(time.Second)
		synctest.Wait()
		if text := out.String(); !strings.HasSuffix(text, "level=INFO msg=\"ends without a line\" reason=one omitted=997\n") || strings.Count(text, "\n") != 1 {
			t.Errorf("%q a second later", text)
		}
		if n := Omitted(log); n != 997 {
			t.Errorf("%d omitted", n)
		}
	})
}

// Goroutines that log at once lose no line from the sums.
func TestConcurrent(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out syncbuf.Buffer
		log := textLog(&out)
		k := NewKind(log, KindConfig{slog.LevelInfo, 3, "end", "ends without a line", slog.String("reason", "x")})
		var said atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 500 {
					k.Log(netip.Addr{}, func() []slog.Attr { said.Add(1); return nil })
					log.Info("here")
				}
			})
		}
		wg.Wait()
		if n := int64(Omitted(log)); said.Load() != 3 || n != 8*500*2-3-perSecondInfo {
			t.Errorf("%d said, %d omitted", said.Load(), n)
		}
		time.Sleep(2 * time.Second)
	})
}

func TestLogger(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	once := Logger(log)
	if Logger(once) != once || Logger(nil) != nil || Omitted(log) != 0 {
		t.Error("wrapped twice, or out of nothing")
	}
}

// TestFlush: what was left out is said at once, once, and no timer is left.
func TestFlush(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out syncbuf.Buffer
		log := textLog(&out)
		kind := NewKind(log, KindConfig{Level: slog.LevelInfo, PerSecond: 1, Message: "end", Omitted: "ends"})
		for range perSecondWarn + 3 {
			log.Warn("flood")
			kind.Log(netip.Addr{}, func() []slog.Attr { return nil })
		}
		out.Reset()
		Flush(log)
		got := out.String()
		for _, want := range []string{"line=flood omitted=3\n", "msg=ends", fmt.Sprintf("omitted=%d\n", perSecondWarn+2)} {
			if strings.Count(got, want) != 1 {
				t.Errorf("%q is not once in %q", want, got)
			}
		}
		out.Reset()
		Flush(log)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := out.String(); got != "" {
			t.Errorf("%q behind it", got)
		}
		Flush(slog.New(slog.DiscardHandler)) // one that limits nothing
	})
}

package looplag

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// loops run what they are told when the test says so.
type loops struct {
	told   [][]func() // by loop
	probes []int
	busy   []uint64
	log    bytes.Buffer
	closed bool
}

func (ls *loops) lag(n int) *Lag {
	ls.told, ls.probes, ls.busy = make([][]func(), n), make([]int, n), make([]uint64, n)
	return New(Config{
		Loops: n,
		Tell: func(i int, fn func()) bool {
			if ls.closed {
				return false
			}
			ls.told[i] = append(ls.told[i], fn)
			ls.probes[i]++
			return true
		},
		Busy:   func(i int) uint64 { return ls.busy[i] },
		Stack:  func(i int) string { return "stack of loop " + string(rune('0'+i)) },
		Logger: slog.New(slog.NewTextHandler(&ls.log, nil)),
	})
}

// run has loop i do what it was told.
func (ls *loops) run(i int) {
	for _, fn := range ls.told[i] {
		fn()
	}
	ls.told[i] = nil
}

// looks looks n times, as often as Run does.
func looks(l *Lag, n int) {
	for range n {
		time.Sleep(Every)
		l.Look()
	}
}

func (ls *loops) lines() int { return strings.Count(ls.log.String(), "a loop is late") }

func TestLagOfLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ls loops
		l := ls.lag(2)
		l.Look()
		ls.run(0)
		looks(l, 1)
		if late := l.Of(1); late != Every-1 {
			t.Errorf("a loop that has not answered for %v is %v late", Every, late)
		}
		if ls.probes[1] != 1 {
			t.Error("a loop that has not answered is sent more")
		}
		if late := l.Of(0); late > time.Microsecond {
			t.Errorf("a loop that has answered at once is %v late", late)
		}
		ls.run(1)
		time.Sleep(time.Second)
		if late := l.Of(1); late != Every-1 || l.Standing(1) != 0 {
			t.Errorf("%v late, standing %v: want what the last probe took", late, l.Standing(1))
		}
		counts, sum := l.Histogram()
		if counts[0] != 1 || counts[8] != 1 || sum != Every {
			t.Errorf("%v, sum %v: want one at once and one of %v", counts, sum, Every)
		}
	})
}

// A loop that sleeps is woken once a second, one that does something is probed at each look.
func TestSleepingLoopsAreLetBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ls loops
		l := ls.lag(2)
		for range 100 {
			ls.busy[1]++
			looks(l, 1)
			for i := range 2 {
				if len(ls.told[i]) > 0 {
					ls.busy[i]++ // running a probe is something, too
					ls.run(i)
				}
			}
		}
		if ls.probes[0] != 5 || ls.probes[1] != 100 {
			t.Errorf("%v probes in 5 s, want 5 and 100", ls.probes)
		}
	})
}

// A loop that is late is logged once with its stack, and counted, each time; of many lines one in ten
// seconds.
func TestLateLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ls loops
		l := ls.lag(2)
		l.Look()
		ls.run(0)
		looks(l, 1)
		if ls.lines() != 0 || l.LateTimes() != 0 {
			t.Fatalf("%d times late after %v", l.LateTimes(), Every)
		}
		for range 100 {
			looks(l, 1)
			ls.run(0)
		}
		if text := ls.log.String(); ls.lines() != 1 || l.LateTimes() != 1 || !strings.Contains(text, "loop=1 late=100ms") ||
			!strings.Contains(text, `stack="stack of loop 1"`) {
			t.Errorf("%d times late; %s", l.LateTimes(), text)
		}
		for range 3 { // again and again
			ls.run(1)
			for range 30 {
				looks(l, 1)
				ls.run(0)
			}
		}
		if ls.lines() != 1 || l.LateTimes() < 4 {
			t.Errorf("%d times late, %d lines, want one in %v", l.LateTimes(), ls.lines(), stackEvery)
		}
		ls.run(0)
		ls.run(1)
		time.Sleep(stackEvery)
		l.Look()
		looks(l, 3)
		if ls.lines() != 2 || strings.Contains(ls.log.String(), "omitted=0 stack=\"stack of loop 0\"") {
			t.Errorf("after %v: %s", stackEvery, ls.log.String())
		}
	})
}

// A process that did not run for a while says nothing of its loops.
func TestProcessThatWasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ls loops
		l := ls.lag(1)
		l.Look()
		time.Sleep(time.Minute)
		l.Look()
		ls.run(0)
		looks(l, 1)
		if l.LateTimes() != 0 || ls.lines() != 0 {
			t.Errorf("%d times late: %s", l.LateTimes(), ls.log.String())
		}
	})
}

func TestLagAfterTheLoopsHaveStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ls loops
		l := ls.lag(1)
		ls.closed = true
		looks(l, 10)
		if late := l.Of(0); late != 0 || l.LateTimes() != 0 {
			t.Errorf("a loop that has stopped is %v late", late)
		}
	})
}

func TestBounds(t *testing.T) {
	for i := 1; i < len(Bounds); i++ {
		if Bounds[i] <= Bounds[i-1] {
			t.Errorf("bound %v after %v", Bounds[i], Bounds[i-1])
		}
	}
}

package looplag

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// loops run what they are told when the test says so.
type loops struct {
	mu     sync.Mutex // guards what follows where Run has a goroutine
	told   [][]func() // by loop
	probes []int
	begun  []uint64
	runs   []bool
	log    bytes.Buffer
	closed bool
}

func (ls *loops) lag(n int) *Lag {
	ls.told, ls.probes, ls.begun, ls.runs = make([][]func(), n), make([]int, n), make([]uint64, n), make([]bool, n)
	return New(Config{
		Loops: n,
		Tell: func(i int, fn func()) bool {
			ls.mu.Lock()
			defer ls.mu.Unlock()
			if ls.closed {
				return false
			}
			ls.told[i] = append(ls.told[i], fn)
			ls.probes[i]++
			return true
		},
		Steps: func(i int) (uint64, bool) {
			ls.mu.Lock()
			defer ls.mu.Unlock()
			return ls.begun[i], ls.runs[i]
		},
		Stack:  func(i int) string { return "stack of loop " + string(rune('0'+i)) },
		Logger: slog.New(slog.NewTextHandler(&ls.log, nil)),
	})
}

// run has loop i do what it was told.
func (ls *loops) run(i int) {
	ls.mu.Lock()
	ls.runs[i] = false
	if len(ls.told[i]) > 0 {
		ls.begun[i]++
	}
	told := ls.told[i]
	ls.told[i] = nil
	ls.mu.Unlock()
	for _, fn := range told {
		fn()
	}
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
	faketime.Test(t, func(t *testing.T) {
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

// A loop that has little to do is hardly ever woken, one that is busy or at something is probed at each
// look.
func TestQuietLoopsAreLetBe(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var ls loops
		l := ls.lag(4)
		for range 100 {
			ls.begun[1] += busySteps - 1
			ls.begun[2] += busySteps
			ls.runs[3] = true
			looks(l, 1)
			for i := range 4 {
				ls.run(i)
			}
		}
		if p := ls.probes; p[0] != 1 || p[1] != 1 || p[2] != 100 || p[3] != 100 {
			t.Errorf("%v probes in 5 s, want 1, 1, 100 and 100", p)
		}
		looks(l, int(sleepingEvery/Every)+1)
		if ls.probes[0] != 2 {
			t.Errorf("a loop that sleeps has been probed %d times in 15 s, want 2", ls.probes[0])
		}
	})
}

// While all loops sleep nobody looks, and who blocks one then is seen all the same.
func TestDoze(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var ls loops
		l := ls.lag(2)
		var looked atomic.Int32
		steps := l.config.Steps
		l.config.Steps = func(i int) (uint64, bool) {
			if i == 0 {
				looked.Add(1)
			}
			return steps(i)
		}
		done := make(chan struct{})
		go l.Run(done)
		answer := func() {
			synctest.Wait()
			ls.run(0)
			ls.run(1)
		}
		answer()
		const awake = Every + (dozeAfter+1)*quietLook
		time.Sleep(awake)
		synctest.Wait()
		looked.Store(0)
		time.Sleep(sleepingEvery - awake)
		synctest.Wait()
		if n := looked.Load(); n > 0 || ls.probes[0] != 1 {
			t.Fatalf("%d looks, %d probes while the loops slept", n, ls.probes[0])
		}
		ls.mu.Lock()
		ls.begun[1]++
		l.Begin()
		l.Begin()
		ls.runs[1] = true
		ls.mu.Unlock()
		begun := time.Now()
		for l.LateTimes() == 0 && time.Since(begun) < time.Second {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			ls.run(0)
		}
		if d := time.Since(begun); d > 250*time.Millisecond || !strings.Contains(ls.log.String(), "loop=1") {
			t.Errorf("seen after %v: %s", d, ls.log.String())
		}
		// A step between the look and the doze is not overlooked: the loops sleep again, and one more begins.
		for range 2 * dozeAfter {
			answer()
			time.Sleep(quietLook)
		}
		synctest.Wait()
		if !l.dozing.Load() {
			t.Error("loops that have run are looked at on and on")
		}
		close(done)
		synctest.Wait()
	})
}

// A loop that is late is logged once with its stack, and counted, each time; of many lines one in ten
// seconds.
func TestLateLoops(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
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
			ls.runs[1] = true // at something else
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
		ls.runs[0], ls.runs[1] = true, true
		l.Look()
		looks(l, 3)
		if ls.lines() != 2 || strings.Contains(ls.log.String(), "omitted=0 stack=\"stack of loop 0\"") {
			t.Errorf("after %v: %s", stackEvery, ls.log.String())
		}
	})
}

// A process that did not run for a while says nothing of its loops.
func TestProcessThatWasStopped(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
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
	faketime.Test(t, func(t *testing.T) {
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

// Package unhurried tries tests of timers again that a slow machine has spoilt.
//
// Such a test is quick with short timers, and fails with them when the machine stands still in the
// wrong moment. With long ones it is slow on every machine.
package unhurried

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Run runs f, whose times are multiples of unit, a second. If f fails on a machine that stood still
// for a quarter of it meanwhile, in all, or was too slow, that proves nothing: f runs again, in a unit
// twice as long.
func Run(t *testing.T, f func(t *Try, unit time.Duration)) {
	t.Helper()
	for unit := time.Second; ; unit *= 2 {
		tb := &Try{TB: t}
		still := tb.run(func() { f(tb, unit) })
		if !tb.Failed() && !tb.tooSlow {
			return
		}
		if unit == 8*time.Second || !tb.tooSlow && still < unit/4 {
			t.Fatal(strings.Join(append(tb.failures, fmt.Sprintf("in units of %v; slow: %v", unit, tb.tooSlow)), "\n"))
		}
		t.Logf("the machine stood still for %v; once more behind %q", still, tb.failures)
	}
}

// A Try is what f has for a testing.T. It keeps failures and cleanups to itself.
type Try struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	cleanups []func()
	tooSlow  bool
}

// run calls f and the cleanups. It returns for how long the machine stood still, in all.
func (a *Try) run(f func()) (still time.Duration) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			for i := len(a.cleanups) - 1; i >= 0; i-- {
				a.cleanups[i]()
			}
		}()
		f()
	}()
	const look = 50 * time.Millisecond
	for {
		begun := time.Now()
		select {
		case <-ended:
			return still
		case <-time.After(look):
			still += time.Since(begun) - look
		}
	}
}

// Slow gives the try up: the machine was too slow for it. Only f itself may call it.
func (a *Try) Slow() {
	a.tooSlow = true
	runtime.Goexit()
}

// Cleanup has f called at the end of the try.
func (a *Try) Cleanup(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanups = append(a.cleanups, f)
}

// Errorf notes a failure.
func (a *Try) Errorf(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures = append(a.failures, fmt.Sprintf(format, args...))
}

// Fatalf notes a failure and ends the goroutine.
func (a *Try) Fatalf(format string, args ...any) {
	a.Errorf(format, args...)
	runtime.Goexit()
}

// Error is Errorf, formatted as by fmt.Sprintln.
func (a *Try) Error(args ...any) { a.Errorf("%s", fmt.Sprintln(args...)) }

// Fatal is Fatalf, formatted as by fmt.Sprintln.
func (a *Try) Fatal(args ...any) { a.Fatalf("%s", fmt.Sprintln(args...)) }

// Failed reports whether a failure was noted.
func (a *Try) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.failures) > 0
}

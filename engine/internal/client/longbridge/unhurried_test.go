package longbridge_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// unhurried runs f, whose times are multiples of unit, a second. If f fails on a machine that stood
// still for a quarter of it meanwhile, or was too slow, that proves nothing: f runs again, in a unit
// twice as long.
func unhurried(t *testing.T, f func(tb *try, unit time.Duration)) {
	t.Helper()
	for unit := time.Second; ; unit *= 2 {
		tb := &try{TB: t}
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

// A try keeps failures and cleanups to itself.
type try struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	cleanups []func()
	tooSlow  bool
}

// run calls f and the cleanups. It returns for how long the machine stood still at most.
func (a *try) run(f func()) (still time.Duration) {
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
			still = max(still, time.Since(begun)-look)
		}
	}
}

// slow gives the try up: the machine was too slow for it.
func (a *try) slow() {
	a.tooSlow = true
	runtime.Goexit()
}

func (a *try) Cleanup(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanups = append(a.cleanups, f)
}

func (a *try) Errorf(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures = append(a.failures, fmt.Sprintf(format, args...))
}

func (a *try) Fatalf(format string, args ...any) {
	a.Errorf(format, args...)
	runtime.Goexit()
}

func (a *try) Error(args ...any) { a.Errorf("%s", fmt.Sprintln(args...)) }
func (a *try) Fatal(args ...any) { a.Fatalf("%s", fmt.Sprintln(args...)) }

func (a *try) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.failures) > 0
}

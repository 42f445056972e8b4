// Package faketime runs tests in bubbles of [testing/synctest], also under the race detector.
//
// A bubble's timers have one context of the race detector in Go 1.26. Goroutines on two threads that
// find timers of it expired, as each receive from a time.Timer may, use it at once, and the detector
// crashes: a CHECK that failed, or a SIGSEGV in its SlotLock. See https://go.dev/issue/78156.
package faketime

import (
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
)

// Test is synctest.Test. Under the race detector, Go code of the whole process runs on one thread
// meanwhile. The detector finds races by the order of events, for which that is enough.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raceEnabled {
		alone.begin()
		defer alone.end()
	}
	synctest.Test(t, f)
}

// Alone is Test on one thread, and without garbage collection meanwhile. Goroutines run in the order in
// which they got ready, so that the test repeats itself as far as nothing in it is left to chance: the order
// of maps and of timers that expire at the same instant is, and which ready case a select takes.
func Alone(t *testing.T, f func(*testing.T)) {
	t.Helper()
	alone.begin()
	defer alone.end()
	runtime.GC() // of what tests before have left
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	synctest.Test(t, f)
}

// alone counts who wants one thread: tests may run in parallel.
var alone oneThread

type oneThread struct {
	mu     sync.Mutex
	users  int
	before int
}

func (o *oneThread) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users++; o.users == 1 {
		o.before = runtime.GOMAXPROCS(1)
	}
}

func (o *oneThread) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users--; o.users == 0 {
		runtime.GOMAXPROCS(o.before)
	}
}

package link

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// A throttle lets one log line a second through and counts those it leaves out. Any goroutine may
// use it; its zero value works.
type throttle struct {
	second  atomic.Int64 // of the last line, unix
	omitted atomic.Uint64
}

// allow reports whether a line may be logged now, and how many were left out since the last one.
func (t *throttle) allow(now time.Time) (omitted uint64, ok bool) {
	second := now.Unix()
	if last := t.second.Load(); last == second || !t.second.CompareAndSwap(last, second) {
		t.omitted.Add(1)
		return 0, false
	}
	return t.omitted.Swap(0), true
}

// warn logs a line at level Warn, once a second at most.
func (t *throttle) warn(log *slog.Logger, text string, args ...any) {
	if omitted, ok := t.allow(time.Now()); ok {
		if omitted > 0 {
			args = append(args, "omitted", omitted)
		}
		log.Warn(text, args...)
	}
}

// throttles are a link's, one for each thing that a worker can cause at will.
type throttles struct {
	congested  throttle
	malformed  throttle
	delayed    throttle
	sessions   throttle
	unencoded  throttle
	registers  throttle
	panics     throttle
	writeDrops throttle
}

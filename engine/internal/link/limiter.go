package link

import (
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine/internal/rate"
)

// A limiter is a token bucket. It may be used from any goroutine.
type limiter struct {
	name    string
	workers []int32

	mu     sync.Mutex
	rate   int // a second, and at once; 0 or less: none
	bucket rate.Bucket
	start  time.Time // of the bucket's clock
}

func newLimiter(l Limit) *limiter {
	lim := &limiter{name: l.Name, rate: l.Rate}
	for _, id := range l.Workers {
		lim.workers = append(lim.workers, int32(id))
	}
	return lim
}

// allow takes one token, if there is one.
func (l *limiter) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start.IsZero() {
		l.start = now
	}
	return l.rate > 0 && l.bucket.Take(int64(now.Sub(l.start))+1, 1, l.rate)
}

// set changes the rate and with it the burst.
func (l *limiter) set(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
}

func (l *limiter) current() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate
}

package link

import (
	"sync"
	"time"
)

// A limiter is a token bucket. It may be used from any goroutine.
type limiter struct {
	name    string
	workers []int32

	mu     sync.Mutex
	rate   float64 // tokens per second, and how many the bucket holds
	tokens float64
	last   time.Time
}

func newLimiter(l Limit) *limiter {
	lim := &limiter{name: l.Name, rate: float64(l.Rate), tokens: float64(l.Rate)}
	for _, id := range l.Workers {
		lim.workers = append(lim.workers, int32(id))
	}
	return lim
}

// allow takes one token, if there is one.
func (l *limiter) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() {
		if passed := now.Sub(l.last).Seconds(); passed > 0 {
			l.tokens = min(l.rate, l.tokens+passed*l.rate)
		}
	}
	l.last = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// set changes the rate and with it the burst.
func (l *limiter) set(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = float64(rate)
	l.tokens = min(l.tokens, l.rate)
}

func (l *limiter) current() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.rate)
}

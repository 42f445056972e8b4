package worker

import (
	"context"
	"math/rand/v2"
	"time"
)

// A backoff doubles the pause between attempts. Half of each is chance, so that the workers of a
// gateway that restarts do not all come at once.
type backoff struct {
	min, max time.Duration
	next     time.Duration
}

func (b *backoff) pause() time.Duration {
	d := max(b.next, b.min)
	b.next = min(2*d, b.max)
	return d/2 + rand.N(d/2+1)
}

func (b *backoff) reset() { b.next = 0 }

// sleep returns early when ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

package engine

import (
	"sync/atomic"
	"time"
)

// turnTimes say how long a loop's turns were. The loop adds, anybody reads.
type turnTimes struct {
	sum     atomic.Int64 // ns
	longest atomic.Int64 // ns
	below   [len(TurnBounds) + 1]atomic.Uint64
}

func (t *turnTimes) add(d time.Duration) {
	i := 0
	for i < len(TurnBounds) && d > TurnBounds[i] {
		i++
	}
	t.below[i].Add(1)
	t.sum.Add(int64(d))
	if int64(d) > t.longest.Load() {
		t.longest.Store(int64(d))
	}
}

func (t *turnTimes) read() (turns uint64, total, longest time.Duration, below [len(TurnBounds) + 1]uint64) {
	for i := range below {
		below[i] = t.below[i].Load()
		turns += below[i]
	}
	return turns, time.Duration(t.sum.Load()), time.Duration(t.longest.Load()), below
}

package faketime

import (
	"sync"
	"testing"
	"time"
)

// Goroutines of a bubble that find their timers expired on two threads crash the race detector.
func TestExpiredTimers(t *testing.T) {
	for range 100 {
		Test(t, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					for range 20 {
						timer := time.NewTimer(time.Millisecond)
						time.Sleep(time.Millisecond)
						select {
						case <-timer.C:
						default:
							t.Error("a timer that has expired has no time to give")
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

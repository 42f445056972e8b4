// Package beat has what is done from time to time done at the same moments, so that an idle process wakes
// up once for all of it.
package beat

import "time"

// Run calls f whenever the time of day is a multiple of every, until done is closed. A call that takes
// longer than that has the next ones left out.
func Run(every time.Duration, done <-chan struct{}, f func()) {
	t := time.NewTimer(left(time.Now(), every))
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-t.C:
			f()
			t.Reset(left(time.Now(), every))
		}
	}
}

// left returns how long it is until the next multiple of every.
func left(now time.Time, every time.Duration) time.Duration {
	return every - time.Duration(now.UnixNano()%int64(every))
}

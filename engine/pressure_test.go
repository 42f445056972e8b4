package engine

import "testing"

// Whom a loop takes for stalled depends on how many beside it have full sockets.
func TestCrowd(t *testing.T) {
	for _, tt := range []struct {
		full, subscribers int
		stalled, hold     uint32
		wait              int64 // of a publish of 64 KiB
	}{
		{0, 0, stalledAfter, holdAtMost, publishWait},
		{1, 1, stalledAfter, holdAtMost, publishWait},
		{15, 15, stalledAfter, holdAtMost, publishWait},
		{50, 1000, stalledAfter, holdAtMost, publishWait}, // single ones that do not read
		{124, 1000, stalledAfter, holdAtMost, publishWait},
		{125, 1000, crowdPatience, 2 * crowdPatience, 2500},
		{499, 1000, crowdPatience, 2 * crowdPatience, 2500},
		{500, 1000, massPatience, 2 * massPatience, 2500},
		{16, 16, massPatience, 2 * massPatience, 2500},
	} {
		l := &Loop{now: 1000, limit: 1 << 20, quarter: 1 << 18}
		e := &Engine{loops: []*Loop{{}, l}}
		l.noteCrowd(tt.full, tt.subscribers)
		if stalled, hold := l.patienceFor(); stalled != tt.stalled || hold != tt.hold {
			t.Errorf("%d of %d: patience %d and %d ms, want %d and %d", tt.full, tt.subscribers, stalled, hold, tt.stalled, tt.hold)
		}
		if got := e.longestWait(l.now, 64<<10); got != tt.wait {
			t.Errorf("%d of %d: a publish waits %d ms, want %d", tt.full, tt.subscribers, got, tt.wait)
		}
		if got := e.longestWait(l.now, 1000); got != publishWait {
			t.Errorf("%d of %d: a small publish waits %d ms, want %d", tt.full, tt.subscribers, got, publishWait)
		}
		// A single full socket does not end it, but the time does.
		l.now += massPatience
		l.noteCrowd(1, 1000)
		if stalled, _ := l.patienceFor(); stalled != stalledAfter {
			t.Errorf("%d of %d: patience %d ms afterwards", tt.full, tt.subscribers, stalled)
		}
	}
}

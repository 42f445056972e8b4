package cluster

import (
	"testing"
	"time"
)

// Whether all that was published since a moment must be there yet is found out by times, of which none tells
// while the log's clock, having been set back, has that moment before it.
func TestTimely(t *testing.T) {
	const age = 5 * time.Minute
	base := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return base.Add(time.Duration(minutes) * time.Minute) }
	empty := func(last int) StreamState {
		return StreamState{First: 8, Last: 7, LastAt: at(last), Limits: StreamLimits{Age: age}}
	}
	from := func(first int) StreamState {
		return StreamState{First: 5, Last: 7, FirstAt: at(first), LastAt: at(first), Limits: StreamLimits{Age: age}}
	}
	for _, test := range []struct {
		what       string
		st         StreamState
		since, now int // minutes
		want       bool
	}{
		{"the first one is from before", from(58), 60, 62, true},
		{"the first one is from later", from(61), 60, 63, false},
		{"none is left, and the last was before", empty(1), 60, 62, true},
		{"none is left, and one since then has expired", empty(61), 60, 67, false},
		{"none is left, and somebody has emptied it", empty(61), 60, 62, false},
		{"the clock was set back: what was published then has expired", empty(1), 60, 10, false},
		{"the clock was set back: what was published then has made room", from(5), 60, 8, false},
	} {
		r := fetch{since: at(test.since).UnixMilli()}
		if got := r.timely(test.st, at(test.now)); got != test.want {
			t.Errorf("%s: %v", test.what, got)
		}
	}
}

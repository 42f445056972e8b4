package reactor

import (
	"time"

	"golang.org/x/sys/unix"
)

var (
	clockStart = time.Now()
	clockBase  = func() int64 {
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			return 0
		}
		return ts.Nano() - int64(time.Since(clockStart))
	}()
)

// Now is CLOCK_MONOTONIC in nanoseconds: the same in all processes of a machine, so that one of
// them can measure what another one stamped.
func Now() int64 { return clockBase + int64(time.Since(clockStart)) }

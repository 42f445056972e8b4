package sdnotify

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Monotonic is a line with the time of the system's monotonic clock. The manager compares it with the
// time at which it asked for a reload.
func Monotonic() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // fails for unknown clocks alone
	return "MONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10)
}

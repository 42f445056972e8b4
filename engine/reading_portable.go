//go:build portable

package engine

import "golang.org/x/sys/unix"

// findPoller finds none: the fallback does not pause reading. Input that may not be handled yet is
// bounded by closing the connection.
func findPoller(int32) int32 { return -1 }

// pauseIsDeaf: there are no pauses.
const pauseIsDeaf = false

func setReading(_, _ int32, _ bool) error { return unix.ENOTSUP }

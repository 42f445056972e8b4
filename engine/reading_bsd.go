//go:build (darwin || freebsd) && !portable

package engine

import "golang.org/x/sys/unix"

// gnet cannot stop reading a connection: it takes what arrives into memory. So that a client whose
// input is paused is slowed down by TCP instead, the loop disables the read event of its descriptor
// in gnet's own kqueue, and enables it when the pause ends. gnet adds the event once, level-triggered,
// and does not touch it between a connection's beginning and its end.

// pauseIsDeaf: a disabled event tells of nothing, a reset included (kqueue(2), EV_DISABLE).
const pauseIsDeaf = true

// findPoller finds the kqueue in which fd's read event is; gnet does not tell. An event can be enabled
// (kqueue(2), EV_ENABLE) in the kqueue that has it only: everywhere else the answer is ENOENT, or EBADF
// where there is no kqueue. It returns -1 when there is none.
func findPoller(fd int32) int32 {
	for set := range int32(min(fileLimit(), 1<<20)) { // low numbers are given out first
		if set != fd && setReading(set, fd, true) == nil {
			return set
		}
	}
	return -1
}

// setReading enables or disables a descriptor's read event.
func setReading(set, fd int32, on bool) error {
	ev := [1]unix.Kevent_t{{Ident: uint64(fd), Filter: unix.EVFILT_READ, Flags: unix.EV_DISABLE}}
	if on {
		ev[0].Flags = unix.EV_ENABLE
	}
	_, err := unix.Kevent(int(set), ev[:], nil, nil)
	return err
}

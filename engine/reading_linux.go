//go:build !portable

package engine

import "golang.org/x/sys/unix"

// gnet cannot stop reading a connection: it takes what arrives into memory. So that a client whose
// input is paused is slowed down by TCP instead, the loop takes the events away from its descriptor,
// in gnet's own epoll set, and gives them back when the pause ends. gnet does not touch a
// registration between a connection's beginning and its end.

// pauseIsDeaf: EPOLLERR and EPOLLHUP are reported always (epoll_ctl(2)).
const pauseIsDeaf = false

// readEvents are what gnet registers a connection with.
const readEvents = unix.EPOLLIN | unix.EPOLLPRI

// findPoller finds the epoll set in which fd is registered; gnet does not tell. A descriptor can be
// modified (epoll_ctl(2), EPOLL_CTL_MOD) in the set that has it only: everywhere else the answer is
// ENOENT, or EINVAL where there is no epoll set. It returns -1 when there is none.
func findPoller(fd int32) int32 {
	for set := range int32(fileLimit()) { // low numbers are given out first
		if set != fd && setReading(set, fd, true) == nil {
			return set
		}
	}
	return -1
}

// setReading asks an epoll set for a descriptor's input, or for errors and hang-ups alone.
func setReading(set, fd int32, on bool) error {
	ev := unix.EpollEvent{Fd: fd}
	if on {
		ev.Events = readEvents
	}
	return unix.EpollCtl(int(set), unix.EPOLL_CTL_MOD, int(fd), &ev)
}

package engine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// gnet cannot stop reading a connection: it takes what arrives into memory. So that a client whose
// input is held back is slowed down by TCP instead, the loop takes the events away from its
// descriptor, in gnet's own epoll set, and gives them back when the hold ends. gnet does not touch
// a registration between a connection's beginning and its end, and errors and hang-ups are
// reported without being asked for.

// readEvents are what gnet registers a connection with.
const readEvents = unix.EPOLLIN | unix.EPOLLPRI

// pauseAbove is how many bytes of held-back input gnet may hold before reading is paused: most
// holds are over before anything arrives.
const pauseAbove = 16 << 10

// findPoller finds the epoll set in which fd, which must be in one only, is registered. gnet does
// not tell, the kernel does (proc(5), /proc/pid/fdinfo).
func findPoller(fd int) (int, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1, err
	}
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || link != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			continue
		}
		for _, line := range bytes.Split(info, []byte("\n")) {
			f := bytes.Fields(line)
			if len(f) < 2 || string(f[0]) != "tfd:" {
				continue
			}
			if n, err := strconv.Atoi(string(f[1])); err == nil && n == fd {
				return strconv.Atoi(e.Name())
			}
		}
	}
	return -1, fmt.Errorf("no epoll set has descriptor %d", fd)
}

// pause stops reading c. It reports false where that cannot be done: input is then bounded by
// closing the connection.
func (l *Loop) pause(c *Conn) bool {
	if c.flags&flagPaused != 0 {
		return true
	}
	if l.epoll < 0 || c.sock == nil {
		return false
	}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, int(c.fd), &unix.EpollEvent{Fd: c.fd}); err != nil {
		return false
	}
	c.flags |= flagPaused
	return true
}

// unpause reads c again.
func (l *Loop) unpause(c *Conn) {
	if c.flags&flagPaused == 0 || c.sock == nil {
		return
	}
	c.flags &^= flagPaused
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, int(c.fd), &unix.EpollEvent{Fd: c.fd, Events: readEvents}); err != nil {
		l.engine.log.Error("cannot read a connection again", "err", err)
		l.cut(c, ReasonServerError)
	}
}

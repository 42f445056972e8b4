//go:build darwin || freebsd

package engine

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// send writes p to a non-blocking socket without an allocation. A write(2) is a send(2) without
// flags; the Go runtime ignores the SIGPIPE of a broken socket. more keeps the last segment back for
// the FIN that follows (tcp(4), TCP_NOPUSH: nothing leaves until the socket is closed or its buffer
// is full).
func send(fd int32, p []byte, more bool) (int, syscall.Errno) {
	if more {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOPUSH, 1)
	}
	for {
		n, err := unix.Write(int(fd), p)
		switch errno, _ := err.(syscall.Errno); {
		case errno == unix.EINTR:
		case errno != 0:
			return 0, errno
		default:
			return n, 0
		}
	}
}

// fionread is FIONREAD of sys/filio.h, the same number on both systems.
const fionread = 0x4004667f

// unread reports whether bytes wait in the socket (ioctl(2), FIONREAD).
func unread(fd int32) bool {
	n, err := unix.IoctlGetInt(int(fd), fionread)
	return err == nil && n > 0
}

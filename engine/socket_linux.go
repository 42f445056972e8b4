package engine

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawBelow is the send size in bytes up to which the loop keeps its P during the call: a short
// send returns sooner than the scheduler could use the P.
const rawBelow = 64 << 10

// send writes p to a non-blocking socket without an allocation or, when p is short, the scheduler.
// more keeps the last segment back for the FIN that follows (send(2), MSG_MORE).
func send(fd int32, p []byte, more bool) (int, syscall.Errno) {
	flags := uintptr(unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT)
	if more {
		flags |= unix.MSG_MORE
	}
	for {
		var n uintptr
		var errno syscall.Errno
		if len(p) <= rawBelow {
			n, _, errno = syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
		} else {
			n, _, errno = syscall.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
		}
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}

// unread reports whether bytes wait in the socket (tcp(7), SIOCINQ).
func unread(fd int32) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
	return err == nil && n > 0
}

// unacked returns how many sent bytes the peer has not acknowledged (tcp(7), SIOCOUTQ).
func unacked(fd int32) (int, bool) {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	return n, err == nil
}

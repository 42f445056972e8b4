package unixsock

import (
	"math"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer returns the process at the other end of a connection, and its user. ok is false if the system
// does not tell.
func Peer(conn net.Conn) (pid int, uid uint32, ok bool) {
	s, isConn := conn.(syscall.Conn)
	if !isConn {
		return 0, 0, false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	_ = raw.Control(func(fd uintptr) { pid, uid, ok = PeerOf(int(fd)) })
	return pid, uid, ok
}

// PeerOf is Peer for a descriptor.
func PeerOf(fd int) (pid int, uid uint32, ok bool) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || c.Pid == 0 && c.Uid == math.MaxUint32 { // the second: not a unix socket
		return 0, 0, false
	}
	return int(c.Pid), c.Uid, true
}

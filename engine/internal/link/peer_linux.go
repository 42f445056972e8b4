package link

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unixPeer is what the log calls a peer on a unix socket: the process that connected, and its user.
func unixPeer(conn net.Conn) string {
	const unknown = "unix"
	s, ok := conn.(syscall.Conn)
	if !ok {
		return unknown
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return unknown
	}
	name := unknown
	_ = raw.Control(func(fd uintptr) {
		if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = fmt.Sprintf("unix(pid=%d,uid=%d)", c.Pid, c.Uid)
		}
	})
	return name
}

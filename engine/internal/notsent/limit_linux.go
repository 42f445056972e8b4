package notsent

import (
	"net"

	"golang.org/x/sys/unix"
)

// Limit has a connection take bytes from its writer while fewer than so many wait in the kernel to be
// sent (tcp(7), TCP_NOTSENT_LOWAT). It does nothing for connections that are not TCP's.
func Limit(conn net.Conn, bytes int) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // without it more waits, and nothing else is different
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
	})
}

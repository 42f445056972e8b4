package engine

import "golang.org/x/sys/unix"

// unacked returns how many bytes are in the socket's send buffer, which keeps them until the peer
// has acknowledged them (getsockopt(2), SO_NWRITE).
func unacked(fd int32) (int, bool) {
	n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NWRITE)
	return n, err == nil
}

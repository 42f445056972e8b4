package engine

import "golang.org/x/sys/unix"

// fionwrite is FIONWRITE of sys/filio.h.
const fionwrite = 0x40046677

// unacked returns how many bytes are in the socket's send buffer, which keeps them until the peer
// has acknowledged them (sys/filio.h, FIONWRITE).
func unacked(fd int32) (int, bool) {
	n, err := unix.IoctlGetInt(int(fd), fionwrite)
	return n, err == nil
}

//go:build !linux

package unixsock

import "net"

// Peer returns the process at the other end of a connection, and its user. ok is false if the system
// does not tell.
func Peer(net.Conn) (pid int, uid uint32, ok bool) { return 0, 0, false }

// PeerOf is Peer for a descriptor.
func PeerOf(int) (pid int, uid uint32, ok bool) { return 0, 0, false }

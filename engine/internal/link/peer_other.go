//go:build !linux

package link

import "net"

// unixPeer is what the log calls a peer on a unix socket.
func unixPeer(net.Conn) string { return "unix" }

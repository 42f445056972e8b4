// Package loopback tells what is certainly this machine alone.
//
// # Ownership and goroutines
//
// Functions without state: any goroutine may call them.
package loopback

import (
	"net"
	"net/netip"
	"strings"
)

// Host reports whether a host can be nobody but this machine: an address of loopback, or localhost.
// Names below localhost are not, though RFC 6761 section 6.3 wants it: some resolvers ask others.
func Host(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

// HostPort is Host of HOST:PORT. What is not of that form may be anything.
func HostPort(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && Host(host)
}

// Addr reports whether a socket with this address is reached from this machine alone: one of loopback,
// or no TCP socket, which for a listener is a unix socket.
func Addr(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

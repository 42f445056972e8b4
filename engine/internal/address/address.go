// Package address has the rules for addresses that hold everywhere in the gateway: an IPv4 address
// is the same whether a socket of IPv4 or of IPv6 shows it, a zone says nothing about who a peer is,
// and limits count an IPv4 address as it is and an IPv6 one by its /64.
package address

import (
	"net"
	"net/netip"
)

// Plain returns a without what depends on the socket that has shown it: an IPv4-mapped address is
// IPv4, and there is no zone.
func Plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Key returns what limits count a by: an IPv4 address as it is, and of an IPv6 address the /64, which
// is what one host has. The invalid Addr, a peer without an address, is its own key: nobody limits it.
func Key(a netip.Addr) netip.Addr {
	a = Plain(a)
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// Of returns the address and port of a TCP peer, plain, and the invalid AddrPort for anything else,
// such as the peer of a unix socket.
func Of(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ip, ok := netip.AddrFromSlice(tcp.IP)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(tcp.Port))
}

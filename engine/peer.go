package engine

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/engine/internal/unixsock"
)

// Peer returns the address of the client: the remote end of its socket, or what a trusted proxy has
// said. IPv4 is IPv4, whatever the listener's socket, and there is no zone. It is invalid for a
// client that has none, such as that of a unix socket. It is not meant for hot paths.
func (c *Conn) Peer() netip.AddrPort {
	if c.flags&flagPeerKept != 0 {
		return c.loop.peers[c.slot].addrPort()
	}
	return c.socketPeer()
}

// socketPeer returns the remote end of c's socket: a proxy's, if one speaks for the client.
func (c *Conn) socketPeer() netip.AddrPort {
	if c.sock != nil {
		return address.Of(c.sock.RemoteAddr())
	}
	if c.fd >= 0 { // gnet is done with it, we are not
		return c.loop.engine.system.peer(c.fd)
	}
	return netip.AddrPort{}
}

// AppendPeer appends the text of Peer to dst. A client without an address is "unix": its socket is one,
// or that of its connection to a proxy. "unknown" is one whose socket has no name any more.
func (c *Conn) AppendPeer(dst []byte) []byte {
	if a := c.Peer(); a.IsValid() {
		return a.AppendTo(dst)
	}
	if c.onUnix() || c.flags&flagPeerTold != 0 {
		return append(dst, "unix"...)
	}
	return append(dst, "unknown"...)
}

// LogPeer is the peer for a line of the log, which tells of the process at the other end of a unix
// socket, too, where the system does. It is good until the call on the loop returns.
func (c *Conn) LogPeer() slog.LogValuer { return (*loggedPeer)(c) }

type loggedPeer Conn

// LogValue implements slog.LogValuer.
func (p *loggedPeer) LogValue() slog.Value {
	c := (*Conn)(p)
	if a := c.Peer(); a.IsValid() {
		return slog.AnyValue(a)
	}
	if c.onUnix() && c.flags&flagPeerTold == 0 && c.fd >= 0 {
		if pid, uid, ok := unixsock.PeerOf(int(c.fd)); ok {
			return slog.StringValue(fmt.Sprintf("unix(pid=%d,uid=%d)", pid, uid))
		}
	}
	return slog.StringValue(string(c.AppendPeer(nil)))
}

// onUnix reports whether c's socket is a unix one.
func (c *Conn) onUnix() bool {
	l := c.loop.engine.listeners.Load()
	return l != nil && int(c.listener) < len(*l) && (*l)[c.listener].unix
}

// Via returns the address and port of the proxy that has said who the client is, or "unix" for one
// without an address; empty if none has.
func (c *Conn) Via() string {
	if c.flags&flagPeerTold == 0 {
		return ""
	}
	if a := c.socketPeer(); a.IsValid() {
		return a.String()
	}
	return "unix"
}

// setPeer notes who a proxy has said the client is. An invalid address says that it has none. It is for
// stages, and holds from then on.
func (c *Conn) setPeer(addr netip.AddrPort) {
	c.keepPeer(addr)
	c.flags |= flagPeerTold
}

// keepPeer notes what Peer is to return, whatever becomes of the socket.
func (c *Conn) keepPeer(addr netip.AddrPort) {
	l := c.loop
	if l.peers == nil {
		l.peers = make(map[uint32]keptPeer)
	}
	if c.flags&flagPeerKept == 0 {
		c.flags |= flagPeerKept
		l.accounts.add(KindAddresses, keptPeerCost)
	}
	l.peers[c.slot] = pack(addr)
}

// keptPeerCost is about what an entry of Loop.peers takes, in bytes.
const keptPeerCost = 40

// forgetPeer gives up what keepPeer has noted.
func (l *Loop) forgetPeer(c *Conn) {
	if c.flags&flagPeerKept != 0 {
		c.flags &^= flagPeerKept
		l.accounts.add(KindAddresses, -keptPeerCost)
		delete(l.peers, c.slot)
	}
}

// A keptPeer is an address and port without pointers, for a map that the garbage collector need not
// look into.
type keptPeer struct {
	addr  [16]byte // IPv4 as IPv4-mapped
	port  uint16
	valid bool
}

func pack(a netip.AddrPort) keptPeer {
	if !a.IsValid() {
		return keptPeer{}
	}
	return keptPeer{a.Addr().As16(), a.Port(), true}
}

func (p keptPeer) addrPort() netip.AddrPort {
	if !p.valid {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(p.addr).Unmap(), p.port)
}

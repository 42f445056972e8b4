package link

import (
	"net"
	"net/netip"

	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/engine/internal/unixsock"
)

// peerOf returns what the log calls the peer of a connection, and its address, which is invalid if it
// has none.
func peerOf(conn net.Conn) (name string, addr netip.Addr) {
	remote := conn.RemoteAddr()
	if _, ok := remote.(*net.UnixAddr); ok {
		return unixsock.Name(conn), addr
	}
	return remote.String(), address.Of(remote).Addr()
}

package engine

import (
	"net"
	"net/netip"
	"testing"
)

func TestPeer(t *testing.T) {
	l := &Loop{}
	sock := &simConn{remote: net.TCPAddr{IP: net.ParseIP("198.51.100.1"), Port: 4000}}
	c := &Conn{loop: l, slot: 7, fd: -1, sock: sock}
	socket := netip.MustParseAddrPort("198.51.100.1:4000")
	if got := c.Peer(); got != socket {
		t.Errorf("Peer = %v, want the socket's %v", got, socket)
	}
	for _, told := range []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.9:51000"),
		netip.MustParseAddrPort("[2001:db8::9]:51000"),
		{}, // behind the proxy's unix socket
	} {
		c.setPeer(told)
		if got := c.Peer(); got != told {
			t.Errorf("Peer = %v, told was %v", got, told)
		}
		if got := c.socketPeer(); got != socket {
			t.Errorf("the socket's peer is %v, want %v", got, socket)
		}
	}
	l.forgetPeer(c)
	if len(l.peers) != 0 {
		t.Errorf("%d addresses left behind", len(l.peers))
	}
}

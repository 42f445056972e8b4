package engine

import (
	"net"
	"net/netip"
	"testing"
)

func TestPeer(t *testing.T) {
	e, err := newEngine(Config{Loops: 1}, new(stillSystem))
	if err != nil {
		t.Fatal(err)
	}
	l := e.loops[0]
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
	if n := l.accounts.now[KindAddresses]; n != keptPeerCost {
		t.Errorf("%d bytes on the account, want %d", n, keptPeerCost)
	}
	l.forgetPeer(c)
	if n := l.accounts.now[KindAddresses]; len(l.peers) != 0 || n != 0 {
		t.Errorf("%d addresses and %d bytes left behind", len(l.peers), n)
	}
}

package engine

import "github.com/sluicenet/sluice/codec/proxyproto"

// A proxied is the stage that reads the PROXY header, from a proxy that is trusted to say who the
// client is. Nothing else may come first: the header is never guessed at.
type proxied struct{ unknown }

func (proxied) OnBytes(c *Conn, b []byte) (n, need int) {
	n, err := proxyproto.Length(b)
	switch {
	case err != nil:
		c.badProxyHeader(err)
		return 0, 0
	case n == 0:
		return 0, len(b) + 1
	case n > len(b):
		return 0, n
	}
	h, n, err := proxyproto.Decode(b)
	if err != nil {
		c.badProxyHeader(err)
		return 0, 0
	}
	if h.Names() { // or the connection is the proxy's own
		c.setPeer(h.Source)
	}
	c.loop.enter(c, stageProxy+1)
	if c.loop.engine.listenerAt(c.listener).mayForward(c.Peer().Addr(), c.flags&flagPeerTold != 0) {
		return n, 0
	}
	if why, ok := c.loop.admitPeer(c); !ok {
		c.loop.refuse(c, why)
	}
	return n, 0
}

// badProxyHeader ends a connection whose proxy sends no header, or a bad one. That is a mistake in
// somebody's configuration: the operator is to know of it.
func (c *Conn) badProxyHeader(err error) {
	c.loop.engine.log.Warn("no good PROXY header from a trusted proxy", "proxy", c.socketPeer(), "err", err)
	c.Close(ReasonProxyHeader)
}

func (proxied) OnDeadline(c *Conn) { c.outOfTime(ReasonProxyTimeout) }

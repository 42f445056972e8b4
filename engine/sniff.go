package engine

// A sniffer is the stage that finds out which protocol a connection speaks.
type sniffer struct{ unknown }

func (sniffer) OnBytes(c *Conn, b []byte) (n, need int) {
	if len(b) == 0 { // behind an earlier stage
		return 0, 1
	}
	for _, p := range c.Listener().Protocols {
		switch c.loop.sniff(p, b) {
		case Matched:
			if _, ok := p.(Identifier); !ok && c.Unidentified() {
				if why, ok := c.loop.admitPeer(c); !ok {
					c.loop.refuse(c, why)
					if !c.Open() {
						return 0, 0
					}
					return c.loop.onBytes(c, b)
				}
			}
			if _, ok := p.(Trusted); !ok {
				c.flags &^= flagTrusted
			}
			c.loop.open(c, p)
			if t := c.loop.tlsOf(c); t != nil {
				t.packets, _ = c.handler.(RecordPerPacket)
			}
			if !c.Open() || c.Paused() {
				return 0, 0
			}
			return c.loop.onBytes(c, b)
		case NeedMore: // those behind it wait, or what a client speaks would depend on its segments
			return 0, len(b) + 1
		}
	}
	if isHello(b) && c.flags&flagTLS == 0 {
		c.Write(alertRecord(alertHandshakeFailure))
		c.Close(ReasonTLSNotServed)
		return 0, len(b) + 1
	}
	c.Close(ReasonUnknownProtocol)
	return 0, len(b) + 1
}

// sniff shows p a connection's first bytes.
func (l *Loop) sniff(p Protocol, b []byte) (m Match) {
	if _, ok := p.(Trusted); ok {
		return p.Sniff(b)
	}
	l.Isolate(func() { m = p.Sniff(b) })
	return m
}

// open makes the handler of a connection whose protocol is known.
func (l *Loop) open(c *Conn, p Protocol) {
	if c.flags&flagTrusted != 0 {
		c.handler = p.Open(c)
		return
	}
	l.Isolate(func() { c.handler = p.Open(c) })
}

func (sniffer) OnDeadline(c *Conn) { c.outOfTime(ReasonLoginTimeout) }

package engine

// A Traffic is what a connection has received and sent.
type Traffic struct {
	BytesIn, BytesOut     uint64
	PacketsIn, PacketsOut uint64 // as Stats has them
	Since                 int64  // ms on the engine's clock, when the connection was accepted
}

// Traffic returns what the connection has received and sent so far.
func (c *Conn) Traffic() Traffic { return *c.meter() }

// finalTraffic is what c has received and sent when it ends. If that is graceful, what is queued on a
// socket that is not full counts as sent: it goes out in this step, and with it the final words. Of TLS
// it counts without what the records add.
func (c *Conn) finalTraffic(graceful bool) Traffic {
	t := c.Traffic()
	if !graceful || c.flags&flagBlocked != 0 || c.first.ref == nil {
		return t
	}
	t.BytesOut += uint64(c.unsent())
	t.PacketsOut += uint64(c.first.messages)
	if q := c.queue; q != nil {
		for i := q.head; i < len(q.entries); i++ {
			t.PacketsOut += uint64(q.entries[i].messages)
		}
	}
	return t
}

// meter returns the connection's counters. They lie in a table of their own: a loop that looks for
// connections does not read them.
func (c *Conn) meter() *Traffic { return &c.loop.meters[c.slot/chunkSize][c.slot%chunkSize] }

// A Holding is what is kept for a connection, and how it takes what it is sent.
type Holding struct {
	Unsent   int // bytes of replies and of pushes to it alone
	Lag      int // bytes of published runs that it has yet to be sent
	Messages int // queue entries that they make up, each of one message or more
	Input    int // bytes of input that are not handled
	Account  int // bytes kept for it and nobody else, of all kinds

	Blocked   bool // its socket is full
	Congested bool // publishers may have to wait for it
	Excluded  bool // it has stalled: nobody waits for it
	Paused    bool // its input is left unhandled
	Client    bool // broadcasts reach it
}

// Holding returns what is kept for the connection.
func (c *Conn) Holding() Holding {
	return Holding{
		Unsent: int(c.own), Lag: int(c.lag), Messages: c.entries(), Input: int(c.input), Account: int(c.account()),
		Blocked: c.flags&flagBlocked != 0, Congested: c.flags&flagCongested != 0,
		Excluded: c.flags&flagExcluded != 0, Paused: c.Paused(), Client: c.flags&flagClient != 0,
	}
}

// Subscribed reports whether the connection is in a topic.
func (c *Conn) Subscribed(name []byte) bool {
	k, ok := c.loop.engine.topics.Lookup(name)
	return ok && c.member.Has(k.ID)
}

// ListenerIndex returns the number of the listener that accepted the connection, in the order of the
// calls of Listen.
func (c *Conn) ListenerIndex() int { return int(c.listener) }

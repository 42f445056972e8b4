package gateway

import (
	"github.com/sluicenet/sluice/engine"
)

// Whoever inflates pays by the bytes that come out: 4 KiB of gzip may be 4 MiB for a worker. A client
// may have so many inflated a second (Config.MaxInflateRate), and a second's worth at once; beyond
// that its input is paused until it may have more. Nothing is refused and nobody else waits.

// inflateWindow is how far a client may be ahead of its rate, in µs.
const inflateWindow = 1_000_000

// inflateCost is about what a client costs among a loop's debts, in bytes.
const inflateCost = 40

// Inflated notes that n bytes of what a client sent have come out of gzip or permessage-deflate.
// Protocols call it on the client's loop, once it has logged in.
func (g *Gateway) Inflated(c *engine.Conn, s Session, n int) {
	rate := int64(g.Config().MaxInflateRate)
	if rate <= 0 || n <= 0 || !c.Open() {
		return
	}
	debts, now := &g.scratch[c.Loop().Index()].inflated, c.Loop().Now()*1000
	debt, ok := (*debts)[c.Ref()]
	if !ok {
		if *debts == nil {
			*debts = make(map[engine.Ref]int64)
		}
		c.Charge(engine.KindRequests, inflateCost)
	}
	debt = max(debt, now) + int64(n)*1_000_000/rate + 1
	(*debts)[c.Ref()] = debt
	if debt <= now+inflateWindow {
		return
	}
	x := s.Base().ensure(g.pool(c))
	if x.paused&pausedInflate != 0 {
		return
	}
	x.pause(c, pausedInflate)
	g.stats.inflateHolds.Add(1)
	g.log.Warn("a client has too much inflated: it is not read for a while", "protocol", s.Protocol(),
		"peer", c.LogPeer(), "uniqId", g.ID(s.Base()), "user", s.Base().user, "bytesPerSecond", rate,
		"pauseMs", (debt-now-inflateWindow)/1000)
	g.Arm(c, s)
}

// inflateLeft returns in how many ms the client is to be read again, at least 1; 0 when it is. A pause
// that is over is ended, and what is over of a rate forgotten.
func (g *Gateway) inflateLeft(c *engine.Conn, cl *Client) int64 {
	debt, ok := g.scratch[c.Loop().Index()].inflated[c.Ref()]
	if !ok {
		return 0
	}
	ahead := debt - c.Loop().Now()*1000
	if ahead <= 0 {
		g.forgetInflated(c)
	}
	x := cl.extra
	if x == nil || x.paused&pausedInflate == 0 {
		return 0
	}
	if left := ahead - inflateWindow; left > 0 {
		return (left + 999) / 1000
	}
	x.resume(c, pausedInflate)
	cl.shrink(g.pool(c))
	return 0
}

// forgetInflated forgets a client's debt.
func (g *Gateway) forgetInflated(c *engine.Conn) {
	debts := g.scratch[c.Loop().Index()].inflated
	if _, ok := debts[c.Ref()]; ok {
		delete(debts, c.Ref())
		c.Charge(engine.KindRequests, -inflateCost)
	}
}

// pauses are why the gateway does not have a client's input read.
type pauses uint8

const (
	pausedPending pauses = 1 << iota // too many of its requests wait: see Gateway.holdInput
	pausedInflate                    // it is ahead of its rate: see Gateway.Inflated
)

func (x *extra) pause(c *engine.Conn, why pauses) {
	x.paused |= why
	c.Pause()
}

func (x *extra) resume(c *engine.Conn, why pauses) {
	if x.paused &^= why; x.paused == 0 {
		c.Resume()
	}
}

package gateway

import "github.com/sluicenet/sluice/engine"

// Inflated notes what it took to inflate what a client sent, of gzip or permessage-deflate, in bytes
// that come out (gzip.InflateMembers): 4 KiB may be 4 MiB for a worker, or hundreds of members. Beyond
// Config.MaxInflateRate its input is paused; nothing is refused and nobody else waits. Protocols
// call it on the client's loop, once it has logged in.
func (g *Gateway) Inflated(c *engine.Conn, cost int) {
	if cost == 0 { // most payloads are plain
		return
	}
	if rate := g.Config().MaxInflateRate; rate > 0 {
		c.Spend(engine.RateInflated, cost, rate)
	}
}

// AllowRequest reports whether a client may send one more request now, or message for a worker, and
// counts those that it may not (Config.MaxRequestRate). It must be called on the client's loop.
func (g *Gateway) AllowRequest(c *engine.Conn) bool {
	rate := g.Config().MaxRequestRate
	return rate <= 0 || c.Take(engine.RateRequests, 1, rate)
}

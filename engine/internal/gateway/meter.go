package gateway

import "github.com/sluicenet/sluice/engine"

// Inflated notes that n bytes of what a client sent have come out of gzip or permessage-deflate.
// Whoever inflates pays by the bytes that come out: 4 KiB of gzip may be 4 MiB for a worker. Beyond
// Config.MaxInflateRate its input is paused; nothing is refused and nobody else waits. Protocols
// call it on the client's loop, once it has logged in.
func (g *Gateway) Inflated(c *engine.Conn, n int) {
	if rate := g.Config().MaxInflateRate; rate > 0 {
		c.Spend(engine.RateInflated, n, rate)
	}
}

// AllowRequest reports whether a client may send one more request now, or message for a worker, and
// counts those that it may not (Config.MaxRequestRate). It must be called on the client's loop.
func (g *Gateway) AllowRequest(c *engine.Conn) bool {
	rate := g.Config().MaxRequestRate
	return rate <= 0 || c.Take(engine.RateRequests, 1, rate)
}

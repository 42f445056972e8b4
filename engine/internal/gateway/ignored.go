package gateway

import (
	"context"
	"log/slog"

	"github.com/sluicenet/sluice/engine"
)

// An Ignored says why a packet of a client is ignored, where its protocol has the connection go on.
type Ignored uint8

// The reasons.
const (
	IgnoredLevel     Ignored = iota // a GOSOC request of a level that there is not
	IgnoredNoRequest                // a Longbridge push, or a response to what nobody has asked
	numIgnored
)

var ignoredNames = [numIgnored]string{IgnoredLevel: "level", IgnoredNoRequest: "no-request"}

// String is what counters and logs call the reason.
func (w Ignored) String() string { return ignoredNames[w] }

// Ignore counts and logs a packet of c that is ignored. It must be called on c's loop.
func (g *Gateway) Ignore(c *engine.Conn, cl *Client, why Ignored) {
	g.stats.ignored[why].Add(1)
	if g.log.Enabled(context.Background(), slog.LevelInfo) {
		g.log.Info("a packet is ignored", "reason", why.String(), "peer", c.LogPeer(), "uniqId", g.ID(cl), "user", cl.user)
	}
}

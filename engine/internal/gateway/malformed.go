package gateway

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sluicenet/sluice/codec/gzip"
	"github.com/sluicenet/sluice/engine"
)

// Malformed closes a client whose bytes a protocol's codec cannot read, for the reason in err. It
// must be called on c's loop.
func Malformed(g *Gateway, c *engine.Conn, protocol string, err error) {
	if g.log.Enabled(context.Background(), slog.LevelDebug) {
		g.log.Debug("malformed packet", "protocol", protocol, "peer", c.LogPeer(), "err", err)
	}
	why := engine.ReasonMalformed
	switch {
	case errors.Is(err, gzip.ErrTooLarge):
		why = engine.ReasonInflatedTooLarge
	case errors.Is(err, gzip.ErrManyMembers):
		why = engine.ReasonGzipMembers
	}
	c.Close(why)
}

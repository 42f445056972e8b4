package engine

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/sluicenet/sluice/engine/internal/lograte"
)

// endLines is how many ends of connections are logged a second for each reason: all of them on an
// ordinary day, and a sample of a flood.
const endLines = 100

// endKinds log the ends of connections: those that peers bring about in peace at level debug, all
// others at level info. A flood of one reason takes nothing from the others, and one of an address
// has a quarter of its reason's lines.
type endKinds [numReasons]*lograte.Kind

func newEndKinds(log *slog.Logger) (k endKinds) {
	for why := range k {
		k[why] = lograte.NewKind(log, lograte.KindConfig{
			Level: Reason(why).level(), PerSecond: endLines,
			Message: "connection ended",
			Omitted: "connections ended, each without a line of its own",
			Attr:    slog.String("reason", Reason(why).String()),
		})
	}
	return k
}

// level is how much an operator wants to know of an end.
func (r Reason) level() slog.Level {
	if r == ReasonPeerClosed || r == ReasonClientClose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// logEnd logs the end of c, whose handler does not know of it yet.
func (e *Engine) logEnd(c *Conn, why Reason) {
	k := e.ends[why]
	if !k.Enabled() { // most ends are peaceful, and the peer's address has left the processor's cache
		return
	}
	k.Log(c.Peer().Addr(), func() []slog.Attr {
		protocol, id := e.describe(c)
		return endAttrs(protocol, c.LogPeer().LogValue(), id, c.Via())
	})
}

// describe says what c speaks and its id, if it has one.
func (e *Engine) describe(c *Conn) (protocol, id string) {
	if f := e.config.Describe; f != nil {
		protocol, id = f(c, c.handler)
	}
	if _, ok := c.handler.(newcomer); ok || protocol == "" {
		protocol = "unknown"
	}
	return protocol, id
}

// logRefused logs a connection that has not reached a loop.
func (e *Engine) logRefused(peer netip.AddrPort, listener uint8, why Reason) {
	e.tellRefused(peer, int(listener), why)
	e.ends[why].Log(peer.Addr(), func() []slog.Attr {
		said := slog.AnyValue(peer)
		if !peer.IsValid() {
			said = slog.StringValue("unix")
		}
		return endAttrs("unknown", said, "", "")
	})
}

// endAttrs is what the line of an end says beside its reason; via is the proxy that has said who the
// peer is, if one has.
func endAttrs(protocol string, peer slog.Value, id, via string) []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 4),
		slog.String("protocol", protocol), slog.Attr{Key: "peer", Value: peer})
	if id != "" {
		attrs = append(attrs, slog.String("uniqId", id))
	}
	if via != "" {
		attrs = append(attrs, slog.String("via", via))
	}
	return attrs
}

// logRetry logs, once in ten seconds, that accept has failed for a reason that passes, such as too many
// open files.
func (e *Engine) logRetry(l *listener, err error) {
	now := time.Now().Unix()
	if last := e.retryLogged.Load(); now-last < 10 || !e.retryLogged.CompareAndSwap(last, now) {
		return
	}
	e.log.Warn("connections wait to be accepted", "listener", l.net.Addr().String(), "err", err, "retries", e.acceptRetry.Load())
}

package engine

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// endLines is how many ends of connections are logged a second for each reason: all of them on an
// ordinary day, and a sample of a flood.
const endLines = 100

// An endLog logs the ends of connections: those that peers bring about in peace at level debug, all
// others at level info. Any goroutine may use it.
type endLog struct {
	mu   sync.Mutex
	ends [numReasons]struct {
		begun   time.Time // of the present second
		lines   int       // logged in it
		omitted int       // not logged, to be told at its end
	}
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
	if !e.log.Enabled(context.Background(), why.level()) || !e.endLogged(why) {
		return
	}
	protocol, id := e.describe(c)
	e.writeEnd(why, protocol, c.LogPeer().LogValue(), id, c.via())
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
func (e *Engine) logRefused(peer netip.AddrPort, why Reason) {
	e.tellRefused(peer, why)
	if e.log.Enabled(context.Background(), why.level()) && e.endLogged(why) {
		said := slog.AnyValue(peer)
		if !peer.IsValid() {
			said = slog.StringValue("unix")
		}
		e.writeEnd(why, "unknown", said, "", "")
	}
}

// writeEnd logs an end; via is the proxy that has said who the peer is, if one has.
func (e *Engine) writeEnd(why Reason, protocol string, peer slog.Value, id, via string) {
	attrs := append(make([]slog.Attr, 0, 5), slog.String("reason", why.String()),
		slog.String("protocol", protocol), slog.Attr{Key: "peer", Value: peer})
	if id != "" {
		attrs = append(attrs, slog.String("uniqId", id))
	}
	if via != "" {
		attrs = append(attrs, slog.String("via", via))
	}
	e.log.LogAttrs(context.Background(), why.level(), "connection ended", attrs...)
}

// endLogged reports whether another end for why is to be logged in this second. Those that are not
// are told of in one line at the second's end.
func (e *Engine) endLogged(why Reason) bool {
	l := &e.endLog
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.ends[why]
	if now := time.Now(); now.Sub(r.begun) >= time.Second {
		r.begun, r.lines = now, 0
	}
	if r.lines < endLines {
		r.lines++
		return true
	}
	if r.omitted++; r.omitted == 1 {
		time.AfterFunc(time.Second, func() { e.tellOmitted(why) })
	}
	return false
}

func (e *Engine) tellOmitted(why Reason) {
	l := &e.endLog
	l.mu.Lock()
	n := l.ends[why].omitted
	l.ends[why].omitted = 0
	l.mu.Unlock()
	e.log.Log(context.Background(), why.level(), "connections ended, each without a line of its own",
		"reason", why.String(), "omitted", n)
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

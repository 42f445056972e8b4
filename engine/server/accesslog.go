package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// An accessLog writes a record of each login and of each end of a connection: on the loops, so its
// handler must not block.
//
// What clients can choose is cut to maxAccessText bytes, and escaping it is the handler's. There is
// nothing in it that opens a door: no token, no ticket, no query, no header, no metadata.
type accessLog struct {
	handler slog.Handler
	server  *Server
}

// accessMessage is the message of all records; the attribute event tells them apart.
const accessMessage = "access"

// maxAccessText bounds a text of a client's, in bytes. Users and uniqIds have their own bounds,
// which are no larger.
const maxAccessText = 256

func accessText(text string) string {
	if len(text) <= maxAccessText {
		return text
	}
	return strings.ToValidUTF8(text[:maxAccessText], "") + "..."
}

// keepAccessLog has the access log hear of logins and ends.
func (s *Server) keepAccessLog() {
	if s.config.AccessLog == nil {
		return
	}
	a := &accessLog{handler: s.config.AccessLog.Handler(), server: s}
	gateway.HearLogins(s.gateway, a.login)
	s.engine.HearEnds(a.end)
}

// write writes a record. An error is the handler's to count.
func (a *accessLog) write(attrs []slog.Attr) {
	r := slog.NewRecord(a.server.engine.Time(), slog.LevelInfo, accessMessage, 0)
	r.AddAttrs(attrs...)
	_ = a.handler.Handle(context.Background(), r)
}

// login records a client that has logged in.
func (a *accessLog) login(c *engine.Conn, s gateway.Session, how string) {
	cl := s.Base()
	attrs := append(make([]slog.Attr, 0, 16),
		slog.String("event", "connect"),
		slog.String("uniqId", accessText(a.server.gateway.ID(cl))),
		slog.String("user", accessText(cl.User())),
		slog.String("protocol", s.Protocol()),
		slog.Attr{Key: "peer", Value: c.LogPeer().LogValue()},
	)
	if via := c.Via(); via != "" {
		attrs = append(attrs, slog.String("via", via))
	}
	attrs = append(attrs,
		slog.String("listener", a.listener(c.ListenerIndex())),
		slog.String("login", how),
		slog.Bool("resumed", how == "session"),
		slog.Float64("seconds", seconds(c)),
	)
	if info, ok := c.TLS(); ok {
		attrs = append(attrs,
			slog.String("tlsVersion", tls.VersionName(info.Version)),
			slog.String("tlsCipher", tls.CipherSuiteName(info.CipherSuite)),
			slog.String("tlsServerName", accessText(info.ServerName)),
			slog.Bool("tlsResumed", info.Resumed),
		)
	}
	a.write(attrs)
}

// end records a connection that has ended, or was refused.
func (a *accessLog) end(end engine.End) {
	attrs := append(make([]slog.Attr, 0, 16),
		slog.String("event", "close"),
		slog.String("reason", end.Why.String()),
		slog.Bool("refused", end.Conn == nil),
	)
	c := end.Conn
	if c == nil {
		peer := slog.StringValue("unix")
		if end.Peer.IsValid() {
			peer = slog.AnyValue(end.Peer)
		}
		a.write(append(attrs, slog.String("protocol", "unknown"), slog.Attr{Key: "peer", Value: peer},
			slog.String("listener", a.listener(end.Listener))))
		return
	}
	protocol := "unknown"
	if p, ok := end.Handler.(interface{ Protocol() string }); ok {
		protocol = p.Protocol()
	}
	if protocol == "attached" {
		return // an operator's tail, which is no client: the log has who follows what
	}
	if s, ok := end.Handler.(gateway.Session); ok {
		if cl := s.Base(); cl.Online() {
			attrs = append(attrs, slog.String("uniqId", accessText(a.server.gateway.ID(cl))),
				slog.String("user", accessText(cl.User())))
		}
	}
	attrs = append(attrs, slog.String("protocol", protocol), slog.Attr{Key: "peer", Value: c.LogPeer().LogValue()})
	if via := c.Via(); via != "" {
		attrs = append(attrs, slog.String("via", via))
	}
	t := end.Traffic
	a.write(append(attrs,
		slog.String("listener", a.listener(end.Listener)),
		slog.Float64("seconds", seconds(c)),
		slog.Uint64("bytesIn", t.BytesIn),
		slog.Uint64("bytesOut", t.BytesOut),
		slog.Uint64("messagesIn", t.PacketsIn),
		slog.Uint64("messagesOut", t.PacketsOut),
		slog.Int("topics", c.TopicCount()),
	))
}

// seconds is for how long c has been there.
func seconds(c *engine.Conn) float64 {
	return (time.Duration(c.Loop().Now()-c.Traffic().Since) * time.Millisecond).Seconds()
}

// listener returns the URL of a listener, as Addrs has it.
func (a *accessLog) listener(index int) string {
	if urls := a.server.urls.Load(); urls != nil && index < len(*urls) {
		return (*urls)[index]
	}
	return ""
}

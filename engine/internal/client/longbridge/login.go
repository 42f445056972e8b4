package longbridge

import (
	"math"

	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// logIn begins the login with an Auth or Reconnect.
func (h *conn) logIn(c *engine.Conn, header *longbridge.Header, body []byte) {
	h.loginCmd, h.login = header.Cmd, header.RequestID
	g := h.protocol.gateway
	// Whoever is in charge of the connection says the verdict: over WebSocket that is not h alone.
	session := c.Handler().(gateway.Session)
	creds := gateway.Credentials{Resumable: true, Counted: true}
	if header.Cmd == longbridge.CmdAuth {
		var m longbridge.AuthRequest
		if err := h.handshake.Codec.Unmarshal(body, &m); err != nil {
			h.malformed(c, err)
			return
		}
		creds.Token, creds.Metadata = m.Token, m.Metadata
	} else {
		var m longbridge.ReconnectRequest
		if err := h.handshake.Codec.Unmarshal(body, &m); err != nil {
			h.malformed(c, err)
			return
		}
		if m.SessionID == "" { // which to the gateway would mean a login without a session
			g.Refuse(c, session, gateway.SessionRefused)
			return
		}
		creds.SessionID, creds.ResumeOnly, creds.Metadata = m.SessionID, true, m.Metadata
	}
	g.Login(c, session, creds)
}

// LoginDone answers Auth or Reconnect.
func (h *conn) LoginDone(c *engine.Conn, o gateway.Outcome) {
	if o != gateway.LoginOK {
		status, code, msg := refusal(o)
		h.fail(c, h.loginCmd, h.login, status, code, msg)
		h.flags |= refused
		c.Close(o.Reason())
		return
	}
	g := h.protocol.gateway
	issued, _ := h.Issued()
	m := longbridge.AuthResponse{SessionID: issued.Ticket, Expires: issued.Expires, Limit: math.MaxInt32, Online: 1}
	if limit := g.Config().UserLimit; limit > 0 {
		m.Limit = uint32(limit)
	}
	if user := h.User(); user != "" {
		m.Online = uint32(gateway.CountedWith(g, h.Base()))
	}
	h.answer(c, h.loginCmd, h.login, longbridge.StatusSuccess, &m)
	if !c.Open() {
		return
	}
	h.heard(c, nil)
	h.lastBeat = h.lastHeard
	g.Arm(c, h) // the login's deadline gives way to the heartbeat's
}

// Codes of Error messages: those of HTTP, as the vendor has it for control commands.
const (
	codeBadRequest      = 400
	codeUnauthenticated = 401
	codeForbidden       = 403
	codeInternal        = 500
	codeUnavailable     = 503
	codeTimeout         = 504
)

// refusal puts a verdict in the protocol's words.
func refusal(o gateway.Outcome) (longbridge.Status, uint64, string) {
	switch o {
	case gateway.LoginOverLimit:
		return longbridge.StatusPermissionDenied, codeForbidden, "connections limitation is hit"
	case gateway.LoginBanned:
		return longbridge.StatusPermissionDenied, codeForbidden, "too many refused logins from this address"
	case gateway.LoginMetadata:
		return longbridge.StatusBadRequest, codeBadRequest, "login metadata is too long"
	case gateway.LoginUnavailable:
		return longbridge.StatusServerInternalError, codeUnavailable, "login is unavailable"
	case gateway.SessionRefused:
		return longbridge.StatusUnauthenticated, codeUnauthenticated, "the session has expired or is unknown"
	}
	return longbridge.StatusUnauthenticated, codeUnauthenticated, "the token is not good"
}

package gosoc

import (
	"encoding/json"
	"strconv"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/internal/jsontext"
)

// loginInfo is the JSON object in Connect's payload. Other members are the application's.
type loginInfo struct {
	token string
	// sessionID resumes a session; session asks for a ticket to resume this one.
	sessionID string
	session   bool
	// traceparent is of the trace that the login and its requests are part of.
	traceparent string
}

// readLogin reads Connect's payload, which may be empty. A member has its exact name, and those
// that are looked at are there once: what stands before the gateway and looks at logins, too, must
// not see another token than the gateway does. encoding/json alone would take any case, and the
// last of two, and have texts that are no Unicode become one.
func readLogin(payload []byte) (info loginInfo, ok bool) {
	if len(payload) == 0 {
		return info, true
	}
	if !json.Valid(payload) {
		return info, false
	}
	var seen [4]bool
	ok = jsontext.Members(payload, func(name, value []byte) bool {
		which := -1
		var err error
		switch string(name) {
		case "token":
			which = 0
			info.token, err = jsontext.String(value)
		case "session_id":
			which = 1
			info.sessionID, err = jsontext.String(value)
		case "session":
			which = 2
			info.session, err = readBool(value)
		case "traceparent":
			which = 3
			var another error
			if info.traceparent, another = jsontext.String(value); another != nil {
				info.traceparent = "another type" // the login goes on, and this is counted as one that is wrong
			}
		}
		if which < 0 {
			return true
		}
		twice := seen[which]
		seen[which] = true
		return err == nil && !twice
	})
	return info, ok
}

// readBool reads a JSON bool, or null, which is as false.
func readBool(value []byte) (v bool, err error) {
	if string(value) == "true" {
		return true, nil
	}
	err = json.Unmarshal(value, &v)
	return v, err
}

// SessionRoute is the route of the push that tells a client its resumption ticket.
const SessionRoute = "sluice.Session"

// connect begins the login.
func (h *conn) connect(c *engine.Conn, connect gosoc.Connect) {
	g := h.protocol.gateway
	// Whoever is in charge of the connection says the verdict: over WebSocket that is not h alone.
	session := c.Handler().(gateway.Session)
	if connect.Gzip {
		h.flags |= flagGzip
	}
	h.keepAlive = connect.KeepAlive
	payload := connect.Payload
	if h.gzip() {
		scratch := g.Scratch(c.Loop())
		var err error
		payload, scratch.Payload, _, err = gosoc.InflatePayload(scratch.Payload[:0], payload, g.Config().LoginBytes, g.Config().MaxGzipMembers)
		if err != nil {
			h.malformed(c, err)
			return
		}
	}
	info, ok := readLogin(payload)
	if !ok {
		g.Refuse(c, session, gateway.LoginMalformed)
		return
	}
	g.Login(c, session, gateway.Credentials{
		Token:     info.token,
		SessionID: info.sessionID,
		Resumable: info.session,
		Exclusive: !h.protocol.config.ManyLogins,

		Traceparent: info.traceparent,
	})
}

// LoginDone answers Connect.
func (h *conn) LoginDone(c *engine.Conn, o gateway.Outcome) {
	h.flags &^= flagAsked // this is the answer
	if o == gateway.LoginConcurrent {
		h.overtaken(c)
	} else {
		h.connAck(c, h.protocol.returnCode(o))
	}
	if o != gateway.LoginOK {
		c.Close(o.Reason())
		return
	}
	if issued, ok := h.Issued(); ok {
		b := append(make([]byte, 0, 64+len(issued.Ticket)), `{"session_id":"`...)
		b = append(b, issued.Ticket...)
		b = append(b, `","expires":`...)
		b = append(strconv.AppendInt(b, issued.Expires, 10), '}')
		h.tell(c, engine.Push{Route: SessionRoute, Payload: b})
	}
	h.lastHeard = uint32(c.Loop().Now())
	h.protocol.gateway.Arm(c, h) // the login's deadline gives way to the keep-alive's
}

// tell sends what has the form of a push and belongs to an answer: no slow-consumer policy drops it.
func (h *conn) tell(c *engine.Conn, p engine.Push) {
	dst := c.Buffer(len(p.Route) + len(p.Payload) + 64)
	b, err := push(h.form, h.gzip(), h.protocol.webSocket)(dst, p)
	if err != nil { // it is far from too long
		c.Commit(dst, 0)
		return
	}
	if h.deflates() {
		b = h.protocol.deflate.Deflate(b, len(dst))
	}
	c.Commit(b, 1)
}

func (p *Protocol) returnCode(o gateway.Outcome) gosoc.ReturnCode {
	switch o {
	case gateway.LoginOK:
		return gosoc.Accepted
	case gateway.LoginMalformed:
		return gosoc.BadLoginInfo
	case gateway.LoginRefused, gateway.SessionRefused:
		if p.config.BadTokenStops {
			return gosoc.NotAuthorized
		}
		return gosoc.BadToken
	}
	return gosoc.ServerUnavailable // nothing is wrong with the token
}

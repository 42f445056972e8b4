package gosoc

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// loginInfo is the JSON object in Connect's payload. Other members are the application's.
type loginInfo struct {
	token string
	// sessionID resumes a session; session asks for a ticket to resume this one.
	sessionID string
	session   bool
	// traceparent is of the trace that the login and its requests are part of.
	traceparent traceText
}

// readLogin reads Connect's payload, which may be empty. A member has its exact name, and those that are
// looked at are there once: what stands before the gateway and looks at logins, too, must not see another
// token than the gateway does. encoding/json alone would take any case, and the last of two.
func readLogin(payload []byte) (info loginInfo, ok bool) {
	if len(payload) == 0 {
		return info, true
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return info, false
	}
	var seen [4]bool
	var rest json.RawMessage // of a member that is the application's
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return info, false
		}
		var into any = &rest
		which := -1
		switch name {
		case "token":
			which, into = 0, &info.token
		case "session_id":
			which, into = 1, &info.sessionID
		case "session":
			which, into = 2, &info.session
		case "traceparent":
			which, into = 3, &info.traceparent
		}
		if which >= 0 {
			if seen[which] {
				return info, false
			}
			seen[which] = true
		}
		if d.Decode(into) != nil {
			return info, false
		}
	}
	if _, err := d.Token(); err != nil { // the brace
		return info, false
	}
	_, err := d.Token()
	return info, err == io.EOF
}

// A traceText is a text that a login does not depend on. JSON of another type stands for one that is
// wrong: it is counted as that, and the login goes on.
type traceText string

// UnmarshalJSON implements json.Unmarshaler.
func (t *traceText) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, (*string)(t)) != nil {
		*t = "another type"
	}
	return nil
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
		payload, scratch.Payload, err = gosoc.InflatePayload(scratch.Payload[:0], payload, g.Config().LoginBytes, g.Config().MaxGzipMembers)
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

		Traceparent: string(info.traceparent),
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

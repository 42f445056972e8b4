package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/sluicenet/sluice/codec/longbridge"
)

// serveLongbridge is serve for a client whose first byte is a Longbridge handshake's, or that came by WebSocket.
func (c *client) serveLongbridge(r *bufio.Reader, handshake bool) {
	c.longbridge = true
	if handshake {
		r.Discard(longbridge.HandshakeSize)
	}
	for {
		if r.Buffered() == 0 {
			c.flush()
		}
		b, err := r.Peek(11)
		if err != nil {
			return
		}
		h, err := longbridge.ParseHeader(b, longbridge.Version1)
		if err != nil || h.Size == 0 {
			return
		}
		packet := make([]byte, h.Total())
		if _, err := io.ReadFull(r, packet); err != nil {
			return
		}
		_, body := h.Split(packet)
		if body, _, err = h.Inflate(nil, body, 1<<20, 0); err != nil {
			return
		}
		if !c.command(h, body) {
			c.flush()
			return
		}
	}
}

func (c *client) command(h longbridge.Header, body []byte) bool {
	answer := longbridge.Header{Type: longbridge.Response, Cmd: h.Cmd, RequestID: h.RequestID}
	hs := longbridge.DefaultHandshake()
	switch h.Cmd {
	case longbridge.CmdAuth, longbridge.CmdReconnect:
		var rr longbridge.ReconnectRequest
		if h.Cmd == longbridge.CmdReconnect {
			hs.Codec.Unmarshal(body, &rr)
		}
		c.g.mu.Lock()
		known := c.g.sessions[rr.SessionID]
		n := c.g.logins.Add(1)
		id := fmt.Sprint("session-", n)
		c.g.sessions[id] = true
		c.g.mu.Unlock()
		if known {
			c.g.resumed.Add(1)
		}
		if c.g.refuse || h.Cmd == longbridge.CmdReconnect && !known {
			answer.Status = longbridge.StatusUnauthenticated
			b, _ := longbridge.AppendControl(nil, hs, answer, &longbridge.Error{Code: 401, Msg: "no"})
			c.write(b)
			return false
		}
		b, _ := longbridge.AppendControl(nil, hs, answer, &longbridge.AuthResponse{SessionID: id, Expires: 1})
		c.write(b)
		return true
	case longbridge.CmdHeartbeat:
		c.g.pings.Add(1)
	case 201:
		c.request("sluice.Subscribe", body)
		body = []byte("{}")
	case 203:
		var p struct {
			Topic string
			Data  json.RawMessage
		}
		json.Unmarshal(body, &p)
		c.g.publish(p.Topic, p.Data)
		body = []byte("{}")
	}
	b, err := longbridge.AppendResponse(nil, hs.Version, answer, nil, body)
	if err != nil {
		return false
	}
	c.write(b)
	return true
}

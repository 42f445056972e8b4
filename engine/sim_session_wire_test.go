package engine_test

import (
	"encoding/json"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/longbridge"
)

// A simWire is the protocol that a connection's client speaks.
type simWire interface {
	// login asks to log in with the connection's ticket, the token, or both.
	login(k *clientConn, token string) []byte
	request(id uint32, route string, wantsReply bool, payload string) []byte
	ping() []byte
	// bye says goodbye, if there are words for it.
	bye() []byte
	// packet takes the packet at the front of b, and returns its length, 0 if it is not whole.
	packet(k *clientConn, b []byte) int
	// peek returns that packet's length and, if it is a push of a topic, the payload.
	peek(b []byte) (n int, text string)
}

// must is for what cannot fail with what the simulation sends.
func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// gosocWire is GOSOC's compact form.
type gosocWire struct{}

func (gosocWire) login(k *clientConn, token string) []byte {
	info := map[string]any{"session": k.session}
	if token != "" {
		info["token"] = token
	}
	if k.ticket != "" {
		info["session_id"] = k.ticket
	}
	return must(gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: must(json.Marshal(info))}))
}

func (gosocWire) request(id uint32, route string, wantsReply bool, payload string) []byte {
	level := gosoc.LevelReply
	if !wantsReply {
		level = gosoc.LevelNoReply
	}
	return must(gosoc.Compact.AppendSendReq(nil, gosoc.SendReq{Level: level, ID: uint16(id), Route: []byte(route), Payload: []byte(payload)}))
}

func (gosocWire) ping() []byte { return gosoc.Compact.AppendPingReq(nil) }

func (gosocWire) bye() []byte { return gosoc.Compact.AppendDisconnect(nil, gosoc.Disconnect{}) }

func (gosocWire) packet(k *clientConn, b []byte) int {
	h, err := gosoc.Compact.ParseHeader(b)
	if err == nil && (h.Size == 0 || len(b) < h.Len()) {
		return 0
	}
	k.end = k.socket.Used() + int64(h.Len())
	if err == nil {
		err = gosocPacket(k, h, b[h.Size:h.Len()])
	}
	if err != nil {
		k.w.sim.Fail("connection %d receives %.80q: %v", k.index, b, err)
		return 0
	}
	return h.Len()
}

func (gosocWire) peek(b []byte) (n int, text string) {
	h, err := gosoc.Compact.ParseHeader(b)
	if err != nil || h.Size == 0 || len(b) < h.Len() {
		return 0, ""
	}
	if h.Type == gosoc.TypeSendReq {
		if req, err := gosoc.Compact.DecodeSendReq(h, b[h.Size:h.Len()]); err == nil && string(req.Route) != "sluice.Session" {
			text = string(req.Payload)
		}
	}
	return h.Len(), text
}

func gosocPacket(k *clientConn, h gosoc.Header, body []byte) error {
	if k.overtaken && h.Type != gosoc.TypeDisconnect {
		k.w.sim.Fail("connection %d is told that it is logged in, and is not; then comes a packet of type %v", k.index, h.Type)
	}
	switch h.Type {
	case gosoc.TypeConnAck:
		ack, err := gosoc.Compact.DecodeConnAck(h, body)
		accepted := err == nil && ack.Code == gosoc.Accepted
		if k.overtaken = accepted && !k.online; !k.overtaken {
			k.answered(accepted, false)
		}
		return err
	case gosoc.TypePingResp:
		k.pong()
	case gosoc.TypeDisconnect:
		bye, err := gosoc.Compact.DecodeDisconnect(h, body)
		if k.overtaken {
			k.overtaken = false
			k.answered(false, bye.Type == gosoc.DisconnectKickOut)
		}
		return err
	case gosoc.TypeSendReq:
		req, err := gosoc.Compact.DecodeSendReq(h, body)
		if err != nil || string(req.Route) != "sluice.Session" {
			k.push(string(req.Payload))
			return err
		}
		var told struct {
			ID string `json:"session_id"`
		}
		err = json.Unmarshal(req.Payload, &told)
		k.told(told.ID)
		return err
	case gosoc.TypeSendResp:
		resp, err := gosoc.Compact.DecodeSendResp(h, body)
		if err != nil {
			return err
		}
		var failure struct{ Message string }
		if len(resp.Payload) > 0 && resp.Payload[0] == '{' {
			err = json.Unmarshal(resp.Payload, &failure)
		}
		k.reply(uint32(resp.ID), string(resp.Payload), failure.Message)
		return err
	default:
		k.w.sim.Fail("connection %d receives a packet of type %v", k.index, h.Type)
	}
	return nil
}

// longbridgeWire is Longbridge's version 1 with protobuf.
type longbridgeWire struct{}

// The commands of the routes.
var simCommands = map[string]uint8{"sub": 10, "unsub": 11, "text": 12, "publish": 13, "echo": 14, "work": 15, "last": 16}

const longbridgePing = 1 << 20 // the request id of all pings

func (longbridgeWire) login(k *clientConn, token string) []byte {
	hs := longbridge.DefaultHandshake()
	b := longbridge.AppendHandshake(nil, hs)
	if k.ticket != "" {
		return must(longbridge.AppendControl(b, hs, longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdReconnect, RequestID: 1},
			&longbridge.ReconnectRequest{SessionID: k.ticket}))
	}
	return must(longbridge.AppendControl(b, hs, longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdAuth, RequestID: 1},
		&longbridge.AuthRequest{Token: token}))
}

func (longbridgeWire) request(id uint32, route string, _ bool, payload string) []byte {
	return must(longbridge.AppendRequest(nil, longbridge.Version1, longbridge.Header{Cmd: simCommands[route], RequestID: id}, nil, []byte(payload)))
}

func (longbridgeWire) ping() []byte {
	return must(longbridge.AppendRequest(nil, longbridge.Version1, longbridge.Header{Cmd: longbridge.CmdHeartbeat, RequestID: longbridgePing}, nil, nil))
}

func (longbridgeWire) bye() []byte { return nil }

func (longbridgeWire) packet(k *clientConn, b []byte) int {
	h, err := longbridge.ParseHeader(b, longbridge.Version1)
	if err == nil && (h.Size == 0 || len(b) < h.Total()) {
		return 0
	}
	k.end = k.socket.Used() + int64(h.Total())
	if err == nil {
		_, body := h.Split(b[:h.Total()])
		err = longbridgePacket(k, &h, body)
	}
	if err != nil {
		k.w.sim.Fail("connection %d receives %.80q: %v", k.index, b, err)
		return 0
	}
	return h.Total()
}

func (longbridgeWire) peek(b []byte) (n int, text string) {
	h, err := longbridge.ParseHeader(b, longbridge.Version1)
	if err != nil || h.Size == 0 || len(b) < h.Total() {
		return 0, ""
	}
	if h.Type == longbridge.Push && h.Cmd != longbridge.CmdClose {
		_, body := h.Split(b[:h.Total()])
		text = string(body)
	}
	return h.Total(), text
}

func longbridgePacket(k *clientConn, h *longbridge.Header, body []byte) error {
	codec := longbridge.DefaultHandshake().Codec
	login := h.Cmd == longbridge.CmdAuth || h.Cmd == longbridge.CmdReconnect
	switch {
	case h.Type == longbridge.Request: // the server's heartbeat
		k.socket.Write(must(longbridge.AppendResponse(nil, longbridge.Version1, longbridge.Header{Cmd: h.Cmd, RequestID: h.RequestID}, nil, body)))
	case h.Type == longbridge.Push && h.Cmd == longbridge.CmdClose:
	case h.Type == longbridge.Push:
		k.push(string(body))
	case h.Cmd == longbridge.CmdHeartbeat:
		k.pong()
	case login && h.Status == longbridge.StatusSuccess:
		var m longbridge.AuthResponse
		err := codec.Unmarshal(body, &m)
		k.answered(true, false)
		k.told(m.SessionID)
		if m.Online > m.Limit {
			k.w.sim.Fail("connection %d is told that %d of %d connections are online", k.index, m.Online, m.Limit)
		}
		return err
	case login:
		k.answered(false, false)
	case h.Status == longbridge.StatusSuccess:
		k.reply(h.RequestID, string(body), "")
	default:
		var m longbridge.Error
		err := codec.Unmarshal(body, &m)
		k.reply(h.RequestID, "", m.Msg)
		return err
	}
	return nil
}

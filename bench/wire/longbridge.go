package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/sluicenet/sluice/codec/longbridge"
)

// What the gateway's own handlers are called on Longbridge.
const (
	longbridgeEcho      = 200
	longbridgeSubscribe = 201
	longbridgePublish   = 203
)

// longbridgeLogin is the id of the login, which must not be taken for a request's.
const longbridgeLogin = 1 << 30

type longbridgeDriver struct {
	hs     longbridge.Handshake
	gzip   bool
	packed []byte
	plain  []byte
	memo   inflateMemo
}

func newLongbridge(o Options) *longbridgeDriver {
	return &longbridgeDriver{hs: longbridge.DefaultHandshake(), gzip: o.Gzip}
}

// query is how a WebSocket client says what AppendOpen says on TCP.
func (d *longbridgeDriver) query() string { return string(longbridge.AppendQuery(nil, d.hs)) }

func (d *longbridgeDriver) AppendOpen(dst []byte, _ *Peer) ([]byte, bool) {
	return longbridge.AppendHandshake(dst, d.hs), false
}

func (d *longbridgeDriver) AppendLogin(dst []byte, p *Peer) ([]byte, bool) {
	h := longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdAuth, RequestID: longbridgeLogin}
	var m longbridge.Message = &longbridge.AuthRequest{Token: p.Token}
	if p.Session != "" {
		h.Cmd, m = longbridge.CmdReconnect, &longbridge.ReconnectRequest{SessionID: p.Session}
	}
	dst, err := longbridge.AppendControl(dst, d.hs, h, m)
	if err != nil {
		panic("wire: login: " + err.Error()) // tokens are our own
	}
	return dst, true
}

func (d *longbridgeDriver) request(dst []byte, cmd uint8, id uint32, body []byte) ([]byte, error) {
	h := longbridge.Header{Cmd: cmd, RequestID: id}
	if d.gzip {
		body, h.Gzip = longbridge.MaybeDeflate(d.packed[:0], body, 1)
		if h.Gzip {
			d.packed = body
		}
	}
	return longbridge.AppendRequest(dst, d.hs.Version, h, nil, body)
}

func (d *longbridgeDriver) AppendSubscribe(dst []byte, _ *Peer, id uint32, topics []string) ([]byte, error) {
	body, err := json.Marshal(map[string][]string{"topics": topics})
	if err != nil {
		return dst, err
	}
	return d.request(dst, longbridgeSubscribe, id, body)
}

func (d *longbridgeDriver) AppendPublish(dst []byte, _ *Peer, id uint32, topic string, body []byte) ([]byte, error) {
	d.plain = append(append(d.plain[:0], `{"topic":"`...), topic...)
	d.plain = append(append(append(d.plain, `","data":`...), body...), '}')
	return d.request(dst, longbridgePublish, id, d.plain)
}

func (d *longbridgeDriver) AppendRequest(dst []byte, _ *Peer, id uint32, route string, body []byte) ([]byte, error) {
	cmd := uint64(longbridgeEcho)
	if route != "" {
		var err error
		if cmd, err = strconv.ParseUint(route, 10, 8); err != nil || cmd <= 3 {
			return dst, fmt.Errorf("wire: a Longbridge route is a command from 4 to 255, not %q", route)
		}
	}
	return d.request(dst, uint8(cmd), id, body)
}

func (d *longbridgeDriver) AppendPing(dst []byte, _ *Peer) []byte {
	h := longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdHeartbeat, RequestID: longbridgeLogin + 1}
	out, err := longbridge.AppendControl(dst, d.hs, h, &longbridge.Heartbeat{})
	if err != nil {
		return dst
	}
	return out
}

// AppendPong returns the body of a heartbeat as it came. The payload is its packet.
func (d *longbridgeDriver) AppendPong(dst []byte, _ *Peer, packet []byte) []byte {
	h, err := longbridge.ParseHeader(packet, d.hs.Version)
	if err != nil || h.Size == 0 {
		return dst
	}
	_, body := h.Split(packet)
	out, err := longbridge.AppendResponse(dst, d.hs.Version, longbridge.Header{Cmd: h.Cmd, RequestID: h.RequestID, Gzip: h.Gzip}, nil, body)
	if err != nil {
		return dst
	}
	return out
}

func (d *longbridgeDriver) AppendGoodbye(dst []byte, _ *Peer) []byte { return dst }

// Body is a JSON string: the two quotes count.
func (d *longbridgeDriver) Body(size int) ([]byte, int, int, error) { return jsonBody(size) }

func (d *longbridgeDriver) RequestStamp() int { return 0 }

func (d *longbridgeDriver) EchoReply(body []byte) []byte { return body }

func (d *longbridgeDriver) Layout(packet []byte) Layout {
	h, err := longbridge.ParseHeader(packet, d.hs.Version)
	if err != nil || h.Size == 0 {
		return Layout{IDAt: -1}
	}
	return Layout{IDAt: 2, IDBytes: 4, Compressed: h.Gzip}
}

func (d *longbridgeDriver) Can(Ability) bool { return true }

var errFromServer = errors.New("wire: a request other than a heartbeat from a gateway")

func (d *longbridgeDriver) Next(_ *Peer, src []byte, ev *Event) (int, error) {
	h, err := longbridge.ParseHeader(src, d.hs.Version)
	if err != nil || h.Size == 0 || len(src) < h.Total() {
		return 0, err
	}
	packet := src[:h.Total()]
	_, body := h.Split(packet)
	ev.Body, ev.BodyAt = body, h.Size+h.MetadataLen
	if h.Gzip {
		ev.BodyAt = -1
		if ev.Body, err = d.memo.inflate(body); err != nil {
			return 0, err
		}
	}
	switch {
	case h.Type == longbridge.Push && h.Cmd == longbridge.CmdClose:
		var c longbridge.Close
		if err := d.hs.Codec.Unmarshal(ev.Body, &c); err != nil {
			return 0, err
		}
		ev.Kind, ev.Code, ev.Text = Goodbye, int(c.Code), c.Code.String()+" "+c.Reason
	case h.Type == longbridge.Push:
		ev.Kind = Push
	case h.Type == longbridge.Request && h.Cmd == longbridge.CmdHeartbeat:
		ev.Kind, ev.Body, ev.BodyAt = Ping, packet, 0
	case h.Type == longbridge.Request:
		return 0, errFromServer
	case h.Cmd == longbridge.CmdHeartbeat:
		ev.Kind = None
	case h.Cmd == longbridge.CmdAuth || h.Cmd == longbridge.CmdReconnect:
		err = d.verdict(h, ev)
	default:
		ev.Kind, ev.ID, ev.OK = Reply, h.RequestID, h.Status == longbridge.StatusSuccess
	}
	return h.Total(), err
}

func (d *longbridgeDriver) verdict(h longbridge.Header, ev *Event) error {
	if h.Status != longbridge.StatusSuccess {
		var e longbridge.Error
		_ = d.hs.Codec.Unmarshal(ev.Body, &e) // the status says enough
		ev.Kind, ev.Code, ev.Text = Refused, int(h.Status), fmt.Sprintf("%v: %s", h.Status, e.Msg)
		return nil
	}
	var r longbridge.AuthResponse
	if err := d.hs.Codec.Unmarshal(ev.Body, &r); err != nil {
		return err
	}
	ev.Kind, ev.Session = LoggedIn, r.SessionID
	return nil
}

package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/gzip"
)

// What the gateway's own handlers are called on GOSOC.
const (
	gosocEcho      = "sluice.Echo"
	gosocSubscribe = "sluice.Subscribe"
	gosocPublish   = "sluice.Publish"
	gosocSession   = "sluice.Session"
)

// maxInflated bounds what a peer can make us unpack, in bytes.
const maxInflated = 64 << 20

type gosocDriver struct {
	form    gosoc.Form
	gzip    bool
	scratch []byte
	plain   []byte
	memo    inflateMemo
}

func newGOSOC(o Options) *gosocDriver {
	d := &gosocDriver{gzip: o.Gzip}
	if o.Protocol == "gosoc-fixed6" {
		d.form = gosoc.Fixed6
	}
	return d
}

func (d *gosocDriver) AppendOpen(dst []byte, _ *Peer) ([]byte, bool) { return dst, false }

func (d *gosocDriver) AppendLogin(dst []byte, p *Peer) ([]byte, bool) {
	login := struct {
		Token   string `json:"token,omitempty"`
		Session string `json:"session_id,omitempty"`
		Resume  bool   `json:"session,omitempty"`
	}{p.Token, p.Session, p.Resume}
	payload, _ := json.Marshal(login)
	dst, err := d.form.AppendConnect(dst, gosoc.Connect{Version: gosoc.Version, Gzip: d.gzip, Payload: d.pack(payload)})
	if err != nil {
		panic("wire: login too long: " + err.Error()) // tokens are our own
	}
	return dst, true
}

// pack compresses a payload if the connection's are. The result is good until the next call.
func (d *gosocDriver) pack(payload []byte) []byte {
	if !d.gzip {
		return payload
	}
	d.scratch = gzip.Deflate(d.scratch[:0], payload)
	return d.scratch
}

func (d *gosocDriver) AppendSubscribe(dst []byte, _ *Peer, id uint32, topics []string) ([]byte, error) {
	payload, err := json.Marshal(map[string][]string{"topics": topics})
	if err != nil {
		return dst, err
	}
	return d.request(dst, id, gosoc.LevelReply, gosocSubscribe, payload)
}

func (d *gosocDriver) AppendPublish(dst []byte, _ *Peer, id uint32, topic string, body []byte) ([]byte, error) {
	d.plain = append(append(d.plain[:0], `{"topic":"`...), topic...)
	d.plain = append(append(append(d.plain, `","data":`...), body...), '}')
	return d.request(dst, id, gosoc.LevelNoReply, gosocPublish, d.plain)
}

func (d *gosocDriver) AppendRequest(dst []byte, _ *Peer, id uint32, route string, body []byte) ([]byte, error) {
	if route == "" {
		route = gosocEcho
	}
	return d.request(dst, id, gosoc.LevelReply, route, body)
}

func (d *gosocDriver) request(dst []byte, id uint32, level gosoc.Level, route string, payload []byte) ([]byte, error) {
	return d.form.AppendSendReq(dst, gosoc.SendReq{Level: level, ID: uint16(id), Route: []byte(route), Payload: d.pack(payload)})
}

func (d *gosocDriver) AppendPing(dst []byte, _ *Peer) []byte { return d.form.AppendPingReq(dst) }

func (d *gosocDriver) AppendPong(dst []byte, _ *Peer, _ []byte) []byte { return dst }

func (d *gosocDriver) AppendGoodbye(dst []byte, _ *Peer) []byte {
	return d.form.AppendDisconnect(dst, gosoc.Disconnect{})
}

// Body is a JSON string: the two quotes count.
func (d *gosocDriver) Body(size int) ([]byte, int, int, error) { return jsonBody(size) }

func jsonBody(size int) (body []byte, stampAt, room int, err error) {
	if size < stamp.MinSize+2 {
		return nil, 0, 0, fmt.Errorf("wire: a message of this protocol has at least %d bytes", stamp.MinSize+2)
	}
	body = make([]byte, size)
	body[0], body[size-1] = '"', '"'
	stamp.Fill(body[1 : size-1])
	return body, 1, size - 2, nil
}

func (d *gosocDriver) RequestStamp() int { return 0 }

func (d *gosocDriver) EchoReply(body []byte) []byte {
	return slices.Concat([]byte(`{"status":0,"data":`), body, []byte{'}'})
}

func (d *gosocDriver) Layout(packet []byte) Layout {
	h, err := d.form.ParseHeader(packet)
	if err != nil || h.Size == 0 {
		return Layout{IDAt: -1}
	}
	return Layout{IDAt: h.Size, IDBytes: 2, Compressed: d.gzip}
}

func (d *gosocDriver) Can(a Ability) bool { return a != AcksPublish }

var statusOK = []byte(`{"status":0,`)

func (d *gosocDriver) Next(_ *Peer, src []byte, ev *Event) (int, error) {
	h, err := d.form.ParseHeader(src)
	if err != nil || h.Size == 0 || len(src) < h.Len() {
		return 0, err
	}
	body := src[h.Size:h.Len()]
	switch h.Type {
	case gosoc.TypeSendReq:
		err = d.push(h, body, ev)
	case gosoc.TypeSendResp:
		err = d.reply(h, body, ev)
	case gosoc.TypeConnAck:
		var a gosoc.ConnAck
		if a, err = d.form.DecodeConnAck(h, body); err == nil {
			ev.Kind = LoggedIn
			if a.Code != gosoc.Accepted {
				ev.Kind, ev.Code, ev.Text = Refused, int(a.Code), a.Code.String()
			}
		}
	case gosoc.TypePingResp:
		ev.Kind = None
	case gosoc.TypeDisconnect:
		var x gosoc.Disconnect
		x, err = d.form.DecodeDisconnect(h, body)
		ev.Kind, ev.Code, ev.Text = Goodbye, int(x.Type), "Disconnect"
	default:
		return 0, fmt.Errorf("wire: %v from a gateway", h.Type)
	}
	return h.Len(), err
}

func (d *gosocDriver) push(h gosoc.Header, body []byte, ev *Event) error {
	req, err := d.form.DecodeSendReq(h, body)
	if err != nil {
		return err
	}
	ev.Kind = Push
	if err := d.unpack(req.Payload, h.Len()-len(req.Payload), ev); err != nil {
		return err
	}
	if string(req.Route) == gosocSession {
		var s struct {
			ID string `json:"session_id"`
		}
		if err := json.Unmarshal(ev.Body, &s); err != nil {
			return fmt.Errorf("wire: %s: %w", gosocSession, err)
		}
		ev.Kind, ev.Session = SessionKey, s.ID
	}
	return nil
}

func (d *gosocDriver) reply(h gosoc.Header, body []byte, ev *Event) error {
	resp, err := d.form.DecodeSendResp(h, body)
	if err != nil {
		return err
	}
	ev.Kind, ev.ID = Reply, uint32(resp.ID)
	if err := d.unpack(resp.Payload, h.Len()-len(resp.Payload), ev); err != nil {
		return err
	}
	ev.OK = bytes.HasPrefix(ev.Body, statusOK)
	return nil
}

func (d *gosocDriver) unpack(payload []byte, at int, ev *Event) (err error) {
	ev.Body, ev.BodyAt = payload, at
	if d.gzip {
		ev.BodyAt = -1
		ev.Body, err = d.memo.inflate(payload)
	}
	return err
}

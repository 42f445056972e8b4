package wire

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/sluicenet/sluice/codec/websocket"
)

// ErrFragmented says that a gateway cut a message into frames, which ours never does.
var ErrFragmented = errors.New("wire: fragmented or compressed WebSocket message")

// webSocket carries another driver's packets in binary messages, or in text if the inner protocol
// says so. One key masks all frames: a generator has no intermediaries to defend against, and
// templates stay templates.
type webSocket struct {
	Driver
	host, path string
	op         websocket.Opcode
	nonce      string
	key        [4]byte
	inner      []byte
}

func overWebSocket(d Driver, host, path string) *webSocket {
	w := &webSocket{Driver: d, host: host, path: path, op: websocket.OpBinary}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	_, _ = rand.Read(w.key[:])
	w.nonce = base64.StdEncoding.EncodeToString(nonce[:])
	return w
}

func (w *webSocket) AppendOpen(dst []byte, _ *Peer) ([]byte, bool) {
	return websocket.AppendUpgradeRequest(dst, w.host, w.path, w.nonce), true
}

func (w *webSocket) frame(dst []byte) []byte {
	if len(w.inner) == 0 {
		return dst
	}
	return websocket.AppendMaskedFrame(dst, w.op, w.key, w.inner)
}

func (w *webSocket) AppendLogin(dst []byte, p *Peer) (out []byte, wait bool) {
	w.inner, wait = w.Driver.AppendLogin(w.inner[:0], p)
	return w.frame(dst), wait
}

func (w *webSocket) AppendSubscribe(dst []byte, p *Peer, id uint32, topics []string) (_ []byte, err error) {
	if w.inner, err = w.Driver.AppendSubscribe(w.inner[:0], p, id, topics); err != nil {
		return dst, err
	}
	return w.frame(dst), nil
}

func (w *webSocket) AppendPublish(dst []byte, p *Peer, id uint32, topic string, body []byte) (_ []byte, err error) {
	if w.inner, err = w.Driver.AppendPublish(w.inner[:0], p, id, topic, body); err != nil {
		return dst, err
	}
	return w.frame(dst), nil
}

func (w *webSocket) AppendRequest(dst []byte, p *Peer, id uint32, route string, body []byte) (_ []byte, err error) {
	if w.inner, err = w.Driver.AppendRequest(w.inner[:0], p, id, route, body); err != nil {
		return dst, err
	}
	return w.frame(dst), nil
}

// AppendPing appends a ping frame, whatever the packets inside have for it: that is how WebSocket
// clients do it.
func (w *webSocket) AppendPing(dst []byte, _ *Peer) []byte {
	return websocket.AppendMaskedFrame(dst, websocket.OpPing, w.key, nil)
}

func (w *webSocket) AppendPong(dst []byte, p *Peer, payload []byte) []byte {
	if p.pinged {
		p.pinged = false
		return websocket.AppendMaskedFrame(dst, websocket.OpPong, w.key, payload)
	}
	w.inner = w.Driver.AppendPong(w.inner[:0], p, payload)
	return w.frame(dst)
}

func (w *webSocket) AppendGoodbye(dst []byte, p *Peer) []byte {
	w.inner = w.Driver.AppendGoodbye(w.inner[:0], p)
	dst = w.frame(dst)
	return websocket.AppendMaskedFrame(dst, websocket.OpClose, w.key, websocket.AppendClosePayload(nil, websocket.CloseNormal, ""))
}

func (w *webSocket) Layout(packet []byte) Layout {
	h, n, err := websocket.ParseHeader(packet)
	if err != nil || n == 0 {
		return Layout{IDAt: -1}
	}
	plain := append([]byte(nil), packet[n:]...)
	websocket.Mask(plain, h.Mask, 0)
	l := w.Driver.Layout(plain)
	if l.IDAt >= 0 {
		l.IDAt += n
	}
	l.Masked, l.Key = n, h.Mask
	return l
}

func (w *webSocket) Next(p *Peer, src []byte, ev *Event) (int, error) {
	if !p.upgraded {
		return w.upgrade(p, src, ev)
	}
	head := 0
	if p.frame == 0 {
		h, n, err := websocket.ParseHeader(src)
		if err != nil || n == 0 {
			return 0, err
		}
		if h.Masked || h.RSV1 || !h.Fin || h.Opcode == websocket.OpContinuation {
			return 0, ErrFragmented
		}
		if int64(len(src)-n) < h.Length {
			return 0, nil
		}
		head = n
		p.frame = int(h.Length)
		if h.Opcode.IsControl() || h.Length == 0 {
			p.frame = 0
			return n + int(h.Length), w.control(p, h.Opcode, src[n:n+int(h.Length)], ev)
		}
	}
	n, err := w.Driver.Next(p, src[head:head+p.frame], ev)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, fmt.Errorf("wire: WebSocket message of %d bytes ends inside a packet", p.frame)
	}
	p.frame -= n
	if ev.BodyAt >= 0 {
		ev.BodyAt += head
	}
	return head + n, nil
}

func (w *webSocket) upgrade(p *Peer, src []byte, ev *Event) (int, error) {
	resp, n, err := websocket.ParseUpgradeResponse(src, websocket.Limits{})
	if err != nil || n == 0 {
		return 0, err
	}
	if err := resp.Check(w.nonce); err != nil {
		ev.Kind, ev.Code, ev.Text = Refused, resp.Status, err.Error()
		return n, nil
	}
	p.upgraded = true
	ev.Kind = Open
	return n, nil
}

func (w *webSocket) control(p *Peer, op websocket.Opcode, payload []byte, ev *Event) error {
	switch op {
	case websocket.OpPing:
		p.pinged = true
		ev.Kind, ev.Body = Ping, payload
	case websocket.OpClose:
		ev.Kind, ev.Code, ev.Text = Goodbye, int(websocket.CloseNoStatus), "close frame"
		if len(payload) >= 2 {
			ev.Code, ev.Text = int(payload[0])<<8|int(payload[1]), string(payload[2:])
		}
	default:
		ev.Kind = None
	}
	return nil
}

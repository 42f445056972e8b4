package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/bench/wire"
)

// Protocol is the name under which wire.New knows this driver.
const Protocol = "mqtt"

func init() { wire.Register(Protocol, func(wire.Options) wire.Driver { return Driver{} }) }

// Control packet types, in the upper half of the first byte (section 2.2.1), with the flags they must have.
const (
	typeConnect    = 0x10
	typeConnAck    = 0x20
	typePublish    = 0x30
	typeSubscribe  = 0x82
	typeSubAck     = 0x90
	typePingReq    = 0xc0
	typePingResp   = 0xd0
	typeDisconnect = 0xe0
)

const (
	protocolLevel = 4    // 3.1.1
	cleanSession  = 0x02 // connect flag
	keepAlive     = 300  // seconds: longer than we stay
	failure       = 0x80 // return code of SUBACK
	qosBits       = 0x06 // of PUBLISH
	maxRemaining  = 1<<28 - 1
)

// Errors of Next, and of encoding.
var (
	ErrMalform  = errors.New("mqtt: malformed packet")
	ErrUnknown  = errors.New("mqtt: unexpected packet")
	ErrTooLong  = errors.New("mqtt: packet too long")
	errNoAnswer = errors.New("mqtt: a broker answers no requests")
)

// A Driver speaks for clients with clean sessions.
type Driver struct{}

func appendHeader(dst []byte, first byte, remaining int) ([]byte, error) {
	if remaining > maxRemaining {
		return dst, ErrTooLong
	}
	dst = append(dst, first)
	for ; remaining >= 0x80; remaining >>= 7 {
		dst = append(dst, byte(remaining)|0x80)
	}
	return append(dst, byte(remaining)), nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// AppendOpen appends nothing.
func (Driver) AppendOpen(dst []byte, _ *wire.Peer) ([]byte, bool) { return dst, false }

// AppendLogin appends CONNECT.
func (Driver) AppendLogin(dst []byte, p *wire.Peer) ([]byte, bool) {
	id := p.Token[:min(len(p.Token), 0xffff)]
	dst, _ = appendHeader(dst, typeConnect, 10+2+len(id)) // below 64 KiB and a little
	dst = appendString(dst, "MQTT")
	dst = append(dst, protocolLevel, cleanSession)
	dst = binary.BigEndian.AppendUint16(dst, keepAlive)
	return appendString(dst, id), true
}

// AppendSubscribe appends SUBSCRIBE.
func (Driver) AppendSubscribe(dst []byte, _ *wire.Peer, id uint32, topics []string) ([]byte, error) {
	n := 2
	for _, t := range topics {
		n += 2 + len(t) + 1
	}
	dst, err := appendHeader(dst, typeSubscribe, n)
	if err != nil {
		return dst, err
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(id))
	for _, t := range topics {
		dst = append(appendString(dst, t), 0)
	}
	return dst, nil
}

// AppendPublish appends PUBLISH.
func (Driver) AppendPublish(dst []byte, _ *wire.Peer, _ uint32, topic string, body []byte) ([]byte, error) {
	dst, err := appendHeader(dst, typePublish, 2+len(topic)+len(body))
	if err != nil {
		return dst, err
	}
	return append(appendString(dst, topic), body...), nil
}

// AppendRequest fails.
func (Driver) AppendRequest(dst []byte, _ *wire.Peer, _ uint32, _ string, _ []byte) ([]byte, error) {
	return dst, errNoAnswer
}

// AppendPing appends PINGREQ.
func (Driver) AppendPing(dst []byte, _ *wire.Peer) []byte { return append(dst, typePingReq, 0) }

// AppendPong appends nothing: a broker does not ask.
func (Driver) AppendPong(dst []byte, _ *wire.Peer, _ []byte) []byte { return dst }

// AppendGoodbye appends DISCONNECT.
func (Driver) AppendGoodbye(dst []byte, _ *wire.Peer) []byte { return append(dst, typeDisconnect, 0) }

// Body returns size bytes, all of them for the stamp.
func (Driver) Body(size int) (body []byte, stampAt, room int, err error) {
	if size < stamp.MinSize {
		return nil, 0, 0, fmt.Errorf("mqtt: a message has at least %d bytes", stamp.MinSize)
	}
	body = make([]byte, size)
	stamp.Fill(body)
	return body, 0, size, nil
}

// RequestStamp is nothing.
func (Driver) RequestStamp() int { return 0 }

// EchoReply is body.
func (Driver) EchoReply(body []byte) []byte { return body }

// Layout has no id: QoS 0.
func (Driver) Layout([]byte) wire.Layout { return wire.Layout{IDAt: -1} }

// Can reports what clients do.
func (Driver) Can(a wire.Ability) bool { return a == wire.CanSubscribe || a == wire.CanPublish }

// header reads the fixed header; head == 0 asks for more.
func header(src []byte) (head, remaining int, err error) {
	for i := 1; i < len(src); i++ {
		remaining |= int(src[i]&0x7f) << (7 * (i - 1))
		if src[i] < 0x80 {
			return i + 1, remaining, nil
		}
		if i == 4 {
			return 0, 0, ErrMalform
		}
	}
	return 0, 0, nil
}

// Next reads a packet.
func (Driver) Next(_ *wire.Peer, src []byte, ev *wire.Event) (int, error) {
	head, remaining, err := header(src)
	if err != nil || head == 0 || len(src) < head+remaining {
		return 0, err
	}
	body := src[head : head+remaining]
	switch first := src[0]; {
	case first&0xf0 == typePublish:
		err = publish(first, body, head, ev)
	case first == typeConnAck && len(body) == 2:
		ev.Kind = wire.LoggedIn
		if body[1] != 0 {
			ev.Kind, ev.Code, ev.Text = wire.Refused, int(body[1]), "CONNACK"
		}
	case first == typeSubAck && len(body) >= 3:
		ev.Kind, ev.ID, ev.OK = wire.Reply, uint32(binary.BigEndian.Uint16(body)), true
		for _, code := range body[2:] {
			ev.OK = ev.OK && code != failure
		}
	case first == typePingResp && len(body) == 0:
		ev.Kind = wire.None
	default:
		err = fmt.Errorf("%w: type 0x%02x, %d bytes", ErrUnknown, first, remaining)
	}
	if err != nil {
		return 0, err
	}
	return head + remaining, nil
}

func publish(first byte, body []byte, head int, ev *wire.Event) error {
	if first&qosBits != 0 {
		return fmt.Errorf("%w: QoS above 0", ErrUnknown)
	}
	if len(body) < 2 {
		return ErrMalform
	}
	at := 2 + int(binary.BigEndian.Uint16(body))
	if at > len(body) {
		return ErrMalform
	}
	ev.Kind, ev.Body, ev.BodyAt = wire.Push, body[at:], head+at
	return nil
}

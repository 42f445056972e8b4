package wire

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/codec/websocket"
)

// A Layout says where an encoded packet keeps what changes from one to the next.
type Layout struct {
	IDAt       int  // where the request id begins; -1: it travels as the stamp of the body
	IDBytes    int  // 2 or 4, big-endian
	Compressed bool // the body cannot be patched

	// Masked is where masking with Key begins, behind a WebSocket frame header; 0: nowhere.
	Masked int
	Key    [4]byte
}

// A Template is an encoded packet, to be sent many times with another id, topic and stamp. All topics
// put into it are of one length.
type Template struct {
	packet  []byte
	idAt    int
	idBytes int
	topicAt int // -1: none
	topic   int // its length
	stampAt int // -1: none
	room    int
	masked  int // where masking begins; 0: not masked
	key     [4]byte
}

// ErrTemplate says that a packet does not show what is put into it: it is compressed.
var ErrTemplate = errors.New("wire: packet cannot be made a template")

// PublishTemplate makes a template of a publish of size bytes to topics of the length of topic.
func PublishTemplate(d Driver, topic string, size int) (*Template, error) {
	return newTemplate(d, topic, size, func(dst []byte, p *Peer, topic string, body []byte) ([]byte, error) {
		return d.AppendPublish(dst, p, 0, topic, body)
	})
}

// RequestTemplate makes a template of a request of size bytes.
func RequestTemplate(d Driver, route string, size int) (*Template, error) {
	return newTemplate(d, "", size, func(dst []byte, p *Peer, _ string, body []byte) ([]byte, error) {
		return d.AppendRequest(dst, p, 0, route, body)
	})
}

func newTemplate(d Driver, topic string, size int, encode func([]byte, *Peer, string, []byte) ([]byte, error)) (*Template, error) {
	body, at, room, err := d.Body(size)
	if err != nil {
		return nil, err
	}
	// The marks are looked for in the packet, so that no driver has to tell where they went.
	const stampMark = "ABCDEFGHIJKLMNOABCDEFGHI"
	if room = min(room, len(stampMark)); topic == "" {
		room = d.RequestStamp()
	}
	mark := bytes.Clone(body)
	copy(mark[at:at+room], stampMark)
	topicMark := bytes.Repeat([]byte{'~'}, len(topic))
	packet, err := encode(nil, &Peer{}, string(topicMark), mark)
	if err != nil {
		return nil, err
	}
	l := d.Layout(packet)
	if l.Compressed {
		if topic != "" || l.IDAt < 0 {
			return nil, ErrTemplate
		}
		room = 0
	}
	t := &Template{
		packet: packet, idAt: l.IDAt, idBytes: l.IDBytes, topicAt: -1, topic: len(topic), stampAt: -1,
		room: room, masked: l.Masked, key: l.Key,
	}
	if t.masked > 0 {
		websocket.Mask(packet[t.masked:], t.key, 0) // kept in clear
	}
	if len(topic) > 0 {
		if t.topicAt = bytes.Index(packet, topicMark); t.topicAt < 0 {
			return nil, ErrTemplate
		}
	}
	if room > 0 {
		if t.stampAt = bytes.Index(packet, []byte(stampMark[:room])); t.stampAt < 0 {
			return nil, ErrTemplate
		}
	}
	return t, nil
}

// Size is the length of the packet.
func (t *Template) Size() int { return len(t.packet) }

// Append appends the packet with an id, a topic of the template's length and a stamp.
func (t *Template) Append(dst []byte, id uint32, topic []byte, s stamp.Stamp) []byte {
	start := len(dst)
	dst = append(dst, t.packet...)
	p := dst[start:]
	if t.idAt >= 0 {
		if t.idBytes == 2 {
			binary.BigEndian.PutUint16(p[t.idAt:], uint16(id))
		} else {
			binary.BigEndian.PutUint32(p[t.idAt:], id)
		}
	}
	if t.topicAt >= 0 {
		copy(p[t.topicAt:t.topicAt+t.topic], topic)
	}
	if t.stampAt >= 0 {
		stamp.Write(p[t.stampAt:t.stampAt+t.room], s)
	}
	if t.masked > 0 {
		websocket.Mask(p[t.masked:], t.key, 0)
	}
	return dst
}

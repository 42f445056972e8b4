package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

// The packet types.
const (
	connect    = 1
	connAck    = 2
	pingReq    = 3
	pingResp   = 4
	disconnect = 5
	sendReq    = 6
	sendResp   = 7
)

// The return codes of ConnAck.
const (
	accepted          = 0
	serverUnavailable = 1
	badLogin          = 2
	alreadyConnected  = 4
	badToken          = 6
)

// A mode is how a client speaks: one of the two wire forms, plain or gzip.
type mode struct {
	fixed6 bool
	gzip   bool
}

var (
	modes      = []mode{{}, {gzip: true}, {fixed6: true}, {fixed6: true, gzip: true}}
	plainModes = []mode{{}, {fixed6: true}}
)

func (m mode) String() string {
	name := "compact"
	if m.fixed6 {
		name = "fixed6"
	}
	if m.gzip {
		name += "-gzip"
	}
	return name
}

// eachMode runs f as a subtest for each mode.
func eachMode(t *testing.T, list []mode, f func(*testing.T, mode)) {
	for _, m := range list {
		t.Run(m.String(), func(t *testing.T) { f(t, m) })
	}
}

// varint is the compact form's length.
func varint(n int) []byte {
	var b []byte
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// header is a fixed header that announces n bytes.
func (m mode) header(typ, flags byte, n int) []byte {
	if m.fixed6 {
		b := binary.BigEndian.AppendUint32([]byte{typ}, uint32(n))
		return append(b, flags)
	}
	return append([]byte{typ<<4 | flags}, varint(n)...)
}

// field is a string with its length.
func (m mode) field(s []byte) []byte { return append(m.fieldLength(len(s)), s...) }

func (m mode) fieldLength(n int) []byte {
	if m.fixed6 {
		if n > 65535 {
			panic("a field too long for fixed6")
		}
		return binary.BigEndian.AppendUint16(nil, uint16(n))
	}
	return varint(n)
}

// packet is a whole packet.
func (m mode) packet(typ, flags byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(m.header(typ, flags, len(body)), body...)
}

// text is a payload as it travels in this mode.
func (m mode) text(s string) []byte {
	if m.gzip {
		return zip([]byte(s))
	}
	return []byte(s)
}

// connectBody is the body of a Connect whose payload is on the wire as given.
func (m mode) connectBody(keepAlive uint16, payload []byte) []byte {
	flags := byte(0)
	if m.gzip {
		flags = 0x80
	}
	b := m.field([]byte("GOSOC"))
	b = append(b, 1, flags)
	b = binary.BigEndian.AppendUint16(b, keepAlive)
	return append(b, m.field(payload)...)
}

func (m mode) connect(keepAlive uint16, payload string) []byte {
	return m.packet(connect, 0, m.connectBody(keepAlive, m.text(payload)))
}

func (m mode) ping() []byte { return m.packet(pingReq, 0) }

// ask is a SendReq that wants a reply.
func (m mode) ask(id uint16, route, payload string) []byte {
	return m.sendReq(1, id, route, m.text(payload))
}

// sendReq is a SendReq whose payload is on the wire as given, and data too unless there is none.
func (m mode) sendReq(level byte, id uint16, route string, payload []byte, data ...[]byte) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	body = append(body, m.field([]byte(route))...)
	body = append(body, m.field(payload)...)
	flags := level << 1
	for _, d := range data {
		flags |= 0x08
		body = append(body, m.field(d)...)
	}
	return m.packet(sendReq, flags, body)
}

// A packet is one that has been received.
type packet struct {
	typ, flags byte
	body       []byte
}

func (p packet) String() string {
	return fmt.Sprintf("type %d flags %x body %d bytes %.60q", p.typ, p.flags, len(p.body), p.body)
}

// read reads a packet and is as strict as a client may be.
func (m mode) read(r *bufio.Reader) (p packet, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return p, err
	}
	n := 0
	if m.fixed6 {
		var rest [5]byte
		if _, err := io.ReadFull(r, rest[:]); err != nil {
			return p, unexpected(err)
		}
		p.typ, p.flags, n = first, rest[4], int(int32(binary.BigEndian.Uint32(rest[:])))
	} else {
		p.typ, p.flags = first>>4, first&0x0F
		for shift := 0; ; shift += 7 {
			b, err := r.ReadByte()
			if err != nil {
				return p, unexpected(err)
			}
			n |= int(b&0x7F) << shift
			if b < 0x80 {
				if b == 0 && shift > 0 {
					return p, errors.New("a length with a useless last byte")
				}
				break
			}
			if shift == 21 {
				return p, errors.New("a length of more than 4 bytes")
			}
		}
	}
	if p.typ < connect || p.typ > sendResp || p.flags != 0 || n < 0 || n > 1<<28-1 {
		return p, fmt.Errorf("the gateway sent a header of type %d, flags %x, length %d", p.typ, p.flags, n)
	}
	p.body = make([]byte, n)
	_, err = io.ReadFull(r, p.body)
	return p, unexpected(err)
}

// unexpected tells an end inside a packet from one between packets.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cut takes a field off the front of b.
func (m mode) cut(b []byte) (field, rest []byte, err error) {
	n, size := 0, 2
	if m.fixed6 {
		if len(b) < 2 {
			return nil, nil, io.ErrUnexpectedEOF
		}
		n = int(binary.BigEndian.Uint16(b))
	} else {
		for size = 0; ; size++ {
			if size == len(b) || size == 4 {
				return nil, nil, errors.New("a field without a length")
			}
			n |= int(b[size]&0x7F) << (7 * size)
			if b[size] < 0x80 {
				size++
				break
			}
		}
	}
	if len(b) < size+n {
		return nil, nil, errors.New("a field that runs past its packet")
	}
	return b[size : size+n], b[size+n:], nil
}

// payload undoes text.
func (m mode) payload(b []byte) ([]byte, error) {
	if !m.gzip {
		return b, nil
	}
	return unzip(b)
}

// A message is what a SendResp or a push says.
type message struct {
	id      uint16
	route   string // of a push
	payload string
}

// message takes a SendResp or a push apart.
func (m mode) message(p packet) (msg message, err error) {
	if p.typ != sendReq && p.typ != sendResp || len(p.body) < 2 {
		return msg, fmt.Errorf("no message: %v", p)
	}
	msg.id = binary.BigEndian.Uint16(p.body)
	rest := p.body[2:]
	var field []byte
	if p.typ == sendReq {
		if field, rest, err = m.cut(rest); err != nil {
			return msg, err
		}
		msg.route = string(field)
		if msg.id != 0 {
			return msg, fmt.Errorf("a push with id %d", msg.id)
		}
	}
	if field, rest, err = m.cut(rest); err != nil {
		return msg, err
	}
	if len(rest) > 0 {
		return msg, fmt.Errorf("%d bytes behind the payload", len(rest))
	}
	field, err = m.payload(field)
	msg.payload = string(field)
	return msg, err
}

// Making a gzip.Writer costs more than all that these tests compress with it.
var zippers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err)
	}
	return w
}}

// zip is b as one gzip stream.
func zip(b []byte) []byte {
	var out bytes.Buffer
	w := zippers.Get().(*gzip.Writer)
	defer zippers.Put(w)
	w.Reset(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

var unzippers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// unzip undoes zip, and allows nothing behind the stream.
func unzip(b []byte) ([]byte, error) {
	in := bytes.NewReader(b)
	r := unzippers.Get().(*gzip.Reader)
	defer unzippers.Put(r)
	if err := r.Reset(in); err != nil {
		return nil, err
	}
	r.Multistream(false)
	out, err := io.ReadAll(r)
	if err == nil && in.Len() > 0 {
		err = fmt.Errorf("%d bytes behind the gzip stream", in.Len())
	}
	return out, err
}

// unhex reads hex digits; blanks are for the reader.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

package websocket

import (
	"encoding/binary"
	"math"

	"github.com/gobwas/ws"
)

// An Opcode is the kind of a frame (RFC 6455 5.2).
type Opcode uint8

// The opcodes of RFC 6455; all others are reserved.
const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xa
)

// IsControl reports whether op is of a control frame: close, ping or pong.
func (op Opcode) IsControl() bool { return op&0x8 != 0 }

func (op Opcode) known() bool { return op <= OpBinary || op >= OpClose && op <= OpPong }

const (
	// MaxHeaderSize is the length in bytes of the longest frame header.
	MaxHeaderSize = 2 + 8 + 4
	// maxControl is the longest payload of a control frame (RFC 6455 5.5).
	maxControl = 125

	finBit  = 0x80
	rsv1Bit = 0x40
	rsv23   = 0x30
	maskBit = 0x80
	len16   = 126 // two bytes of length follow
	len64   = 127 // eight bytes of length follow
)

// A FrameHeader is what stands before a frame's payload (RFC 6455 5.2).
//
//	 0 1 2 3 4-7    0 1-7    16 or 64 bits if len7 = 126 or 127    32 bits if M
//	F R R R op    M len7   extended length                      masking key
type FrameHeader struct {
	Fin    bool
	RSV1   bool // with permessage-deflate: the message that begins here is compressed
	Masked bool
	Opcode Opcode
	Mask   [4]byte
	Length int64 // of the payload, in bytes
}

// ParseHeader reads the frame header at the front of src, n bytes of it. n == 0 with a nil error
// means that src ends within the header. Refused are reserved bits 2 and 3, unknown opcodes,
// control frames that are fragmented or longer than 125 bytes, and lengths not in their shortest
// form or above 63 bits. The payload is not looked at; whether Masked and RSV1 are
// right depends on the connection, and Reader checks it.
func ParseHeader(src []byte) (h FrameHeader, n int, err error) {
	if len(src) < 2 {
		return h, 0, nil
	}
	b0, b1 := src[0], src[1]
	op, len7 := Opcode(b0&0xf), b1&^maskBit
	switch {
	case b0&rsv23 != 0:
		return h, 0, ErrReservedBits
	case !op.known():
		return h, 0, ErrOpcode
	case op.IsControl() && (b0&finBit == 0 || len7 > maxControl):
		return h, 0, ErrControlFrame
	}
	n = headerSize(src)
	if len(src) < n {
		return h, 0, nil
	}

	h.Fin, h.RSV1, h.Masked, h.Opcode = b0&finBit != 0, b0&rsv1Bit != 0, b1&maskBit != 0, op
	switch len7 {
	default:
		h.Length = int64(len7)
	case len16:
		h.Length = int64(binary.BigEndian.Uint16(src[2:]))
		if h.Length < len16 {
			return FrameHeader{}, 0, ErrLength
		}
	case len64:
		length := binary.BigEndian.Uint64(src[2:])
		if length <= math.MaxUint16 || length > math.MaxInt64 {
			return FrameHeader{}, 0, ErrLength
		}
		h.Length = int64(length)
	}
	if h.Masked {
		h.Mask = [4]byte(src[n-4 : n])
	}
	return h, n, nil
}

// headerSize is how long the header at the front of src is, as far as src tells: at least 2.
func headerSize(src []byte) int {
	n := 2
	if len(src) < 2 {
		return n
	}
	switch src[1] &^ maskBit {
	case len16:
		n += 2
	case len64:
		n += 8
	}
	if src[1]&maskBit != 0 {
		n += 4
	}
	return n
}

// Append appends the header as it is on the wire. h must be one that ParseHeader accepts.
func (h FrameHeader) Append(dst []byte) []byte {
	b0, m := byte(h.Opcode), byte(0)
	if h.Fin {
		b0 |= finBit
	}
	if h.RSV1 {
		b0 |= rsv1Bit
	}
	if h.Masked {
		m = maskBit
	}
	switch {
	case h.Length < len16:
		dst = append(dst, b0, m|byte(h.Length))
	case h.Length <= math.MaxUint16:
		dst = append(dst, b0, m|len16, byte(h.Length>>8), byte(h.Length))
	default:
		dst = append(dst, b0, m|len64)
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Length))
	}
	if h.Masked {
		dst = append(dst, h.Mask[:]...)
	}
	return dst
}

// AppendFrame appends a frame of header h with its Length taken from payload, masked on its way if
// h says so.
func (h FrameHeader) AppendFrame(dst, payload []byte) []byte {
	h.Length = int64(len(payload))
	dst = h.Append(dst)
	start := len(dst)
	dst = append(dst, payload...)
	if h.Masked {
		Mask(dst[start:], h.Mask, 0)
	}
	return dst
}

// AppendFrameHeader appends the header of a server's unfragmented, uncompressed frame with a
// payload of length bytes. A control frame's payload is at most 125 bytes.
func AppendFrameHeader(dst []byte, op Opcode, length int) []byte {
	return FrameHeader{Fin: true, Opcode: op, Length: int64(length)}.Append(dst)
}

// AppendFrame appends a server's unfragmented, uncompressed frame.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	return append(AppendFrameHeader(dst, op, len(payload)), payload...)
}

// AppendMaskedFrame appends a client's unfragmented, uncompressed frame. RFC 6455 10.3 wants a
// fresh random key for each.
func AppendMaskedFrame(dst []byte, op Opcode, key [4]byte, payload []byte) []byte {
	return FrameHeader{Fin: true, Opcode: op, Masked: true, Mask: key}.AppendFrame(dst, payload)
}

// Mask masks or unmasks b in place (RFC 6455 5.3). offset is b's position in the payload, for
// payloads worked off in parts.
func Mask(b []byte, key [4]byte, offset int) { ws.Cipher(b, key, offset) }

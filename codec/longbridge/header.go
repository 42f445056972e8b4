package longbridge

import (
	"encoding/binary"
	"strconv"
	"time"
)

// A PacketType is the low nibble of a packet's first byte.
type PacketType uint8

const (
	Request  PacketType = 1
	Response PacketType = 2
	Push     PacketType = 3 // server to client only: a server ignores one
)

func (t PacketType) String() string {
	switch t {
	case Request:
		return "request"
	case Response:
		return "response"
	case Push:
		return "push"
	}
	return "packet type " + strconv.Itoa(int(t))
}

// Bits of a packet's first byte.
const (
	typeMask  = 0x0f
	verifyBit = 1 << 4
	gzipBit   = 1 << 5
)

const (
	MaxHeaderSize  = 13 // a request of version 2
	MaxBodyLen     = 1<<24 - 1
	MaxMetadataLen = 1<<16 - 1

	// TrailerSize is the length of nonce and signature behind a body with the verify bit.
	TrailerSize = 8 + 16
)

// MaxTimeout is the longest time a request may ask for.
const MaxTimeout = 60 * time.Second

// headerSizes has 0 for what is no packet type or version.
var headerSizes = [typeMask + 1][3]uint8{
	Request:  {0, 11, 13},
	Response: {0, 10, 12},
	Push:     {0, 5, 7},
}

// A Header is what precedes metadata and body. The fields a packet's type or
// version lacks are zero.
type Header struct {
	Type   PacketType
	Verify bool // nonce and signature follow the body; ignored when encoding
	Gzip   bool // the body is one gzip member
	Cmd    uint8
	Status Status // of a response

	RequestID uint32 // of requests and responses; each direction counts for itself
	Timeout   uint16 // of a request, in milliseconds; see TimeoutOr

	// Found by ParseHeader, ignored when encoding; in bytes.
	MetadataLen int
	BodyLen     int // as sent, compressed
	Size        int // of the header itself; 0: the input ends inside it
}

// ParseHeader reads the header in front of src, which may hold less or more
// than the packet. Size is 0 without an error when src ends inside the header.
// A wrong type is ErrPacketType on the first byte.
//
// The lengths are what the peer claims: refuse what is too big before waiting
// for it.
func ParseHeader(src []byte, v Version) (h Header, err error) {
	if !v.valid() {
		return Header{}, ErrVersion
	}
	if len(src) == 0 {
		return Header{}, nil
	}
	first := src[0]
	size := int(headerSizes[first&typeMask][v])
	if size == 0 {
		return Header{}, ErrPacketType
	}
	if len(src) < size {
		return Header{}, nil
	}
	h.Type = PacketType(first & typeMask)
	h.Verify = first&verifyBit != 0
	h.Gzip = first&gzipBit != 0
	h.Cmd = src[1]
	switch h.Type {
	case Request:
		h.RequestID = binary.BigEndian.Uint32(src[2:])
		h.Timeout = binary.BigEndian.Uint16(src[6:])
	case Response:
		h.RequestID = binary.BigEndian.Uint32(src[2:])
		h.Status = Status(src[6])
	}
	if v == Version2 {
		h.MetadataLen = int(binary.BigEndian.Uint16(src[size-5:]))
	}
	h.BodyLen = int(src[size-3])<<16 | int(src[size-2])<<8 | int(src[size-1])
	h.Size = size
	return h, nil
}

// ParseMessage reads the header of a WebSocket message, which must hold exactly
// one packet; else it is ErrMessageLength.
func ParseMessage(msg []byte, v Version) (Header, error) {
	h, err := ParseHeader(msg, v)
	if err != nil {
		return Header{}, err
	}
	if h.Size == 0 || h.Total() != len(msg) {
		return Header{}, ErrMessageLength
	}
	return h, nil
}

// Total is the length of the whole packet in bytes: header, metadata, body, and
// nonce and signature if there are any.
func (h *Header) Total() int {
	n := h.Size + h.MetadataLen + h.BodyLen
	if h.Verify {
		n += TrailerSize
	}
	return n
}

// Split returns the metadata and the body of packet, which starts with the
// header h came from and has at least h.Total() bytes. Both point into packet
// and cannot be appended to in place. Nonce and signature are left out.
func (h *Header) Split(packet []byte) (metadata, body []byte) {
	bodyStart := h.Size + h.MetadataLen
	bodyEnd := bodyStart + h.BodyLen
	return packet[h.Size:bodyStart:bodyStart], packet[bodyStart:bodyEnd:bodyEnd]
}

// Control reports whether the packet belongs to the protocol itself. All other
// commands are business.
func (h *Header) Control() bool { return h.Cmd <= CmdReconnect }

// TimeoutOr is how long the sender of a request waits: def if the request does
// not say, as the vendor's Go client never does, and at most MaxTimeout.
func (h *Header) TimeoutOr(def time.Duration) time.Duration {
	if h.Timeout == 0 {
		return def
	}
	return min(time.Duration(h.Timeout)*time.Millisecond, MaxTimeout)
}

// NextRequestID follows id, from 1 to 4294967295 and over again; id 0 is before
// the first.
func NextRequestID(id uint32) uint32 {
	if id++; id == 0 {
		return 1
	}
	return id
}

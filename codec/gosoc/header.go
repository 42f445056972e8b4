package gosoc

import (
	"encoding/binary"
	"strconv"
)

// A Type is a packet type.
type Type uint8

const (
	TypeConnect    Type = 1 // client: the first packet
	TypeConnAck    Type = 2 // server: the verdict on it
	TypePingReq    Type = 3 // client
	TypePingResp   Type = 4 // server
	TypeDisconnect Type = 5 // both
	TypeSendReq    Type = 6 // both: a client's request, a server's push
	TypeSendResp   Type = 7 // server: the reply to a request
)

var typeNames = [...]string{
	TypeConnect:    "Connect",
	TypeConnAck:    "ConnAck",
	TypePingReq:    "PingReq",
	TypePingResp:   "PingResp",
	TypeDisconnect: "Disconnect",
	TypeSendReq:    "SendReq",
	TypeSendResp:   "SendResp",
}

func (t Type) exists() bool { return TypeConnect <= t && t <= TypeSendResp }

func (t Type) String() string {
	if !t.exists() {
		return "Type(" + strconv.Itoa(int(t)) + ")"
	}
	return typeNames[t]
}

// Header flags. Those of SendReq mean something; on other types all but the reserved one are
// ignored, and so is the high half of Fixed6's flags byte.
const (
	flagReserved = 0x01 // must be 0
	flagsLevel   = 0x06 // reply level, shifted left by one
	flagData     = 0x08 // a data field follows the payload
	flagsAll     = 0x0f
)

const sizeFixed6 = 6

// A Header is a packet's fixed header.
type Header struct {
	Type      Type
	Flags     byte // the four flag bits, the same in both forms
	Size      int  // bytes of the fixed header; 0 if there was not enough of it
	Remaining int  // bytes behind it, 0 to 2^28-1
}

// Len is the length of the whole packet in bytes.
func (h Header) Len() int { return h.Size + h.Remaining }

// ParseHeader reads the fixed header at the front of src, which may hold more than the packet.
// Size 0 with a nil error means that src ends inside the header: call again with more.
//
// A peer may announce up to 2^28-1 bytes. Compare Remaining with your own limit before you wait
// for them.
func (f Form) ParseHeader(src []byte) (Header, error) {
	if len(src) == 0 {
		return Header{}, nil
	}
	if f == Fixed6 {
		return parseFixed6(src)
	}
	h := Header{Type: Type(src[0] >> 4), Flags: src[0] & flagsAll}
	if !h.Type.exists() {
		return Header{}, h.malformed(0, ErrType)
	}
	if h.Flags&flagReserved != 0 {
		return Header{}, h.malformed(0, ErrReservedFlag)
	}
	remaining, n := varint(src[1:])
	if n <= 0 {
		if n < 0 {
			return Header{}, h.malformed(maxVarint, ErrVarint)
		}
		return Header{}, nil
	}
	h.Size, h.Remaining = 1+n, remaining
	return h, nil
}

func parseFixed6(src []byte) (Header, error) {
	h := Header{Type: Type(src[0])}
	if !h.Type.exists() {
		return Header{}, h.malformed(0, ErrType)
	}
	if len(src) > 1 && src[1] > maxRemaining>>24 {
		return Header{}, h.malformed(1, ErrLength)
	}
	if len(src) < sizeFixed6 {
		return Header{}, nil
	}
	if src[5]&flagReserved != 0 {
		return Header{}, h.malformed(5, ErrReservedFlag)
	}
	h.Flags = src[5] & flagsAll
	h.Size, h.Remaining = sizeFixed6, int(binary.BigEndian.Uint32(src[1:]))
	return h, nil
}

// malformed reports err, offset bytes from the start of h's packet.
func (h Header) malformed(offset int, err error) error {
	return &ProtocolError{Type: h.Type, Offset: offset, Err: err}
}

// headerSize is how many bytes appendHeader appends.
func (f Form) headerSize(remaining int) int {
	if f == Fixed6 {
		return sizeFixed6
	}
	return 1 + varintSize(remaining)
}

func (f Form) appendHeader(dst []byte, t Type, flags byte, remaining int) []byte {
	if f == Fixed6 {
		dst = append(dst, byte(t))
		dst = binary.BigEndian.AppendUint32(dst, uint32(remaining))
		return append(dst, flags)
	}
	return appendVarint(append(dst, byte(t)<<4|flags), remaining)
}

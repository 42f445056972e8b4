package gosoc

import (
	"errors"
	"fmt"
)

// What a peer can get wrong. Each comes wrapped in a *ProtocolError.
var (
	ErrNotGOSOC     = errors.New("not GOSOC")
	ErrType         = errors.New("no such packet type")
	ErrReservedFlag = errors.New("reserved flag 0x01 set")
	ErrVarint       = errors.New("length of more than 4 bytes")
	ErrLength       = errors.New("remaining length negative or above 2^28-1")
	ErrMissingField = errors.New("packet ends before a field")
	ErrFieldOverrun = errors.New("field runs past the packet")
	ErrTrailing     = errors.New("bytes left over behind the last field")
	ErrVersion      = errors.New("protocol version above 1")
	ErrConnectFlags = errors.New("unknown Connect flags")
)

// What a caller can ask for that the wire form has no way to say. They are returned as they are.
var (
	ErrFieldTooLong  = errors.New("gosoc: field too long for the wire form")
	ErrPacketTooLong = errors.New("gosoc: remaining length above 2^28-1")
	ErrLevel         = errors.New("gosoc: reply level above 3")
)

// A ProtocolError is the peer's doing: the packet breaks the format. Count it and close the
// connection; there is no way to find the next packet's beginning.
type ProtocolError struct {
	Type   Type  // the packet's type as sent; 0 if the first bytes are not GOSOC
	Offset int   // where it was seen, in bytes from the start of the packet
	Err    error // one of the errors above
}

func (e *ProtocolError) Error() string {
	if e.Type == 0 {
		return fmt.Sprintf("gosoc: byte %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("gosoc: %v, byte %d: %v", e.Type, e.Offset, e.Err)
}

func (e *ProtocolError) Unwrap() error { return e.Err }

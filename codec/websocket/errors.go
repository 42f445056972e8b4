package websocket

import "errors"

// An Error is the peer's breach of the protocol or of a limit after the upgrade. The connection
// must be failed (RFC 6455 7.1.7): send a close frame with Code, then close.
type Error struct {
	Code   CloseCode // what the close frame says
	Reason string    // short enough for a close frame
}

func (e *Error) Error() string { return "websocket: " + e.Reason }

// What a peer can do wrong after the upgrade.
var (
	ErrReservedBits  = &Error{CloseProtocolError, "reserved bit set"}
	ErrOpcode        = &Error{CloseProtocolError, "unknown opcode"}
	ErrControlFrame  = &Error{CloseProtocolError, "control frame fragmented or above 125 bytes"}
	ErrLength        = &Error{CloseProtocolError, "length not minimal or above 63 bits"}
	ErrNotMasked     = &Error{CloseProtocolError, "frame of a client is not masked"}
	ErrMasked        = &Error{CloseProtocolError, "frame of a server is masked"}
	ErrContinuation  = &Error{CloseProtocolError, "continuation of nothing"}
	ErrInterleaved   = &Error{CloseProtocolError, "new message within a fragmented one"}
	ErrClosePayload  = &Error{CloseProtocolError, "close frame with half a code"}
	ErrCloseCode     = &Error{CloseProtocolError, "close code not allowed"}
	ErrUTF8          = &Error{CloseInvalidPayload, "text is not UTF-8"}
	ErrInflate       = &Error{CloseInvalidPayload, "compressed message is corrupt"}
	ErrTooBig        = &Error{CloseMessageTooBig, "message too big"}
	ErrManyBlocks    = &Error{ClosePolicyViolation, "compressed in too many small blocks"}
	ErrManyFragments = &Error{ClosePolicyViolation, "too many small fragments"}
)

// ReasonOf is the text for the close frame to send for err: that of the Error it wraps, else nothing.
func ReasonOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// CodeOf is the close code to send for err: that of the Error it wraps, else CloseInternalError.
func CodeOf(err error) CloseCode {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CloseInternalError
}

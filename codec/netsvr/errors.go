package netsvr

import (
	"errors"
	"strconv"
)

// What ends a link. EndFrame returns ErrFrameTooLarge too: there it is the
// caller's doing.
var (
	ErrNoCommand     = errors.New("netsvr: frame too short for a command")
	ErrFrameTooLarge = errors.New("netsvr: frame exceeds limit")
)

// ErrMalformed is what every undecodable message matches, beside one of the
// errors below if a Decode method found it.
var ErrMalformed = errors.New("netsvr: malformed message")

// What is wrong with a message. They come wrapped in a DecodeError.
var (
	ErrTruncated = errors.New("field runs past the end")
	ErrVarint    = errors.New("varint exceeds 64 bits")
	ErrTag       = errors.New("field number 0 or above 536870911, or reserved wire type")
	ErrGroup     = errors.New("malformed group")
	ErrWireType  = errors.New("wrong wire type")
	ErrUTF8      = errors.New("string is not UTF-8")
)

// A DecodeError is the sender's doing. It quotes nothing of the message.
type DecodeError struct {
	Message string // "Transfer"
	Field   int    // its number, 0 if the tag itself could not be read
	Err     error
}

func (e *DecodeError) Error() string {
	s := "netsvr: " + e.Message
	if e.Field != 0 {
		s += " field " + strconv.Itoa(e.Field)
	}
	return s + ": " + e.Err.Error()
}

func (e *DecodeError) Unwrap() error { return e.Err }

// Is makes every DecodeError an ErrMalformed.
func (e *DecodeError) Is(target error) bool { return target == ErrMalformed }

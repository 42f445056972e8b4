package proxyproto

import (
	"errors"
	"fmt"
)

// What a proxy can get wrong. Each comes wrapped in a *ProtocolError.
var (
	ErrNoHeader    = errors.New("not a PROXY header")
	ErrLineTooLong = errors.New("no CR LF within 107 bytes")
	ErrLineEnd     = errors.New("CR or LF that does not end the line")
	ErrFields      = errors.New("not the fields of a PROXY line")
	ErrProtocol    = errors.New("neither TCP4, TCP6 nor UNKNOWN")
	ErrAddress     = errors.New("not an address of its family")
	ErrPort        = errors.New("not a port")
	ErrVersion     = errors.New("neither version 1 nor 2")
	ErrCommand     = errors.New("no such command")
	ErrFamily      = errors.New("no such address family")
	ErrTransport   = errors.New("no such transport")
	ErrTooShort    = errors.New("length too short for the addresses")
	ErrTLV         = errors.New("TLV runs past the header")
	ErrChecksum    = errors.New("wrong checksum")
	ErrUniqueID    = errors.New("unique id of more than 128 bytes")
)

// What a caller can ask for that the wire form has no way to say. They are returned as they are.
var (
	ErrTooLong     = errors.New("proxyproto: more TLVs than a header can have")
	ErrPathTooLong = errors.New("proxyproto: path of more than 108 bytes")
	ErrNoAddress   = errors.New("proxyproto: address missing, or not of the header's family")
	ErrNoSuchForm  = errors.New("proxyproto: not expressible in this version")
)

// A ProtocolError is the peer's doing: what it sent is no header. Count it and close the connection.
type ProtocolError struct {
	Offset int   // where it was seen, in bytes from the start of the header
	Err    error // one of the errors above
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("proxyproto: byte %d: %v", e.Offset, e.Err)
}

func (e *ProtocolError) Unwrap() error { return e.Err }

func malformed(offset int, err error) error { return &ProtocolError{offset, err} }

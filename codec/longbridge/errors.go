package longbridge

import "errors"

// What a peer can do wrong. The answer to each is CloseUnpackError, before a
// WebSocket upgrade HTTP status 400. Header.Inflate adds the errors of
// codec/gzip.
var (
	ErrHandshake       = errors.New("longbridge: handshake: unknown version, codec or platform")
	ErrPacketType      = errors.New("longbridge: packet type is not request, response or push")
	ErrMessageLength   = errors.New("longbridge: message is not exactly one packet")
	ErrMetadataLength  = errors.New("longbridge: metadata: length below 128 in two bytes")
	ErrMetadataShort   = errors.New("longbridge: metadata: string runs past the end")
	ErrMetadataNoValue = errors.New("longbridge: metadata: key without a value")
	ErrGzipEmpty       = errors.New("longbridge: gzip bit on an empty body")
	ErrControl         = errors.New("longbridge: malformed control message")
)

// What a caller can do wrong.
var (
	ErrVersion          = errors.New("longbridge: version is not 1 or 2")
	ErrCodec            = errors.New("longbridge: codec is not protobuf or JSON")
	ErrBodyTooLarge     = errors.New("longbridge: body exceeds 16777215 bytes")
	ErrMetadataTooLarge = errors.New("longbridge: metadata exceeds 65535 bytes")
	ErrMetadataString   = errors.New("longbridge: metadata: key or value exceeds 32767 bytes")
	ErrMetadataVersion  = errors.New("longbridge: metadata in a version 1 packet")
)

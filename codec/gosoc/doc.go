// Package gosoc reads and writes GOSOC packets, in both of their wire forms.
//
// A packet is a fixed header and a body of Remaining bytes:
//
//	Compact   type<<4|flags, remaining length as a varint of 1 to 4 bytes
//	Fixed6    type, remaining length as a big-endian int32, flags
//
//	Connect     S "GOSOC", u8 version, u8 flags (0x80 gzip), u16 keep-alive, S payload
//	ConnAck     u8 0, u8 return code
//	PingReq     empty
//	PingResp    empty
//	Disconnect  u8 type
//	SendReq     u16 message id, S route, S payload, S data if the header says so
//	SendResp    u16 message id, S payload
//
// S is a string of bytes behind its length: a varint in Compact, a u16 in Fixed6. Integers are
// big-endian. No text is looked at, and none needs to be UTF-8.
//
// # Data flow
//
//	first bytes -> Sniff, Recognize -> Form
//	bytes -> Form.ParseHeader -> the caller's size limit -> Form.Decode... -> InflatePayload, InflateData
//	struct -> Form.Append... -> bytes
//
// "Need more" is never an error: ParseHeader and Recognize are called again with more bytes, and
// the body decoders are called with the whole body only. What is wrong is reported as a
// *ProtocolError at the first byte that proves it.
//
// Compression is the caller's: a payload is a string of bytes here, whether gzip or not. A
// connection whose Connect says gzip has every later payload, in both directions, deflated with
// package gzip before it is appended; see InflatePayload and InflateData for the way back.
//
// # Ownership
//
// Decoded packets point into the body they were decoded from and live as long as it does. Clone
// what you keep. The Append functions copy what they are given. Nothing is retained.
//
// # Goroutines
//
// None. There is no state; everything may be called from any goroutine.
package gosoc

// Package longbridge encodes and decodes the socket protocol of Longbridge
// (LongPort) OpenAPI, as a server needs it and as a client would speak it.
//
// # Data flow
//
//	TCP:       2 handshake bytes, then packets back to back
//	WebSocket: the handshake is in the query, then one packet per message
//
//	bytes -> ParseHandshake -> Handshake        once per connection
//	bytes -> ParseHeader    -> Header           size limits are checked here
//	      -> Header.Split   -> metadata, body   once Header.Total bytes are there
//	      -> Header.Inflate -> the body as its sender meant it
//	      -> Codec.Unmarshal   for commands 0 to 3; the others are the workers'
//
// # Wire layout
//
// Integers are big-endian. The first byte of a packet holds its type in bits 0
// to 3, verify in bit 4 and gzip in bit 5; bits 6 and 7 are ignored.
//
//	             request  response  push
//	type, flags     1        1       1
//	cmd             1        1       1
//	request id      4        4       -
//	timeout (ms)    2        -       -
//	status          -        1       -
//	metadata len    2        2       2    version 2 only
//	body len        3        3       3
//	metadata                              version 2 only
//	body                                  gzip covers this and nothing else
//	nonce           8        8       8    verify only
//	signature      16       16      16    verify only
//
// How a signature is made is not documented and no known client sends one, so
// the last two are skipped when read and never written.
//
// # Ownership
//
// Everything decoded from a packet borrows the caller's buffer; control
// messages are copies. Append functions extend dst as the append built-in does
// and keep none of their arguments. On error they return dst as it was.
//
// # Errors
//
// An error of a decoding function is the peer's doing: say CloseUnpackError and
// close. An error of an encoding function is the caller's: nothing was written.
//
// # Goroutines
//
// None, and no shared state: every function may be called from any goroutine.
package longbridge

// Package websocket is RFC 6455, with permessage-deflate of RFC 7692, for an event loop: bytes that
// lie in a borrowed buffer go in, events and bytes to send come out. The server's side is
// complete; the client's side is what a load generator and tests need.
//
// # Data flow
//
//	bytes -> ScanHead       -> how long the request head is, resumable
//	      -> ParseUpgrade   -> Request      fields point into the head
//	      -> Request.Check  -> Refusal, if this is no WebSocket upgrade
//	      -> AppendResponse or AppendRefusal -> bytes to send
//
//	bytes -> Reader.Next    -> a message, ping, pong, close, or how many bytes are missing
//	payload -> AppendFrame, AppendDeflatedFrame, AppendClose -> bytes to send
//	a frame in its place -> DeflateFrame -> the same, compressed
//
// ParseHeader is below Reader, for callers who want frames instead of messages. The client writes
// with AppendUpgradeRequest and AppendMaskedFrame and reads with ParseUpgradeResponse and a Reader
// whose configuration says Client.
//
// # Frames in many reads
//
// A Reader does nothing with a frame but look at its header, at most 14 bytes, until the frame is
// whole: then it is unmasked in place, once, and consumed. What a partial frame costs does not
// depend on how much of it is there, and Event.Need tells the loop when to look again. The loop
// holds at most one message of Reader's limit: size limits are enforced on the header, and on what
// is inflated while it comes out. An oversize message that is to be skipped is consumed in whatever
// pieces arrive and never buffered.
//
// # Ownership
//
// What ParseUpgrade and Next return borrows src, and Next writes to src when it unmasks: the bytes
// it reports as consumed must not be fed again. A message put together from fragments has its own
// memory; an inflated one lies in the caller's Scratch. Append functions extend dst as the append
// built-in does and keep none of their arguments.
//
// # Errors
//
// All errors of reading are the peer's doing. A server's before the upgrade are a *Refusal, which
// holds the HTTP status to answer with, afterwards an *Error, with the code for the close frame.
//
// # Goroutines
//
// None. A Reader and a Scratch belong to one goroutine at a time; functions may be called from any.
package websocket

// Package netsvr encodes and decodes the worker protocol: netsvr 2.0.2, which
// any netsvr business process speaks, and the commands this gateway adds for
// clients that wait for an answer and for users. Gateway and worker library
// share it.
//
// # Data flow
//
//	bytes -> ParseFrame    -> body             the length limit is checked here
//	      -> Dialect.Split -> Command, payload  heartbeats are recognised first
//	      -> Transfer.Decode and the like       frequent messages, borrowing
//	      -> Unmarshal                          the others, into netsvrpb types
//
// The way back writes straight into a batch buffer:
//
//	start := len(buf)
//	buf = netsvr.V2.BeginFrame(buf, netsvr.CmdTransfer)
//	buf = m.Append(buf)
//	buf, err = netsvr.EndFrame(buf, start, limit)
//
// # Wire layout
//
//	length   4   of what follows, big-endian
//	command  4   big-endian, then a proto3 message; or the body is a heartbeat
//	             string, without a command
//
// # Commands
//
// A gateway takes commands of ClassOneWay and ClassQuery and closes the link on
// all others. Answers to a query carry its command and nothing else to match by,
// so they go out in the order of the questions. What follows the command of a
// query without a message (UniqIdList and others) is ignored: do not decode it.
//
// # Dialects
//
// Protocol 6 gives the same command numbers other meanings and some messages
// other fields, and nothing on the wire tells which is spoken: a listener must
// know. So everything that differs hangs on a Dialect. A Command has the number
// that 2.0.2 gives it; another dialect translates in Split and BeginFrame, takes
// numbers of its own for commands that 2.0.2 lacks, and adds types for messages
// whose fields moved (Transfer, ConnOpen, ConnClose). Code that switches on a
// Command stays as it is.
//
// # Strings
//
// A proto3 parser refuses a whole message for one string that is not UTF-8, and
// so does Decode. What clients send ends up in strings (a query, a header, a
// route), so Append writes one U+FFFD for each run of invalid bytes: what it
// writes can always be read. Fields of type bytes travel untouched.
//
// # Ownership
//
// Decoded fields point into the frame and have no capacity beyond their end;
// copy what outlives it. Decode reuses the slices of its message, so a message
// used over and over costs no allocation; a hostile frame makes it hold some 15
// bytes for each of its own (30 in the metadata of a Request) until the next one.
// Append functions extend dst as the append built-in does and keep none of their
// arguments; a []byte(s) in a message literal costs no copy.
//
// # Errors
//
// Errors of the frame functions, and an unknown command, end the link. A message
// that cannot be decoded does not: every such error is an ErrMalformed; a one-way
// command is then logged and ignored, a query not answered, Register answered
// with code UnmarshalError.
//
// # Goroutines
//
// None, and no shared state. A message belongs to one goroutine at a time.
package netsvr

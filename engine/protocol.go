package engine

import "errors"

// A Protocol recognises its connections and makes the state machine that serves each. Its methods are
// called on all loops, on several at the same time, and must not block.
type Protocol interface {
	// Name is the protocol's name in flags, counters and logs.
	Name() string
	// Sniff looks at the first bytes of a connection, at least one of them. first is valid until it
	// returns. When it says NeedMore it is called again with the same bytes and more.
	Sniff(first []byte) Match
	// Open makes the Handler of a connection whose first bytes matched, on the connection's loop. The
	// first call of the Handler's OnBytes has these bytes.
	Open(c *Conn) Handler
}

// A Match is what a Protocol says of a connection's first bytes.
type Match uint8

// The answers to Sniff.
const (
	NoMatch  Match = iota // not this protocol, whatever follows
	NeedMore              // may become this protocol
	Matched
)

// A Handler is the state machine of one connection. All its methods are called on the
// connection's loop, one at a time, and must not block.
type Handler interface {
	// OnBytes handles the whole packets at the front of b and returns the number of bytes they
	// took. When a part of a packet is left, need says how long the packet is, as far as is
	// known, and at least 1 more than what is left of b: OnBytes is not called again with less. It
	// should return when the connection is not Open, is Paused or has its OutputFull; it is called
	// again with the rest. b is valid until it returns.
	OnBytes(c *Conn, b []byte) (n, need int)
	// OnDeadline is called once when the deadline set with Conn.SetDeadline has come. Until it is set
	// anew there is none.
	OnDeadline(c *Conn)
	// Goodbye writes the protocol's final words for a close that is not the peer's doing, with
	// Conn.Write or Commit; the connection is not Open any more.
	Goodbye(c *Conn, why Reason)
	// OnClose is called once, when the connection is over for the protocol. Bytes may still be
	// on their way out. Subscriptions are still there; they go when OnClose returns.
	OnClose(c *Conn, why Reason)
}

// A Dialect is one wire form of a push. A publish is encoded once for each dialect that its
// topic's subscribers speak.
type Dialect struct {
	// Name is the protocol's name, by which clients are counted, then a hyphen and the form.
	Name string
	// Append encodes p after dst, as the append built-in would. An error means that the form cannot
	// express p: its command, for ErrCommand, else its length. It is called on any goroutine, on
	// several at the same time, must not keep p's slices, and is nil for a form that has no pushes.
	// It must not end its goroutine (runtime.Goexit), which may be a loop's.
	Append func(dst []byte, p Push) ([]byte, error)
	// NoGaps says that clients of the form have no use for Config.Gap's push.
	NoGaps bool
}

// ErrCommand is what Dialect.Append's error wraps when Push.Cmd is none that a push may have.
var ErrCommand = errors.New("engine: not a command for pushes")

// inexpressible returns what to count a push as of which a Dialect says err.
func inexpressible(err error) Drop {
	if errors.Is(err, ErrCommand) {
		return DropCommand
	}
	return DropTooLong
}

// MaxDialects is the most wire forms an Engine can tell apart.
const MaxDialects = 32

// A Push is a message to a client that asked nothing. Protocols use the field they know:
// GOSOC Route, Longbridge Cmd, WebSocket neither.
type Push struct {
	Route   string
	Cmd     uint8
	Payload []byte // borrowed: whoever takes a Push copies it
}

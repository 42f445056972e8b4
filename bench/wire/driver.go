package wire

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// A Driver speaks one protocol for all connections of a loop.
type Driver interface {
	// AppendOpen appends what is sent as soon as the connection is there. wait says that the peer
	// answers it, with Open, before a login makes sense.
	AppendOpen(dst []byte, p *Peer) (out []byte, wait bool)

	// AppendLogin appends the login of p, by Session if there is one, else by Token. wait says that
	// it is answered with LoggedIn or Refused; a protocol without a login appends nothing.
	AppendLogin(dst []byte, p *Peer) (out []byte, wait bool)

	// AppendSubscribe appends a request to hear topics; its answer is a Reply with this id.
	AppendSubscribe(dst []byte, p *Peer, id uint32, topics []string) ([]byte, error)

	// AppendPublish appends a publication of body, as Body returned it.
	AppendPublish(dst []byte, p *Peer, id uint32, topic string, body []byte) ([]byte, error)

	// AppendRequest appends a request that is answered with Reply. An empty route means the
	// gateway's own echo.
	AppendRequest(dst []byte, p *Peer, id uint32, route string, body []byte) ([]byte, error)

	// AppendPing appends what keeps an idle connection alive, and AppendPong what answers a Ping.
	AppendPing(dst []byte, p *Peer) []byte
	AppendPong(dst []byte, p *Peer, payload []byte) []byte

	// AppendGoodbye appends an orderly end, if the protocol has one.
	AppendGoodbye(dst []byte, p *Peer) []byte

	// Body returns a message body of size bytes and where a stamp of at most room bytes fits into it.
	Body(size int) (body []byte, stampAt, room int, err error)

	// RequestStamp is how much of a stamp a request carries in its body: the id, where the protocol
	// has none, else nothing.
	RequestStamp() int

	// EchoReply is the body of the Reply that answers an echo of body.
	EchoReply(body []byte) []byte

	// Next reads the first event of src and the n bytes it takes; n == 0 without an error asks for
	// more. Bytes of src may be overwritten.
	Next(p *Peer, src []byte, ev *Event) (n int, err error)

	// Layout says where packet, which AppendPublish or AppendRequest made, has what changes from
	// one to the next.
	Layout(packet []byte) Layout

	// Can reports what the protocol has.
	Can(Ability) bool
}

// An Ability is something a protocol may lack.
type Ability uint8

// Abilities.
const (
	CanSubscribe Ability = iota // clients choose their topics
	CanPublish                  // clients publish
	CanResume                   // a session survives its connection
	AcksPublish                 // each publish is answered
)

// A Peer is what a Driver keeps of a connection.
type Peer struct {
	Token   string // of the login; empty is none
	Session string // secret to resume with, as SessionKey or LoggedIn gave it
	Resume  bool   // ask for one
	State   int    // free for a Driver; 0 on a new connection

	upgraded bool
	pinged   bool // by a WebSocket frame, not by a packet inside one
	frame    int  // bytes of the current WebSocket message not yet read
}

// A Kind says what happened.
type Kind uint8

// Kinds of Event, with the fields they set.
const (
	None       Kind = iota // nothing to know
	Open                   // the transport is open: log in
	LoggedIn               // Session, if the protocol says it here
	Refused                // Code, Text
	SessionKey             // Session
	Reply                  // ID, OK, Body
	Push                   // Body, BodyAt
	Ping                   // Body, to be given to AppendPong
	Goodbye                // Code, Text: the peer is about to close
	Enlisted               // ID: a worker has subscribed this customer
	List                   // List: the uniqIds that a Link asked for
)

func (k Kind) String() string {
	return [...]string{"none", "open", "logged in", "refused", "session", "reply", "push", "ping", "goodbye", "enlisted", "list"}[k]
}

// An Event is what Next read.
type Event struct {
	Kind    Kind
	OK      bool
	ID      uint32
	Code    int
	Text    string
	Session string
	List    []string

	// Body is plain, whatever the wire said. BodyAt is where it lies in the bytes given to Next, -1
	// if it was compressed.
	Body   []byte
	BodyAt int
}

// Options choose a Driver.
type Options struct {
	Protocol string // gosoc, gosoc-fixed6, longbridge, netsvr
	// Target is tcp://host:port or ws://host:port/path; tls and wss are the same with TLS,
	// unix:///path and ws+unix:///path over a unix socket.
	Target  string
	Gzip    bool
	Replies bool // netsvr has no replies: take what comes for them, instead of for pushes
}

// ErrUnknown says that Options name no protocol or transport, or two that do not go together.
var ErrUnknown = errors.New("no such protocol")

// A Transport is how packets travel, taken from the scheme of a target.
type Transport uint8

// Transports.
const (
	TCP Transport = iota
	WebSocket
)

// ParseTarget splits a target into transport, address and, for WebSocket, the path with its query. The
// address of a unix socket is its path, or @NAME.
func ParseTarget(target string) (t Transport, address, path string, err error) {
	if !strings.Contains(target, "://") && !strings.Contains(target, "unix:") {
		target = "tcp://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return 0, "", "", fmt.Errorf("target: %w", err)
	}
	switch u.Scheme {
	case "tcp", "tls":
	case "ws", "wss":
		t = WebSocket
	case "unix", "ws+unix":
		if u.Scheme == "ws+unix" {
			t = WebSocket
		}
		address, err = unixAddress(u)
		return t, address, "", err
	default:
		return 0, "", "", fmt.Errorf("target %q: scheme is not tcp, tls, ws, wss, unix or ws+unix", target)
	}
	if u.Port() == "" {
		return 0, "", "", fmt.Errorf("target %q: no port", target)
	}
	return t, u.Host, u.RequestURI(), nil
}

// unixAddress reads unix:///PATH, and unix:@NAME or unix://@NAME of the abstract namespace.
func unixAddress(u *url.URL) (string, error) {
	switch {
	case strings.HasPrefix(u.Opaque, "@"):
		return u.Opaque, nil
	case u.User != nil && u.User.String() == "" && u.Host != "" && u.Path == "":
		return "@" + u.Host, nil
	case u.User == nil && u.Host == "" && u.Opaque == "" && u.Path != "":
		return u.Path, nil
	}
	return "", fmt.Errorf("target %q: want %s:///PATH or %s:@NAME", u, u.Scheme, u.Scheme)
}

// Secure reports whether a target is served with TLS.
func Secure(target string) bool {
	return strings.HasPrefix(target, "tls://") || strings.HasPrefix(target, "wss://")
}

var registered = map[string]func(Options) Driver{}

// Register gives New a protocol of another server, over TCP, to compare with. For init functions only.
func Register(protocol string, newDriver func(Options) Driver) { registered[protocol] = newDriver }

// New makes a Driver.
func New(o Options) (Driver, error) {
	transport, host, path, err := ParseTarget(o.Target)
	if err != nil {
		return nil, err
	}
	if host[0] == '/' || host[0] == '@' { // HTTP's Host header must be a name
		host = "localhost"
	}
	switch o.Protocol {
	case "gosoc", "gosoc-fixed6":
		d := newGOSOC(o)
		if transport == TCP {
			return d, nil
		}
		return overWebSocket(d, host, defaultPath(path, "/gosoc")), nil
	case "longbridge":
		d := newLongbridge(o)
		if transport == TCP {
			return d, nil
		}
		if path = defaultPath(path, "/v2"); !strings.Contains(path, "?") {
			path += "?" + d.query()
		}
		return overWebSocket(d, host, path), nil
	case "netsvr":
		if transport == WebSocket {
			return overWebSocket(newNetsvr(o), host, defaultPath(path, "/netsvr")), nil
		}
		return nil, fmt.Errorf("%w: netsvr is spoken over WebSocket alone: want a target ws://, wss:// or ws+unix://", ErrUnknown)
	}
	if newDriver := registered[o.Protocol]; newDriver != nil && transport == TCP {
		return newDriver(o), nil
	}
	return nil, fmt.Errorf("%w: %q over %s", ErrUnknown, o.Protocol, [...]string{"tcp", "ws"}[transport])
}

func defaultPath(path, def string) string {
	if path == "" || path == "/" {
		return def
	}
	return path
}

// Between reports whether the next byte begins a packet, so that a Skimmer may look at it. It is
// false inside a WebSocket message that holds several.
func (p *Peer) Between() bool { return p.frame == 0 }

// Reconnect makes p ready for another connection. Token, Session and Resume stay.
func (p *Peer) Reconnect() { p.upgraded, p.frame, p.State = false, 0, 0 }

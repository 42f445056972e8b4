package nats

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/bench/wire"
)

// Protocol is the name under which wire.New knows this driver.
const Protocol = "nats"

func init() { wire.Register(Protocol, func(wire.Options) wire.Driver { return Driver{} }) }

// Bounds on what a server may send.
const (
	maxLine    = 64 << 10 // INFO is the longest
	maxPayload = 64 << 20
)

// Errors of Next.
var (
	ErrLine     = errors.New("nats: line too long")
	ErrMalform  = errors.New("nats: malformed MSG")
	ErrUnknown  = errors.New("nats: unknown operation")
	errNoAnswer = errors.New("nats: requests need a responder")
)

// A Driver speaks the client protocol, without headers and without acknowledgements (verbose).
type Driver struct{}

// What Peer.State holds: flags, and above them the subscriptions not yet answered.
const (
	opened = 1 << iota
	loggedIn
	subscribing
)

var (
	connect = []byte(`CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"bench","version":"1","protocol":1,"headers":false}` + "\r\n" + "PING\r\n")
	ping    = []byte("PING\r\n")
	pong    = []byte("PONG\r\n")
)

// AppendOpen appends nothing: the server speaks first.
func (Driver) AppendOpen(dst []byte, _ *wire.Peer) ([]byte, bool) { return dst, true }

// AppendLogin appends CONNECT, and PING for its answer.
func (Driver) AppendLogin(dst []byte, _ *wire.Peer) ([]byte, bool) {
	return append(dst, connect...), true
}

// AppendSubscribe appends a SUB for each topic, and PING for their answer. Subscription ids of one
// connection differ as long as topics are at most 1,000.
func (Driver) AppendSubscribe(dst []byte, p *wire.Peer, id uint32, topics []string) ([]byte, error) {
	for i, topic := range topics {
		dst = append(append(append(dst, "SUB "...), topic...), ' ')
		dst = append(strconv.AppendInt(dst, 1000*(int64(id)-1)+int64(i)+1, 10), "\r\n"...)
	}
	p.State += subscribing
	return append(dst, ping...), nil
}

// AppendPublish appends PUB.
func (Driver) AppendPublish(dst []byte, _ *wire.Peer, _ uint32, topic string, body []byte) ([]byte, error) {
	dst = append(append(append(dst, "PUB "...), topic...), ' ')
	dst = append(strconv.AppendInt(dst, int64(len(body)), 10), "\r\n"...)
	return append(append(dst, body...), "\r\n"...), nil
}

// AppendRequest fails: the server answers nothing itself.
func (Driver) AppendRequest(dst []byte, _ *wire.Peer, _ uint32, _ string, _ []byte) ([]byte, error) {
	return dst, errNoAnswer
}

// AppendPing appends PING.
func (Driver) AppendPing(dst []byte, _ *wire.Peer) []byte { return append(dst, ping...) }

// AppendPong appends PONG.
func (Driver) AppendPong(dst []byte, _ *wire.Peer, _ []byte) []byte { return append(dst, pong...) }

// AppendGoodbye appends nothing: clients just close.
func (Driver) AppendGoodbye(dst []byte, _ *wire.Peer) []byte { return dst }

// Body returns size bytes, all of them for the stamp.
func (Driver) Body(size int) (body []byte, stampAt, room int, err error) {
	if size < stamp.MinSize {
		return nil, 0, 0, fmt.Errorf("nats: a message has at least %d bytes", stamp.MinSize)
	}
	body = make([]byte, size)
	stamp.Fill(body)
	return body, 0, size, nil
}

// RequestStamp is nothing.
func (Driver) RequestStamp() int { return 0 }

// EchoReply is body.
func (Driver) EchoReply(body []byte) []byte { return body }

// Layout has no id.
func (Driver) Layout([]byte) wire.Layout { return wire.Layout{IDAt: -1} }

// Can reports what clients do.
func (Driver) Can(a wire.Ability) bool { return a == wire.CanSubscribe || a == wire.CanPublish }

// Next reads a line, of MSG the payload too.
func (Driver) Next(p *wire.Peer, src []byte, ev *wire.Event) (int, error) {
	end := bytes.IndexByte(src[:min(len(src), maxLine)], '\n')
	if end < 0 {
		if len(src) >= maxLine {
			return 0, ErrLine
		}
		return 0, nil
	}
	line := bytes.TrimSuffix(src[:end], []byte("\r"))
	op, args, _ := bytes.Cut(line, []byte(" "))
	switch string(op) {
	case "MSG":
		return message(args, src, end+1, ev)
	case "PONG":
		answered(p, ev)
	case "PING":
		ev.Kind = wire.Ping
	case "INFO":
		ev.Kind = wire.None
		if p.State&opened == 0 {
			p.State |= opened
			ev.Kind = wire.Open
		}
	case "+OK":
		ev.Kind = wire.None
	case "-ERR":
		ev.Kind, ev.Text = wire.Refused, string(args)
	default:
		return 0, fmt.Errorf("%w: %.20q", ErrUnknown, op)
	}
	return end + 1, nil
}

// message reads the payload behind the line "MSG subject sid [reply] size".
func message(args, src []byte, head int, ev *wire.Event) (int, error) {
	last := bytes.LastIndexByte(args, ' ')
	if last < 0 {
		return 0, ErrMalform
	}
	size, err := strconv.ParseUint(string(args[last+1:]), 10, 31)
	if err != nil || size > maxPayload {
		return 0, ErrMalform
	}
	end := head + int(size)
	if len(src) < end+2 {
		return 0, nil
	}
	if src[end] != '\r' || src[end+1] != '\n' {
		return 0, ErrMalform
	}
	ev.Kind, ev.Body, ev.BodyAt = wire.Push, src[head:end], head
	return end + 2, nil
}

// answered says which PING a PONG answers: they come in order.
func answered(p *wire.Peer, ev *wire.Event) {
	switch {
	case p.State&loggedIn == 0:
		p.State |= loggedIn
		ev.Kind = wire.LoggedIn
	case p.State >= subscribing:
		p.State -= subscribing
		ev.Kind, ev.OK = wire.Reply, true
	default:
		ev.Kind = wire.None
	}
}

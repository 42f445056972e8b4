package worker

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"time"
	"unsafe"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// An Open is a new connection. Gateways that run with --open-worker send it.
type Open struct {
	Gateway       *Gateway // the connection's
	UniqID        string
	RawQuery      string   // of a WebSocket client, undecoded
	SubProtocols  []string // offered by a WebSocket client
	XForwardedFor string   // the header as it came, or the peer's address
	Identity
}

// A Close is the end of a connection. Gateways that run with --close-worker send it.
type Close struct {
	Gateway *Gateway
	UniqID  string // its last one
	Session string
	Identity
}

// A Message is what a client sent without waiting for an answer: netsvr WebSocket clients know
// nothing else.
type Message struct {
	Gateway *Gateway
	UniqID  string
	Session string // empty: a guest
	Data    []byte
	Identity
}

// A Request is a client's question. Its fields may be kept and changed.
type Request struct {
	Gateway    *Gateway
	UniqID     string
	Session    string // empty: a guest
	Route      string // of a GOSOC request
	Cmd        uint32 // of a Longbridge packet
	WantsReply bool
	Payload    []byte
	Data       []byte        // a GOSOC attachment
	Timeout    time.Duration // how long the client waits, 0 if the request has none
	// Traceparent is of the trace that the request is part of, as W3C Trace Context writes it: the
	// parent of the handler's own span. Empty: it is part of none.
	Traceparent string
	Identity

	id       uint64
	metadata []netsvr.Metadata
	conn     *conn
	deadline time.Time // zero: none
}

// Metadata returns a value that the client sent along with the request, empty if there is none.
func (r *Request) Metadata(key string) string {
	value, _ := netsvr.Lookup(r.metadata, key)
	return string(value)
}

// AllMetadata yields what the client sent along, in its order.
func (r *Request) AllMetadata() iter.Seq2[string, string] {
	return pairs(r.metadata)
}

// An event is what lanes carry.
type event interface {
	serve(ctx context.Context, w *Worker)
}

// A decoder makes events of frames. It belongs to a reader; what it returns does not point into
// the frame, but into one copy of it.
type decoder struct {
	request  netsvr.Request
	open     netsvr.ConnOpen
	transfer netsvr.Transfer
	closed   netsvr.ConnClose
}

// event returns nil for what nobody handles, and the uniqId that orders the event.
func (d *decoder) event(c *conn, cmd netsvr.Command, payload []byte) (event, string, error) {
	g, h := c.link.gateway, &c.link.worker.handlers
	switch {
	case cmd == netsvr.CmdRequest:
		m := &d.request
		if err := m.Decode(bytes.Clone(payload)); err != nil {
			return nil, "", err
		}
		r := &Request{
			Gateway: g, UniqID: text(m.UniqID), Session: text(m.Session),
			Route: text(m.Route), Cmd: m.Cmd, WantsReply: m.WantsReply, Payload: m.Payload, Data: m.Data,
			Timeout: time.Duration(m.TimeoutMs) * time.Millisecond,
			Identity: Identity{
				User: text(m.User), Protocol: text(m.Protocol), Peer: text(m.Peer),
				metadata: slices.Clone(m.LoginMetadata), claims: slices.Clone(m.Claims),
			},
			Traceparent: text(m.Traceparent),

			id: m.ID, metadata: slices.Clone(m.Metadata), conn: c,
		}
		if r.Timeout > 0 {
			r.deadline = time.Now().Add(r.Timeout)
		}
		return r, r.UniqID, nil
	case cmd == netsvr.CmdTransfer && h.message != nil:
		m := &d.transfer
		if err := m.Decode(bytes.Clone(payload)); err != nil {
			return nil, "", err
		}
		e := &Message{Gateway: g, UniqID: text(m.UniqID), Session: text(m.Session), Data: m.Data, Identity: identityOf(&m.Identity)}
		return e, e.UniqID, nil
	case cmd == netsvr.CmdConnOpen && h.open != nil:
		m := &d.open
		if err := m.Decode(bytes.Clone(payload)); err != nil {
			return nil, "", err
		}
		e := &Open{
			Gateway: g, UniqID: text(m.UniqID),
			RawQuery: text(m.RawQuery), XForwardedFor: text(m.XForwardedFor),
			Identity: identityOf(&m.Identity),
		}
		for _, p := range m.SubProtocol {
			e.SubProtocols = append(e.SubProtocols, text(p))
		}
		return e, e.UniqID, nil
	case cmd == netsvr.CmdConnClose && h.close != nil:
		m := &d.closed
		if err := m.Decode(bytes.Clone(payload)); err != nil {
			return nil, "", err
		}
		e := &Close{Gateway: g, UniqID: text(m.UniqID), Session: text(m.Session), Identity: identityOf(&m.Identity)}
		return e, e.UniqID, nil
	}
	return nil, "", nil
}

// text makes a string of a field of an event's own copy. The fields of a message do not overlap,
// and only those that stay slices can be written to, so nothing can change the string.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

package gateway

import (
	"unsafe"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/session"
)

// An asker is a connection that has asked: it is likely to ask again, and to put together what workers
// are told of its client takes longer than to look for it.
type asker struct {
	of      engine.Ref
	peer    []byte // its address, as text
	client  clientFacts
	encoded netsvr.Asker // of client and peer
	room    []byte       // in which it lies
}

// clientFacts are what workers are told of a client. They are equal as long as it has not changed.
type clientFacts struct {
	id                      UniqID
	session, user, protocol string
	about                   *about // what it says of a login is never changed
}

const (
	// askerBits make 256 places: few of the clients that ask at the same time share one.
	askerBits = 8
	// maxAsker bounds in bytes what is kept of an asker, which is on nobody's account.
	maxAsker = 512
)

// askerOf returns a connection's place.
func askerOf(ref engine.Ref) int { return int(uint64(ref) * 0x9e3779b97f4a7c15 >> (64 - askerBits)) }

// asker returns a connection's place, which has its address.
func (s *Scratch) asker(c *engine.Conn) *asker {
	at := &s.askers[askerOf(c.Ref())]
	if *at == nil {
		*at = new(asker)
	}
	a := *at
	if a.of != c.Ref() {
		*a = asker{of: c.Ref(), peer: c.AppendPeer(a.peer[:0]), room: a.room}
	}
	return a
}

// Peer returns the text of a client's address, as Conn.AppendPeer makes it. It is valid until the
// next call on the loop, and must not be changed.
func (s *Scratch) Peer(c *engine.Conn) []byte { return s.asker(c).peer }

// AskerOf returns what workers are told of the client whose request it is. It is valid until the next
// call on the loop. It is no method, since a Request's are for programs, too.
func AskerOf(r *Request) *netsvr.Asker {
	g, cl := r.gateway, r.session.Base()
	s := g.Scratch(r.conn.Loop())
	a := s.asker(r.conn)
	facts := clientFacts{id: UniqIDOf(cl), session: cl.Session(), user: cl.user, protocol: r.session.Protocol()}
	if cl.extra != nil {
		facts.about = cl.extra.about
	}
	if a.client == facts {
		return &a.encoded
	}
	var id [session.MaxIDLen]byte
	m := netsvr.Request{
		UniqID: g.AppendID(id[:0], cl), Session: bytesOf(facts.session), Protocol: bytesOf(facts.protocol),
		User: bytesOf(facts.user), Peer: a.peer,
	}
	m.LoginMetadata, m.Claims = cl.About()
	if s.asking, a.encoded = m.Asker(s.asking[:0]); len(s.asking) > maxAsker {
		a.client = clientFacts{} // which no client is
		return &a.encoded
	}
	a.client = facts
	a.room, a.encoded = m.Asker(a.room[:0])
	return &a.encoded
}

// bytesOf returns the bytes of a text, which are the text's own and must not be changed.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

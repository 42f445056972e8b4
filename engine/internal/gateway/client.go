package gateway

import (
	"context"
	"unicode/utf8"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/session"
)

// A Session is a protocol's state of one connection, as the gateway sees it: it says what the
// gateway has decided. Its methods are called on the connection's loop.
type Session interface {
	engine.Handler
	// Base returns the Client that the state embeds.
	Base() *Client
	// Protocol is the protocol's name, as workers see it.
	Protocol() string
	// Dialect is the wire form in which the connection takes pushes.
	Dialect() uint8
	// LoginDone says the verdict: it answers the client and, unless the outcome is LoginOK, closes
	// the connection.
	LoginDone(c *engine.Conn, o Outcome)
	// Answer sends the reply to a request. payload is borrowed.
	Answer(c *engine.Conn, id uint32, cmd uint8, status int, payload []byte)
	// Failure puts a failure that the gateway states, one of the Status constants and a message for
	// people, in the protocol's words: the status and payload to Answer with.
	Failure(status int, message string) (code int, payload []byte)
	// Ordered reports whether replies must be sent in the order of their requests.
	Ordered() bool
	// NextDeadline returns how many ms from now the protocol itself wants OnDeadline called, at
	// least 1; 0 means never. It changes nothing that a client sees.
	NextDeadline(c *engine.Conn) int64
}

// An Explainer is a Session that puts a worker's words for a failure, a status as workers have it and a
// message for people, in the protocol's: the status and payload to Answer with. Of other Sessions
// Failure does.
type Explainer interface {
	Explain(status int, message string) (code int, payload []byte)
}

func explain(s Session, status int, message string) (code int, payload []byte) {
	if e, ok := s.(Explainer); ok {
		return e.Explain(status, message)
	}
	return s.Failure(status, message)
}

// A Client is what the gateway knows of one connection. Protocols embed it in their state; it
// belongs to the connection's loop.
type Client struct {
	user       string
	key        session.Key // the uniqId, unless extra.customID is set
	extra      *extra
	standing   standing
	topicBytes uint32 // charged for topics
}

// extra is what only some clients have.
type extra struct {
	customID    string
	sessionText string
	cancelLogin context.CancelFunc // of the login that waits for the provider's verdict
	resumable   bool
	claimed     bool   // a login of user is under way and holds the claim
	counted     bool   // counts against the user's limit, in slot
	unconfirmed bool   // the client was told of issued, and has sent nothing since
	lost        bool   // nor since it was told that its topics are gone
	paused      bool   // too many of its requests wait: see Gateway.holdInput
	online      uint16 // of its user at its login, at all gateways: see CountedWith
	slot        session.Slot
	issued      session.Issued
	undelivered *session.Resumed // issued comes from it, and the client has yet to be told
	about       *about
	pending     pendingQueue
	waiting     *clientQueue // its requests that wait for a worker
}

// A standing is how far a client has come, how many Events were told of it, and the place of its login
// in the order of arrival, modulo 2^28: of a user's connections the one that arrived last stays.
//
//	31          4 3    2 1     0
//	| arrival    | told | phase |
type standing uint32

type phase uint8

const (
	phaseNew   phase = iota
	phaseLogin       // the verdict is awaited
	phaseOnline
	phaseGone // refused, or closed
)

func (st standing) phase() phase { return phase(st & 3) }

func (st standing) with(p phase) standing { return st&^3 | standing(p) }

// maxEvents is how many Events can be told of a client.
const maxEvents = 3

func (st standing) told() int { return int(st >> 2 & maxEvents) }

func (st standing) withTold(n int) standing { return st&^(maxEvents<<2) | standing(n)<<2 }

func arrivedAt(arrival uint64) standing { return standing(arrival << 4) }

// after reports whether st's login arrived later than that of number arrival.
func (st standing) after(arrival uint64) bool {
	return int32(uint32(st&^15)-uint32(arrivedAt(arrival))) > 0
}

// Online reports whether the client has logged in.
func (cl *Client) Online() bool { return cl.standing.phase() == phaseOnline }

// Fresh reports whether the client has not tried to log in.
func (cl *Client) Fresh() bool { return cl.standing.phase() == phaseNew }

// Waiting reports whether the client waits for the verdict on its login.
func (cl *Client) Waiting() bool { return cl.standing.phase() == phaseLogin }

// User returns the user id, empty for an anonymous client.
func (cl *Client) User() string { return cl.user }

// Session returns the session text that workers have set; empty means guest.
func (cl *Client) Session() string {
	if cl.extra == nil {
		return ""
	}
	return cl.extra.sessionText
}

// Issued returns the resumption ticket the client is to be told of; ok is false when it asked
// for none.
func (cl *Client) Issued() (issued session.Issued, ok bool) {
	if cl.extra == nil || !cl.extra.resumable {
		return issued, false
	}
	return cl.extra.issued, true
}

// ensure makes what only some clients have, out of the loop's pool if it is given.
func (cl *Client) ensure(p *clientPool) *extra {
	if cl.extra == nil {
		cl.extra = p.get()
	}
	return cl.extra
}

// shrink lets go of it when it is not needed any more.
func (cl *Client) shrink(p *clientPool) {
	if x := cl.extra; x != nil && !x.resumable && !x.counted && x.sessionText == "" && x.customID == "" && x.pending.empty() &&
		x.about == nil && x.waiting == nil && !x.paused {
		cl.extra = nil
		p.put(x)
	}
}

// Heard notes a sign of life of a client. The first after its login shows that it was told of its
// next resumption ticket. Protocols call it when bytes have arrived.
func (g *Gateway) Heard(c *engine.Conn, cl *Client) {
	if x := cl.extra; x != nil && x.unconfirmed {
		x.unconfirmed, x.lost = false, false
		g.sessions.Confirm(g.now(), x.issued.ID, uint64(c.Ref()))
	}
}

// A UniqID is a client's uniqId that no text was made of yet: whoever holds a loop up copies it, and
// leaves the rest to others.
type UniqID struct {
	key    session.Key
	custom string
}

// UniqIDOf returns a client's uniqId, on its loop.
func UniqIDOf(cl *Client) UniqID {
	if cl.extra != nil {
		return UniqID{cl.key, cl.extra.customID}
	}
	return UniqID{key: cl.key}
}

// IDText returns the text of a uniqId of a client of g. Any goroutine may call it.
func IDText(g *Gateway, u UniqID) string { return string(g.appendUniqID(nil, u)) }

func (g *Gateway) appendUniqID(dst []byte, u UniqID) []byte {
	if u.custom != "" {
		return append(dst, u.custom...)
	}
	return session.AppendID(dst, g.Config().ServerID, u.key)
}

// AppendID appends the client's uniqId.
func (g *Gateway) AppendID(dst []byte, cl *Client) []byte { return g.appendUniqID(dst, UniqIDOf(cl)) }

// ID returns the client's uniqId.
func (g *Gateway) ID(cl *Client) string { return string(g.AppendID(nil, cl)) }

// Closed must be called from a Session's OnClose: it takes the client off all lists.
func (g *Gateway) Closed(c *engine.Conn, s Session, why engine.Reason) {
	cl := s.Base()
	wasOnline := cl.Online()
	cl.standing = cl.standing.with(phaseGone)
	x := cl.extra
	ref := uint64(c.Ref())
	g.abandonLogin(c)
	g.unlease(c)
	g.unreserve(c, cl)
	g.abandon(c, cl)
	if r := g.registry; r != nil {
		r.Leave(c.Ref())
	}
	if x != nil && x.cancelLogin != nil {
		x.cancelLogin() // nobody waits for the verdict
	}
	if x != nil && x.resumable {
		g.detach(c, x, why)
	}
	g.unsubscribeAll(c, cl) // who is told of the end finds nothing left
	defer g.forget(c, x)    // but who the client was
	if cl.user != "" {
		g.release(cl.user, ref)
	}
	if !wasOnline {
		return
	}
	if g.named.Load() {
		// With a name that can be given again, the end comes before another's beginning.
		g.naming.Lock()
		defer g.naming.Unlock()
	}
	var held bool
	if x != nil && x.customID != "" {
		held = g.clients.Delete(x.customID, ref)
	} else {
		held = g.clients.DeleteKey(cl.key, ref)
	}
	if cl.standing.told() == 0 {
		return
	}
	if !held {
		// The id was given to another connection a moment ago, and this is not that one's end.
		cl.key = g.ids.Next(g.now())
		if x != nil {
			x.customID = ""
		}
	}
	var room [session.MaxIDLen]byte
	g.tellClosed(c, s, g.AppendID(room[:0], cl), why)
}

// detach leaves the client's session behind for it to resume, or ends it when it was sent away.
func (g *Gateway) detach(c *engine.Conn, x *extra, why engine.Reason) {
	now, ref := g.now(), uint64(c.Ref())
	var successor uint64
	switch {
	case x.undelivered != nil:
		successor = g.sessions.TakeBack(now, *x.undelivered, ref)
	case why == engine.ReasonForcedOffline || why == engine.ReasonLoginExpired || why == engine.ReasonLoginRevoked:
		g.sessions.End(now, x.issued.ID)
	case fault == 6 && why == engine.ReasonKickedOut:
		g.sessions.End(now, x.issued.ID)
	case why == engine.ReasonKickedOut && fault != 7 && g.sessions.EndHeld(now, x.issued.ID, ref):
		// Else a login that arrived later has the session already, and that one stays.
	default:
		snapshot := snapshotOf(c, x)
		snapshot.Marks = marksOf(c)
		successor = g.sessions.Detach(now, x.issued.ID, ref, snapshot)
	}
	g.chargeSessions()
	if successor != 0 {
		g.engine.Tell(engine.Ref(successor), func(c *engine.Conn) {
			if c == nil {
				return
			}
			if s, ok := c.Handler().(Session); ok && s.Base().Online() {
				g.takeHandover(c, s.Base())
			}
		})
	}
}

// Rename gives an online client another uniqId of 1 to session.MaxIDLen bytes of UTF-8; the error for
// another is a NameError, which is counted and logged. When another
// connection holds it, the id is the client's from now on, and displaced is that connection:
// the caller sees to it, with Renew and a close. One of another gateway
// is closed.
func (g *Gateway) Rename(c *engine.Conn, cl *Client, id string) (displaced engine.Ref, err error) {
	return RenameTelling(g, c, cl, id, nil)
}

// RenameTelling is Rename. A connection of another gateway that holds the id is sent data, if there are
// any, and closed, as by Lose.
func RenameTelling(g *Gateway, c *engine.Conn, cl *Client, id string, data []byte) (displaced engine.Ref, err error) {
	switch {
	case len(id) == 0 || len(id) > session.MaxIDLen:
		return 0, g.refuseName(cl, ErrUniqIDLength, "uniqId", id)
	case !utf8.ValidString(id):
		return 0, g.refuseName(cl, ErrUniqIDNotUTF8, "uniqId", id)
	}
	var room [session.MaxIDLen]byte
	old := string(g.AppendID(room[:0], cl))
	if old == id {
		return 0, nil
	}
	ref := uint64(c.Ref())
	prev, err := g.name(id, ref)
	if err != nil {
		return 0, err
	}
	g.clients.Delete(old, ref)
	cl.setID(id, g.Config().ServerID)
	if r := g.registry; r != nil {
		r.Unname(old, c.Ref())
		r.Name(id, c.Ref(), data)
	}
	if prev == ref {
		prev = 0
	}
	return engine.Ref(prev), nil
}

// name binds an id that somebody has chosen to a connection, and returns the one that held it.
func (g *Gateway) name(id string, ref uint64) (prev uint64, err error) {
	if !utf8.ValidString(id) {
		return 0, ErrUniqIDNotUTF8
	}
	g.named.Store(true)
	g.naming.Lock()
	defer g.naming.Unlock()
	return g.clients.Put(id, ref)
}

func (cl *Client) setID(id string, serverID uint8) {
	if server, key, ok := session.ParseID(id); ok && server == serverID {
		cl.key = key
		if cl.extra != nil {
			cl.extra.customID = ""
		}
		return
	}
	cl.ensure(nil).customID = id
}

// Renew gives an online client a fresh uniqId made by the gateway, because it is to have none of
// its own or because its id is another connection's now.
func (g *Gateway) Renew(c *engine.Conn, cl *Client) {
	var room [session.MaxIDLen]byte
	old := string(g.AppendID(room[:0], cl))
	ref := uint64(c.Ref())
	key := g.freshKey(ref)
	g.clients.Delete(old, ref)
	if r := g.registry; r != nil {
		r.Unname(old, c.Ref())
	}
	cl.key = key
	if cl.extra != nil {
		cl.extra.customID = ""
	}
}

// displace closes a connection whose uniqId is another's now, under an id of its own, so that
// nobody is told that the new holder is gone.
func (g *Gateway) displace(ref engine.Ref) {
	g.engine.Tell(ref, func(c *engine.Conn) {
		if c == nil {
			return
		}
		if s, ok := c.Handler().(Session); ok && s.Base().Online() {
			g.Renew(c, s.Base())
		}
		c.Close(engine.ReasonSessionTakenOver)
	})
}

func (g *Gateway) freshKey(ref uint64) session.Key {
	for {
		key := g.ids.Next(g.now())
		if g.clients.PutKeyIfAbsent(key, ref) == 0 {
			return key // not taken by a client to whom a worker gave this very id
		}
	}
}

// takeHandover gives a client what the connection had whose session it took over.
func (g *Gateway) takeHandover(c *engine.Conn, cl *Client) {
	snapshot := g.handover(c, cl)
	g.restoreState(c, cl, &snapshot)
	g.restoreTopics(c, cl, &snapshot)
}

// handover fetches that; the zero Snapshot when there is nothing.
func (g *Gateway) handover(c *engine.Conn, cl *Client) session.Snapshot {
	snapshot, ok := g.sessions.Handover(cl.extra.issued.ID, uint64(c.Ref()))
	if !ok || fault == 5 {
		return session.Snapshot{}
	}
	g.chargeSessions()
	return snapshot
}

// restoreState gives a client what of its session the answer to its login may depend on. Nothing is
// sent.
func (g *Gateway) restoreState(c *engine.Conn, cl *Client, snapshot *session.Snapshot) {
	if snapshot.SessionText != "" && cl.Session() == "" {
		_ = g.SetSession(c, cl, snapshot.SessionText) // it was short enough before
	}
	if len(snapshot.Claims) > 0 {
		metadata, _ := cl.About()
		g.setAbout(c, cl, mapOf(metadata), snapshot.Claims)
	}
}

// restoreTopics gives a client the topics of its session, or says that they are gone. What it is sent
// for that comes behind the answer to its login, so the answer must be out.
func (g *Gateway) restoreTopics(c *engine.Conn, cl *Client, snapshot *session.Snapshot) {
	if snapshot.Lost && g.engine.History().On() {
		cl.extra.lost = cl.extra.unconfirmed // until then it may have to be said again
		c.SayGap("")
	}
	marks := snapshot.Marks
	for _, t := range snapshot.Topics {
		switch {
		case len(marks) > 0 && marks[0].Topic == t && fault != 13:
			g.subscribeFrom(c, marks[0])
			marks = marks[1:]
		case snapshot.MarksLost && g.engine.History().Keeps([]byte(t)):
			g.subscribeFrom(c, session.Mark{Topic: t}) // which is nowhere: a gap is told
		default:
			g.Subscribe(c, []byte(t))
		}
	}
}

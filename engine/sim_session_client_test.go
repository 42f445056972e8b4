package engine_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
)

func goexit() { runtime.Goexit() }

// A device is a user's: it has one connection at a time, and the tickets that it was told of.
type device struct {
	w       *sessionWorld
	user    string
	gosoc   bool // else it speaks Longbridge
	conn    *clientConn
	tickets []string
}

// A clientConn is one connection: what its client knows of it, and what the model does.
type clientConn struct {
	w      *sessionWorld
	device *device
	index  int
	socket *engine.SimSocket
	wire   simWire

	// What the client has asked for.
	token   int // the number of its token, 0: none
	ticket  string
	opened  session.Ticket // the ticket, zero if it is forged
	session bool

	// What it has heard.
	acked bool
	// It was let in and is not in: Disconnect must follow, which says why.
	overtaken bool
	owed      []owedReply // in order
	next      uint32
	pings     int

	// What the server must have made of it.
	arrival  int  // its place among the logins, 0: it has none yet
	accepted bool // the verdict on it was, or its ticket is good
	resumed  bool // by its ticket
	refused  bool // its ticket was no good
	online   bool // Opened was called
	closed   bool // Closed was called
	issued   *modelSession
	had      bool     // the session was its when it came online
	lost     uint64   // snapshots that the store had let go when it was last seen to hold it
	topics   []string // sorted
	ever     []string // all that it has ever had
	text     string

	// Of topics with history.
	base    follower // when it came online
	follows follower // what its client has received since
	heard   []received
	joined  map[string]int // the subscription, or its end, that it was told of last
	end     int64          // of the packet that is looked at, in bytes from the beginning
	lax     bool           // where it began is not known
	bereft  bool           // its session's topics were not kept
	told0   bool           // it was told so
}

type owedReply struct {
	id     uint32
	worker bool
	want   string
}

// act does one thing of a device.
func (d *device) act() {
	w := d.w
	if w.draining || w.sim.Failure() != "" {
		return
	}
	p := w.opt.period
	w.sim.After(int64(p/2+w.sim.Pick(p)), d.act)
	k := d.conn
	switch {
	case k == nil || !k.socket.Live():
		if d.conn = nil; !w.sim.OneIn(3) {
			return
		}
		d.connect()
		for _, o := range w.devices { // all of a user's at once, at times
			if o.user == d.user && (o.conn == nil || !o.conn.socket.Live()) && w.sim.OneIn(3) {
				o.connect()
			}
		}
	case k.socket.HalfClosed():
	case !k.acked:
		if w.sim.OneIn(4) {
			w.saw.Vanished++
			k.vanish()
		}
	case w.sim.OneIn(12):
		k.vanish()
	default:
		for range 1 + w.sim.Pick(4) {
			k.request()
		}
	}
}

// connect logs in: with the newest ticket, an older one, a token, or both.
func (d *device) connect() {
	w := d.w
	ticket, plan := "", byte(0)
	if w.opt.shared && w.sim.OneIn(2) {
		if o := w.devices[w.sim.Pick(len(w.devices))]; o.user == d.user && o.gosoc == d.gosoc {
			d.tickets = slices.Clone(o.tickets)
		}
	}
	if n := len(d.tickets); n > 0 && !w.sim.OneIn(4) {
		ticket = d.tickets[n-1]
		if w.sim.OneIn(8) {
			ticket = d.tickets[w.sim.Pick(n)]
		}
		if w.sim.OneIn(16) { // another device's
			if o := w.devices[w.sim.Pick(len(w.devices))]; len(o.tickets) > 0 && o.gosoc == d.gosoc {
				ticket = o.tickets[len(o.tickets)-1]
			}
		}
		if w.sim.OneIn(32) {
			ticket = strings.Replace("A"+ticket[1:], ticket[20:21], "B", 1)
		}
	}
	if ticket == "" || d.gosoc && w.sim.OneIn(4) {
		plans := simPlans
		if w.opt.immediate {
			plans = simPlansNow
		}
		plan = plans[w.sim.Pick(len(plans))]
	}
	d.dial(w.sim.Pick(w.sim.Engine().Loops()), ticket, plan, !d.gosoc || !w.sim.OneIn(4))
	if w.sim.OneIn(8) { // what comes behind the login waits for the verdict
		d.conn.request()
	}
}

// dial connects to a loop and asks to log in with a ticket, with a token of a plan, or both.
// resumable asks for a ticket, with a token.
func (d *device) dial(loop int, ticket string, plan byte, resumable bool) {
	w := d.w
	k := &clientConn{w: w, device: d, index: len(w.conns), ticket: ticket}
	k.socket = w.sim.Dial(loop, k)
	k.joined = make(map[string]int)
	w.conns = append(w.conns, k)
	w.live = append(w.live, k)
	d.conn = k
	k.wire = longbridgeWire{}
	if d.gosoc {
		k.wire = gosocWire{}
	}
	if ticket != "" {
		k.opened, _ = w.sealer.Open([]byte(ticket), w.sim.Engine().Time().AddDate(-1, 0, 0))
	}
	token := ""
	if plan != 0 {
		w.tokens++
		k.token = w.tokens
		token = fmt.Sprintf("%d %c %s", k.token, plan, d.user)
		k.session = resumable
	}
	k.socket.Write(k.wire.login(k, token))
}

// vanish ends the connection in one of the ways there are.
func (k *clientConn) vanish() {
	switch k.w.sim.Pick(4) {
	case 0:
		k.socket.CloseWrite()
	case 1:
		k.socket.Close()
	case 2:
		k.socket.Write(k.wire.bye())
		k.socket.CloseWrite()
	default:
		k.socket.Reset()
	}
}

// request asks for one thing.
func (k *clientConn) request() {
	w := k.w
	if k.socket.Unsent() > 16<<10 {
		return
	}
	topic := fmt.Sprintf("topic-%d", w.sim.Pick(w.opt.topics))
	switch w.sim.Pick(12) {
	case 0:
		k.send("sub", topic)
	case 1:
		k.send("last", fmt.Sprint(topic, " ", w.sim.Pick(40)))
	case 2:
		if k.send("unsub", topic); w.sim.OneIn(2) {
			k.send("sub", topic)
		}
	case 3:
		k.send("text", strings.Repeat("x", w.sim.Between(1, 100)))
	case 4:
		k.send("publish", topic)
	case 5:
		k.send("echo", fmt.Sprint("echo ", k.next))
	case 6:
		k.pings++
		k.socket.Write(k.wire.ping())
	case 7:
		if w.sim.OneIn(4) {
			k.socket.Stall(int64(w.sim.Pick(1_000_000)))
		}
	default:
		for range 1 + w.sim.Pick(4) {
			k.send("work", fmt.Sprintf("work %d of %d %s", k.next, k.index, strings.Repeat("y", w.sim.Pick(200))))
		}
	}
}

// send sends a request; some want no reply.
func (k *clientConn) send(route, payload string) {
	wanted := !k.device.gosoc || !k.w.sim.OneIn(8)
	if wanted {
		k.owed = append(k.owed, owedReply{k.next, route == "work", payload})
	}
	k.socket.Write(k.wire.request(k.next, route, wanted, payload))
	k.next++
	k.w.saw.Requests++
}

// Bytes implements engine.SimPeer: one packet of the server's.
func (k *clientConn) Bytes(_ *engine.SimSocket, b []byte) int { return k.wire.packet(k, b) }

// answered looks at the answer to the login.
func (k *clientConn) answered(accepted, concurrent bool) {
	if k.acked {
		k.w.sim.Fail("connection %d: a second answer to its login", k.index)
	}
	k.acked = true
	switch {
	case accepted && !k.online:
		k.w.sim.Fail("connection %d is told that it is logged in, and is not", k.index)
	case concurrent:
		k.w.saw.Concurrent++
		if k.newer() == nil {
			k.w.sim.Fail("P8: connection %d is refused for another login, and no later one of %s was accepted", k.index, k.user())
		}
	}
}

// user is whose connection it is: a ticket may be another's.
func (k *clientConn) user() string {
	if k.resumed {
		return k.opened.User
	}
	return k.device.user
}

// rivals reports whether the two are connections of which one user has one at a time.
func (k *clientConn) rivals(o *clientConn) bool {
	return k.device.gosoc && o.device.gosoc && k.user() == o.user()
}

// newer returns a connection of the same user that arrived later and was accepted.
func (k *clientConn) newer() *clientConn {
	for _, o := range k.w.conns {
		if o.arrival > k.arrival && o.accepted && k.rivals(o) {
			return o
		}
	}
	return nil
}

// told notes the ticket with which the session can be resumed.
func (k *clientConn) told(ticket string) {
	if ticket == "" {
		k.w.sim.Fail("connection %d is told of a session without a ticket", k.index)
	}
	if k.device.tickets = append(k.device.tickets, ticket); len(k.device.tickets) > 8 {
		k.device.tickets = k.device.tickets[1:]
	}
}

// pong is the answer to a ping.
func (k *clientConn) pong() {
	if k.pings--; k.pings < 0 {
		k.w.sim.Fail("connection %d: a pong that it did not ask for", k.index)
	}
}

// push is a push of a topic.
func (k *clientConn) push(text string) {
	k.follow(text, k.end)
	topic, _, ok := parseMessage([]byte(text))
	if !ok { // a gap, or of a subscription
		return
	}
	if !slices.Contains(k.ever, topic) {
		k.w.sim.Fail("P6: connection %d receives a push of %q, to which it never subscribed", k.index, topic)
	}
}

// reply is the reply to a request: on GOSOC the oldest that is owed. message is a failure's.
func (k *clientConn) reply(id uint32, payload, message string) {
	w := k.w
	i := slices.IndexFunc(k.owed, func(o owedReply) bool { return o.id == id })
	if i < 0 || i > 0 && k.device.gosoc {
		w.sim.Fail("P5: connection %d receives a reply to %d, number %d of the %d that it is owed: %.80q", k.index, id, i, len(k.owed), payload)
		return
	}
	o := k.owed[i]
	k.owed = slices.Delete(k.owed, i, i+1)
	switch {
	case payload == o.want && message == "":
		if o.worker {
			w.saw.Replies++
		}
		return
	case !o.worker && message == "no answer in time" && w.history.log != nil:
		return // the log was down
	case o.worker && (message == "no answer in time" || message == "no worker" || message == linkLost):
		w.saw.Failures++
		return
	}
	w.sim.Fail("P5: connection %d receives %.80q (%s) to %.80q", k.index, payload, message, o.want)
}

// End implements engine.SimPeer.
func (k *clientConn) End(_ *engine.SimSocket, reset bool) { k.w.sim.Mix(uint64(k.index)) }

// look notes a login that has been asked for, and what came of a ticket.
func (k *clientConn) look() {
	c := k.socket.Conn()
	if c == nil {
		if k.socket.Released() {
			k.arrive(nil)
		}
		return
	}
	switch h := c.Handler().(type) {
	case nil:
		k.arrive(nil)
	case gateway.Session:
		if !h.Base().Fresh() {
			k.arrive(h)
		}
	}
}

// arrive gives the connection its place in the order of logins. s is nil when it has ended at once.
func (k *clientConn) arrive(s gateway.Session) {
	if k.arrival != 0 {
		return
	}
	w := k.w
	w.arrivals++
	k.arrival = w.arrivals
	w.trace(k, "arrives as %d, ended %v, token %d of %s, ticket %d of %v", k.arrival, s == nil, k.token, k.device.user, k.opened.Serial, k.opened.ID)
	if s == nil {
		if k.refused {
			k.ticketRefused()
		}
		return
	}
	if k.ticket == "" {
		return
	}
	if issued, ok := s.Base().Issued(); ok && issued.ID == k.opened.ID {
		k.ticketTaken()
	} else if s.Base().Waiting() || k.accepted { // the token decides
		k.ticketRefused()
	}
}

// slack is how many ms the clock may have gone on since the gateway looked at it.
const slack = 50

// ticketTaken is called when a session was resumed: may it have been?
func (k *clientConn) ticketTaken() {
	w, t := k.w, k.opened
	w.trace(k, "resumes its session")
	k.resumed, k.accepted = true, true
	now := w.sim.Engine().Time().UnixMilli()
	ms := w.sessions[t.ID]
	switch {
	case ms == nil:
		w.sim.Fail("connection %d resumes a session that nobody was told of", k.index)
	case ms.ended:
		w.sim.Fail("connection %d resumes a session that has ended", k.index)
	case now > t.Expires+slack:
		w.sim.Fail("connection %d resumes a session that has expired %d ms ago", k.index, now-t.Expires)
	case t.Serial+1 < ms.serial, t.Serial+1 == ms.serial && now > ms.openedAt+3*w.opt.config.SessionGrace.Milliseconds()+slack:
		w.sim.Fail("connection %d resumes a session with ticket %d, long after %d", k.index, t.Serial, ms.serial)
	}
	if ms == nil {
		return
	}
	ms.holder = k
	for _, o := range w.live { // one that has not come online yet
		if o != k && o.resumed && !o.online && o.opened.ID == t.ID {
			ms.contested = true
		}
	}
}

// ticketRefused is called when it was not: ought it to have been?
func (k *clientConn) ticketRefused() {
	w, t := k.w, k.opened
	w.saw.SessionRefused++
	ms := w.sessions[t.ID]
	if ms == nil {
		return // forged
	}
	now := w.sim.Engine().Time().UnixMilli()
	if now > t.Expires-slack {
		w.saw.Expired++
		return
	}
	if !ms.ended && !ms.contested && t.Serial == ms.serial {
		w.sim.Fail("connection %d may not resume a session with its newest ticket, %d, %d ms before its end", k.index, t.Serial, t.Expires-now)
	}
}

// subscribed notes a topic.
func (k *clientConn) subscribed(topic string) {
	if i, ok := slices.BinarySearch(k.topics, topic); !ok {
		k.topics = slices.Insert(k.topics, i, topic)
	}
	if !slices.Contains(k.ever, topic) {
		k.ever = append(k.ever, topic)
	}
}

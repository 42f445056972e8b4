package engine_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
)

func goexit() { runtime.Goexit() }

// A device is a user's: it has one connection at a time, and the tickets that it was told of.
type device struct {
	w       *sessionWorld
	user    string
	conn    *clientConn
	tickets []string
}

// A clientConn is one connection: what its client knows of it, and what the model does.
type clientConn struct {
	w      *sessionWorld
	device *device
	index  int
	socket *engine.SimSocket

	// What the client has asked for.
	token   int // the number of its token, 0: none
	ticket  string
	opened  session.Ticket // the ticket, zero if it is forged
	session bool

	// What it has heard.
	acked bool
	owed  []owedReply // in order
	next  uint16
	pings int

	// What the server must have made of it.
	arrival  int  // its place among the logins, 0: it has none yet
	accepted bool // the verdict on it was, or its ticket is good
	resumed  bool // by its ticket
	online   bool // Opened was called
	closed   bool // Closed was called
	issued   *modelSession
	topics   []string // sorted
	ever     []string // all that it has ever had
	text     string
}

type owedReply struct {
	id     uint16
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
		if d.conn = nil; w.sim.OneIn(3) {
			d.connect()
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
	k := &clientConn{w: w, device: d, index: len(w.conns)}
	k.socket = w.sim.Dial(w.sim.Pick(w.sim.Engine().Loops()), k)
	w.conns = append(w.conns, k)
	w.live = append(w.live, k)
	d.conn = k
	info := make(map[string]any)
	if n := len(d.tickets); n > 0 && !w.sim.OneIn(4) {
		k.ticket = d.tickets[n-1]
		if w.sim.OneIn(8) {
			k.ticket = d.tickets[w.sim.Pick(n)]
		}
		if w.sim.OneIn(16) { // another device's
			if o := w.devices[w.sim.Pick(len(w.devices))]; len(o.tickets) > 0 {
				k.ticket = o.tickets[len(o.tickets)-1]
			}
		}
		if w.sim.OneIn(32) {
			k.ticket = "A" + k.ticket[1:]
			k.ticket = strings.Replace(k.ticket, k.ticket[20:21], "B", 1)
		}
		k.opened, _ = w.sealer.Open([]byte(k.ticket), w.sim.Engine().Time().AddDate(-1, 0, 0))
		info["session_id"] = k.ticket
	}
	if k.ticket == "" || w.sim.OneIn(4) {
		w.tokens++
		k.token = w.tokens
		plans := simPlans
		if w.opt.immediate {
			plans = simPlansNow
		}
		info["token"] = fmt.Sprintf("%d %c %s", k.token, plans[w.sim.Pick(len(plans))], d.user)
		k.session = !w.sim.OneIn(4)
		info["session"] = k.session
	}
	payload, err := json.Marshal(info)
	if err != nil {
		panic(err)
	}
	b, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: payload})
	if err != nil {
		panic(err)
	}
	k.socket.Write(b)
	if w.sim.OneIn(8) { // what comes behind the login waits for the verdict
		k.request()
	}
}

// vanish ends the connection in one of the ways there are.
func (k *clientConn) vanish() {
	switch k.w.sim.Pick(4) {
	case 0:
		k.socket.CloseWrite()
	case 1:
		k.socket.Close()
	case 2:
		k.socket.Write(gosoc.Compact.AppendDisconnect(nil, gosoc.Disconnect{}))
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
	case 0, 1:
		k.send("sub", topic)
	case 2:
		k.send("unsub", topic)
	case 3:
		k.send("text", strings.Repeat("x", w.sim.Between(1, 100)))
	case 4:
		k.send("publish", topic)
	case 5:
		k.send("echo", fmt.Sprint("echo ", k.next))
	case 6:
		k.pings++
		k.socket.Write(gosoc.Compact.AppendPingReq(nil))
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
	level := gosoc.LevelReply
	if k.w.sim.OneIn(8) {
		level = gosoc.LevelNoReply
	} else {
		k.owed = append(k.owed, owedReply{k.next, route == "work", payload})
	}
	b, err := gosoc.Compact.AppendSendReq(nil, gosoc.SendReq{Level: level, ID: k.next, Route: []byte(route), Payload: []byte(payload)})
	if err != nil {
		panic(err)
	}
	k.next++
	k.w.saw.Requests++
	k.socket.Write(b)
}

// Bytes implements engine.SimPeer: one packet of the server's.
func (k *clientConn) Bytes(_ *engine.SimSocket, b []byte) int {
	h, err := gosoc.Compact.ParseHeader(b)
	if err != nil {
		k.w.sim.Fail("connection %d receives %.40q: %v", k.index, b, err)
		return 0
	}
	if h.Size == 0 || len(b) < h.Len() {
		return 0
	}
	k.packet(h, b[h.Size:h.Len()])
	return h.Len()
}

func (k *clientConn) packet(h gosoc.Header, body []byte) {
	w := k.w
	switch h.Type {
	case gosoc.TypeConnAck:
		ack, err := gosoc.Compact.DecodeConnAck(h, body)
		if err != nil || k.acked {
			w.sim.Fail("connection %d: a second answer to its login, or a bad one: %v", k.index, err)
		}
		k.connAck(ack.Code)
	case gosoc.TypePingResp:
		if k.pings--; k.pings < 0 {
			w.sim.Fail("connection %d: a pong that it did not ask for", k.index)
		}
	case gosoc.TypeDisconnect:
	case gosoc.TypeSendReq:
		req, err := gosoc.Compact.DecodeSendReq(h, body)
		if err != nil {
			w.sim.Fail("connection %d: %v", k.index, err)
		}
		k.push(req)
	case gosoc.TypeSendResp:
		resp, err := gosoc.Compact.DecodeSendResp(h, body)
		if err != nil {
			w.sim.Fail("connection %d: %v", k.index, err)
		}
		k.reply(resp)
	default:
		w.sim.Fail("connection %d receives a packet of type %v", k.index, h.Type)
	}
}

// connAck looks at the answer to the login.
func (k *clientConn) connAck(code gosoc.ReturnCode) {
	k.acked = true
	switch code {
	case gosoc.Accepted:
		if !k.online {
			k.w.sim.Fail("connection %d is told that it is logged in, and is not", k.index)
		}
	case gosoc.ConcurrentLogin:
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

// newer returns a connection of the same user that arrived later and was accepted.
func (k *clientConn) newer() *clientConn {
	for _, o := range k.w.conns {
		if o.arrival > k.arrival && o.accepted && o.user() == k.user() {
			return o
		}
	}
	return nil
}

// push is a push: a ticket, or of a topic.
func (k *clientConn) push(req gosoc.SendReq) {
	if string(req.Route) == "sluice.Session" {
		var told struct {
			ID string `json:"session_id"`
		}
		if err := json.Unmarshal(req.Payload, &told); err != nil || told.ID == "" {
			k.w.sim.Fail("connection %d is told of session %q: %v", k.index, req.Payload, err)
		}
		if k.device.tickets = append(k.device.tickets, told.ID); len(k.device.tickets) > 8 {
			k.device.tickets = k.device.tickets[1:]
		}
		return
	}
	if string(req.Route) != "push" || !slices.Contains(k.ever, string(req.Payload)) {
		k.w.sim.Fail("P6: connection %d receives a push of %q, to which it never subscribed", k.index, req.Payload)
	}
}

// reply is the reply to a request: the oldest that is owed.
func (k *clientConn) reply(resp gosoc.SendResp) {
	w := k.w
	if len(k.owed) == 0 || k.owed[0].id != resp.ID {
		w.sim.Fail("P5: connection %d receives a reply to %d, and is owed %d replies: %.80q", k.index, resp.ID, len(k.owed), resp.Payload)
		return
	}
	o := k.owed[0]
	k.owed = k.owed[1:]
	if string(resp.Payload) == o.want {
		if o.worker {
			w.saw.Replies++
		}
		return
	}
	var failure struct{ Message string }
	_ = json.Unmarshal(resp.Payload, &failure)
	switch failure.Message {
	case "no answer in time", "no worker", linkLost:
		if o.worker {
			w.saw.Failures++
			return
		}
	}
	w.sim.Fail("P5: connection %d receives %.80q to %.80q", k.index, resp.Payload, o.want)
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
		n := w.gateway.Stats().Refused["session-refused"]
		refused := n != w.refused
		w.refused = n
		if refused {
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

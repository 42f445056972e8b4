package engine_test

import (
	"fmt"
	"slices"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
)

// connOf returns the model's connection for the engine's.
func (w *sessionWorld) connOf(c *engine.Conn) *clientConn {
	return w.conns[int(c.Peer().Port())-1000]
}

// Opened implements gateway.Events: may this client be logged in, and has it what it must have?
func (w *sessionWorld) Opened(c *engine.Conn, s gateway.Session) bool {
	k := w.connOf(c)
	w.trace(k, "is logged in as %s, resumed %v with ticket %d", s.Base().User(), k.resumed, k.opened.Serial)
	w.saw.Logins++
	k.arrive(s)
	switch {
	case k.online || k.closed:
		w.sim.Fail("P8: connection %d is logged in a second time", k.index)
	case !c.Open() || k.socket.Conn() != c:
		w.sim.Fail("P8: the login of connection %d is completed, whose client has gone", k.index)
	case !k.accepted:
		w.sim.Fail("connection %d is logged in, and was not accepted", k.index)
	case s.Base().User() != k.user():
		w.sim.Fail("connection %d of %s is logged in as %s", k.index, k.user(), s.Base().User())
	}
	for _, o := range w.live {
		if o.online && !o.closed && k.rivals(o) && !w.closing(o) {
			w.sim.Fail("P8: connections %d and %d of %s are logged in", o.index, k.index, k.user())
		}
	}
	k.online = true
	w.restored(k, c, s)
	return true
}

// closing reports whether a connection is open no more.
func (w *sessionWorld) closing(k *clientConn) bool {
	c := k.socket.Conn()
	return c == nil || !c.Open()
}

// restored compares what a client has at its beginning with what it must have.
func (w *sessionWorld) restored(k *clientConn, c *engine.Conn, s gateway.Session) {
	issued, ok := s.Base().Issued()
	switch {
	case k.resumed && (!ok || issued.ID != k.opened.ID):
		w.sim.Fail("connection %d has not the session that it has resumed", k.index)
		return
	case !k.resumed && ok != k.session:
		w.sim.Fail("connection %d has a ticket: %v, it asked for one: %v", k.index, ok, k.session)
		return
	}
	now := w.sim.Engine().Time()
	late := ok && issued.Expires <= now.UnixMilli() // the session expired while its holder's end was awaited
	got := slices.Sorted(slices.Values(c.Topics(nil)))
	text := s.Base().Session()
	var want []string
	wantText := ""
	if k.resumed {
		w.saw.Resumed++
		ms := w.sessions[issued.ID]
		if ms == nil {
			return
		}
		want, wantText = ms.topics, ms.text
		if ms.holder != k { // another has it already, who gets what it has
			want, wantText = got, text
		}
		if len(got) == 0 && text == "" && (lost(w.gateway.Stats().Sessions) > ms.trimmed || late) {
			w.saw.Trimmed++
			ms.bereft = true
			want, wantText = nil, ""
		}
	} else if text != "" { // see planTopics
		want, wantText = []string{"home"}, "text of "+k.user()
	}
	if !slices.Equal(got, want) || text != wantText {
		w.sim.Fail("connection %d (resumed: %v) begins with topics %q and text %q, want %q and %q", k.index, k.resumed, got, text, want, wantText)
	}
	if k.resumed && len(got) > 0 {
		w.saw.Restored++
	}
	for _, t := range got {
		k.subscribed(t)
	}
	k.text = text
	if w.history.log != nil {
		w.history.log.others.letIn(k, got)
	}
	w.history.restored(k, got)
	if !ok || late {
		return
	}
	t, err := w.sealer.Open([]byte(issued.Ticket), now)
	if err != nil {
		w.sim.Fail("connection %d is told of a ticket that is no good: %v", k.index, err)
		return
	}
	ms := w.sessions[t.ID]
	if ms == nil {
		ms = &modelSession{holder: k}
		w.sessions[t.ID] = ms
	}
	if t.Serial > ms.serial {
		ms.openedAt = now.UnixMilli()
	}
	ms.serial, ms.contested = t.Serial, false
	k.issued, k.had = ms, ms.holder == k
}

// trace prints what happens to connections, with -sim.trace.
func (w *sessionWorld) trace(k *clientConn, format string, args ...any) {
	if *engine.SimTrace >= 0 {
		fmt.Printf("%d %d.%03d connection %d %s\n", w.sim.Steps(), w.sim.Clock()/1000, w.sim.Clock()%1000, k.index, fmt.Sprintf(format, args...))
	}
}

// Closed implements gateway.Events.
func (w *sessionWorld) Closed(c *engine.Conn, s gateway.Session, id []byte, why engine.Reason) {
	k := w.connOf(c)
	if !k.online || k.closed {
		w.sim.Fail("connection %d ends (%v), and was not logged in, or has ended already", k.index, why)
	}
	k.closed = true
	if *engine.SimTrace >= 0 {
		w.trace(k, "ends: %v, with %q, at %v", why, k.topics, k.where())
	}
	w.sim.Mix(uint64(k.index)<<8 | uint64(why))
	switch why {
	case engine.ReasonKickedOut:
		w.saw.Kicked++
		if k.newer() == nil {
			w.sim.Fail("P8: connection %d of %s is kicked out, and no later one was accepted", k.index, k.user())
		}
	case engine.ReasonSessionTakenOver:
		w.saw.TakenOver++
	case engine.ReasonForcedOffline:
		w.saw.Forced++
	case engine.ReasonPeerClosed, engine.ReasonClientClose, engine.ReasonWriteError:
		if k.socket.Live() && !k.socket.HalfClosed() && why == engine.ReasonPeerClosed {
			w.sim.Fail("connection %d is said to have closed", k.index)
		}
	case engine.ReasonShutdown:
		if !w.draining {
			w.sim.Fail("connection %d is closed for a shutdown", k.index)
		}
	default:
		w.sim.Fail("connection %d is closed: %v", k.index, why)
	}
	if n := c.TopicCount(); n != 0 {
		w.sim.Fail("connection %d has ended with %d topics", k.index, n)
	}
	ms := k.issued
	if ms == nil {
		return
	}
	taken := ms.holder != k && ms.holder.socket.Conn() != nil
	if why == engine.ReasonKickedOut && !taken || why == engine.ReasonForcedOffline {
		ms.ended = true
	}
	if !k.had {
		return
	}
	ms.topics, ms.text = slices.Clone(k.topics), k.text
	ms.trails, ms.lax = k.where(), k.lax
	ms.trimmed = k.lost // its own snapshot may be among those that the store has let go by now
}

// kept is what the gateway has charged, of the kinds of which it is known.
func (w *sessionWorld) kept(kind engine.Kind) (n int64) {
	switch kind {
	case engine.KindRequests, engine.KindReplies:
		return -1
	case engine.KindSessions:
		st := w.gateway.Stats().Sessions
		return st.Bytes + st.Waiting
	case engine.KindAddresses:
		return int64(w.gateway.Stats().Suspects) * 80
	case engine.KindIdentity: // nobody says anything of himself: the session texts
		for _, k := range w.live {
			if k.online && !k.closed {
				n += int64(len(k.text))
			}
		}
	case engine.KindTopics:
		for _, k := range w.live {
			if !k.online || k.closed {
				continue
			}
			for _, t := range k.topics {
				n += int64(len(t)) + 160
			}
		}
	}
	return n
}

// check is done after every step.
func (w *sessionWorld) check() {
	if w.sim.Failure() != "" {
		return
	}
	w.live = slices.DeleteFunc(w.live, func(k *clientConn) bool { return k.socket.Released() && k.closed == k.online })
	online := 0
	for i, k := range w.live {
		if !k.online || k.closed {
			continue
		}
		online++
		if w.closing(k) {
			continue
		}
		for _, o := range w.live[:i] {
			if !o.online || o.closed || w.closing(o) {
				continue
			}
			if k.rivals(o) {
				w.sim.Fail("P8: connections %d and %d of %s are logged in", o.index, k.index, k.user())
			}
			if k.issued != nil && k.issued == o.issued {
				w.sim.Fail("P8: connections %d and %d have one session", o.index, k.index)
			}
		}
	}
	if w.sim.Steps()%16 == 0 {
		w.checkGauges(online)
		w.history.check()
	}
}

// checkGauges compares the gateway's gauges with the truth.
func (w *sessionWorld) checkGauges(online int) {
	st := w.gateway.Stats()
	w.lost = lost(st.Sessions)
	users := make(map[string]bool)
	now := w.sim.Engine().Time().UnixMilli()
	attached := make(map[session.SessionID]bool) // and whether it must be
	for _, k := range w.live {
		c := k.socket.Conn()
		if !w.closing(k) && k.issued != nil && k.issued.holder == k {
			k.lost = w.lost
		}
		if k.online && !k.closed {
			if k.device.gosoc {
				users[k.user()] = true
			} else if n := w.gateway.Counted(k.user()); n < 1 || n > w.opt.config.UserLimit {
				w.sim.Fail("%d connections of %s count, at most %d", n, k.user(), w.opt.config.UserLimit)
			}
		}
		if c == nil {
			continue
		}
		s, ok := c.Handler().(gateway.Session)
		if !ok {
			continue
		}
		if issued, ok := s.Base().Issued(); ok {
			ms := w.sessions[issued.ID]
			attached[issued.ID] = attached[issued.ID] || issued.Expires > now && ms != nil && ms.holder == k && !ms.ended
		}
		if k.online && !k.closed {
			if got := slices.Sorted(slices.Values(c.Topics(nil))); !slices.Equal(got, k.topics) {
				w.sim.Fail("connection %d has topics %q, want %q", k.index, got, k.topics)
			}
		}
	}
	must := 0
	for _, is := range attached {
		if is {
			must++
		}
	}
	switch {
	case st.Clients != online:
		w.sim.Fail("%d clients are logged in, %d counted", online, st.Clients)
	case st.Users != len(users):
		w.sim.Fail("%d users are logged in, %d counted", len(users), st.Users)
	case st.Sessions.Attached < must || st.Sessions.Attached > len(attached):
		w.sim.Fail("%d to %d sessions are held by connections, %d counted", must, len(attached), st.Sessions.Attached)
	case st.Sessions.Bytes > w.opt.config.SessionTotal:
		w.sim.Fail("P1: snapshots of %d bytes, at most %d", st.Sessions.Bytes, w.opt.config.SessionTotal)
	case st.Sessions.Attached+st.Sessions.Detached > len(w.sessions)+len(attached):
		w.sim.Fail("%d sessions are known, there were %d", st.Sessions.Attached+st.Sessions.Detached, len(w.sessions))
	}
	if n := w.sim.Engine().Stats().Accounts[engine.KindSessions]; n != st.Sessions.Bytes+st.Sessions.Waiting {
		w.sim.Fail("P1: snapshots of %d bytes, %d charged", st.Sessions.Bytes, n)
	}
}

// checkRest is done when everything has come to rest.
func (w *sessionWorld) checkRest() {
	for _, k := range w.live {
		if !k.socket.Live() {
			continue
		}
		if !k.online || k.closed || k.pings != 0 {
			w.sim.Fail("connection %d is there at rest: logged in %v, ended %v, %d pongs are missing", k.index, k.online, k.closed, k.pings)
		}
	}
	a := w.sim.Engine().Stats().Accounts
	if a[engine.KindRequests] != 0 || a[engine.KindReplies] != 0 {
		w.sim.Fail("P1: nobody waits for a reply, %d bytes of requests and %d of replies are kept", a[engine.KindRequests], a[engine.KindReplies])
	}
	counted, online := make(map[string]int), make(map[string]int)
	for _, k := range w.live {
		if !k.online || k.closed {
			continue
		}
		if online[k.user()]++; !k.device.gosoc {
			counted[k.user()]++
		}
	}
	for i := range w.opt.users {
		user := fmt.Sprintf("user-%d", i)
		if n := w.gateway.Counted(user); n != counted[user] {
			w.sim.Fail("%d connections of %s count at rest, there are %d", n, user, counted[user])
		}
		if n := w.gateway.Online(user); n != online[user] {
			w.sim.Fail("%d connections of %s are online at rest, there are %d", n, user, online[user])
		}
	}
	w.checkReplies()
	w.history.checkRest()
}

// checkReplies requires that each reply was sent to its client or counted as late.
func (w *sessionWorld) checkReplies() {
	st := w.gateway.Stats()
	w.saw.LateReplies, w.saw.Timeouts, w.saw.Holds = int(st.Late), int(st.Timeouts), int(st.Holds)
	least, most := w.link.posted-w.link.first, w.link.posted-w.saw.Replies
	if l := w.history.log; l != nil {
		most += l.answers
	}
	if int(st.Late) < least || int(st.Late) > most {
		w.sim.Fail("%d to %d replies were late, %d counted", least, most, st.Late)
	}
}

// checkNothingLeft is done when all connections have ended and all sessions have expired.
func (w *sessionWorld) checkNothingLeft() {
	st := w.gateway.Stats()
	if st.Clients != 0 || st.Users != 0 {
		w.sim.Fail("P8: at the end %d clients and %d users", st.Clients, st.Users)
	}
	if s := st.Sessions; s.Attached != 0 || s.Detached != 0 || s.Spent != 0 || s.Bytes != 0 {
		w.sim.Fail("P8: at the end %s", fmt.Sprintf("%+v", s))
	}
	for _, k := range w.conns {
		if k.online != k.closed {
			w.sim.Fail("P8: nobody was told of the end of connection %d", k.index)
		}
	}
}

// lost counts the snapshots that the store has let go before their time.
func lost(st session.StoreStats) uint64 { return st.TooMany + st.TooLong + st.OverUser }

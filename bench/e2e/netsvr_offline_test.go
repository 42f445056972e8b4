package e2e

import (
	"slices"
	"testing"
	"time"
)

func TestNetsvrForceOffline(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	force := func(data string, ids ...string) { l.send(workerForceOffline, workerWith(ids, data)) }
	guest := func(delay int64, data string, ids ...string) {
		l.send(workerForceOfflineGuest, workerMsg(nil).text(1, ids...).num(2, delay).text(3, data))
	}
	gone := func(c *netsvrCustomer, id, session string) {
		t.Helper()
		l.wantUnknown(id)
		c.wantCut()
		l.wantClosed(id, session)
	}
	ends := func(ids ...string) { // in any order: they may be on different loops
		t.Helper()
		var closed []string
		for range ids {
			closed = append(closed, l.event(workerConnClose).text(1))
		}
		slices.Sort(ids)
		if slices.Sort(closed); !slices.Equal(closed, ids) {
			t.Fatalf("closed: %q, want %q", closed, ids)
		}
	}
	force("", append(netsvrNobody, "x")...)
	guest(0, "data", netsvrNobody...)
	guest(-5, "", netsvrNobody...)

	c, id := s.open()
	g, idG := s.gosoc()
	force("", "nobody", id, id, idG)
	l.wantUnknown(id, idG)
	c.wantCut()
	g.wantDisconnect(1)
	g.wantEOF()
	ends(id, idG)

	// With data: it stays fully alive for 3 s.
	c, id = s.open()
	g, idG = s.gosoc()
	start := time.Now()
	force("bye", id, idG)
	c.wantText("bye")
	g.wantPush("push", "bye")
	s.subscribe(id, "t")
	l.wantInfo(id, "", "t")
	c.say("001on")
	l.wantTransferOf(id, "", "on")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, "renamed").text(4, "s"))
	c.wantCut() // a new name is no escape
	if took := time.Since(start); took < 3*time.Second-early {
		t.Errorf("cut after %v, want 3 s", took)
	}
	g.wantDisconnect(1)
	g.wantEOF()
	ends("renamed", idG)
	l.wantTopics()

	// Guests are those without a session.
	c, id = s.open()
	member, idM := s.open()
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idM).text(4, "member"))
	s.subscribe(id, "topics do not matter")
	guest(0, "", idM, id)
	gone(c, id, "")
	c, id = s.open()
	guest(-1, "", id)
	gone(c, id, "")

	// Later: looked up and judged when the time has come.
	c, id = s.open()         // stays a guest
	joins, idJ := s.open()   // logs in meanwhile
	renamed, idR := s.open() // has another id by then
	leaves, idL := s.open()  // is gone by then
	told, idT := s.open()    // with data
	comes, idC := s.open()   // gets an id that was asked about
	const later = 6          // seconds, in which everything up to wantCut must be done
	start = time.Now()
	guest(later, "", id, idJ, idR, idL, idM, "comes later")
	guest(later, "bye", idT)
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idJ).text(4, "in"))
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idR).text(2, "renamed"))
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idC).text(2, "comes later"))
	leaves.hangUp()
	l.wantClosed(idL, "")
	l.wantInfo(id, "")
	c.wantCut()
	if took := time.Since(start); took < later*time.Second-early {
		t.Errorf("cut after %v, want %d s", took, later)
	}
	comes.wantCut()
	told.wantText("bye")
	ends(id, "comes later")
	told.wantAlive()
	told.wantCut()
	if took := time.Since(start); took < (later+3)*time.Second-early {
		t.Errorf("cut after %v, want %d s and 3 s", took, later)
	}
	l.wantClosed(idT, "")
	for _, c := range []*netsvrCustomer{joins, renamed, member} {
		c.wantAlive()
	}
	if got := l.online(idJ, "renamed", idM); len(got) != 3 {
		t.Errorf("spared: %q", got)
	}
}

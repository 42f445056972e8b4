package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// netsvrCustomID is the target of a customer that wants an id.
func netsvrCustomID(id, token string) string {
	return fmt.Sprintf("/netsvr?id=%s&token=%s", url.QueryEscape(id), token)
}

func TestNetsvrCustomID(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--custom-id-key", "id", "--custom-id-ttl", "10m", "--allow-origin", "good.example")
	l := s.l
	good := "Origin: http://good.example"
	token := func() string {
		t.Helper()
		return l.ask(workerCustomToken, nil).text(2)
	}
	wrong := func(target string, headers ...string) {
		t.Helper()
		s.p.netsvrRefused(t, 400, "Custom uniqId wrong", netsvrHead("GET", target, append(headers, good)...))
	}
	enter := func(id, token string) *netsvrCustomer {
		t.Helper()
		target := netsvrCustomID(id, token)
		c := s.p.netsvrOpen(t, target, good)
		got := l.event(workerConnOpen)
		if _, query, _ := strings.Cut(target, "?"); got.text(1) != id || got.text(2) != query {
			t.Fatalf("ConnOpen of %q with query %q, want %q with %q", got.text(1), got.text(2), id, query)
		}
		return c
	}
	wrong("/netsvr")
	wrong("/netsvr?id=x")
	wrong("/netsvr?token=x")
	wrong(netsvrCustomID("x", "no+such+token"))
	wrong(netsvrCustomID("x", strings.Repeat("0", 32)))
	unused := token()
	wrong(netsvrCustomID("", unused))
	wrong(netsvrCustomID(strings.Repeat("x", 129), unused))
	wrong("/netsvr?token=" + unused)
	wrong("/netsvr?ID=x&token=" + unused)
	wrong("/netsvr?id=x&token=" + unused + "0")
	c := enter(strings.Repeat("é", 64), unused) // 128 bytes; none of these has used it up
	c.say("001x")
	l.wantTransferOf(strings.Repeat("é", 64), "", "x")
	wrong(netsvrCustomID("again", unused))

	// The id that is proposed with the token is no more than a proposal.
	proposed := l.ask(workerCustomToken, nil)
	c = enter(proposed.text(1), proposed.text(2))
	l.wantInfo(proposed.text(1), "")
	c.hangUp()
	l.wantClosed(proposed.text(1), "")

	// Behind the check of the token comes that of the Origin, and takes it along.
	lost := token()
	s.p.netsvrRefused(t, 403, "", netsvrHead("GET", netsvrCustomID("x", lost), "Origin: http://evil.test"))
	wrong(netsvrCustomID("x", lost))
	wrong("/netsvr", "Sec-WebSocket-Version: 12") // and behind that the handshake
	if got := l.uniqIDs(); len(got) != 1 {
		t.Errorf("online: %q", got)
	}

	// The same id twice: the first is cut off, and its end does the second no harm.
	for round := range 10 {
		name := fmt.Sprint("twice", round)
		first := enter(name, token())
		s.subscribe(name, "first's")
		second := s.p.netsvrOpen(t, netsvrCustomID(name, token()), good)
		first.wantCut()
		for range 2 { // in any order: they may be on different loops
			a, _ := l.take(&l.events, patience)
			if (a.cmd == workerConnOpen) != (a.fields.text(1) == name) {
				t.Fatalf("%d of %q", a.cmd, a.fields.text(1))
			}
		}
		l.wantInfo(name, "")
		l.wantTopics()
		l.send(workerSingleCast, workerCast(name, "hello"))
		second.wantText("hello")
		second.say("001still")
		l.wantTransferOf(name, "", "still")
		second.hangUp()
		l.wantClosed(name, "")
		l.wantUnknown(name)
	}
	// And when the first goes at the very moment: never an id that points at nobody.
	for round := range 40 {
		name := fmt.Sprint("race", round)
		first := enter(name, token())
		target := token()
		go first.hangUp()
		second := s.p.netsvrOpen(t, netsvrCustomID(name, target), good)
		l.send(workerSingleCast, workerCast(name, "hello"))
		second.wantText("hello")
		s.p.await(func() bool { return l.ask(workerUniqIDCount, nil).num(2) == 2 }, "the first to be gone")
		// The end of the first is told of before the second's beginning, or under another id.
		begun, ended := false, false
		for !begun || !ended {
			a, ok := l.take(&l.events, patience)
			switch {
			case !ok:
				t.Fatalf("begun %v, ended %v, and no more events", begun, ended)
			case a.cmd == workerConnOpen && a.fields.text(1) == name:
				begun = true
			case a.cmd == workerConnClose && !ended && !(begun && a.fields.text(1) == name):
				ended = true
			default:
				t.Fatalf("begun %v, ended %v, then %d of %q", begun, ended, a.cmd, a.fields.text(1))
			}
		}
		second.hangUp()
		l.wantClosed(name, "")
	}
	if got := l.ask(workerUniqIDCount, nil).num(2); got != 1 {
		t.Errorf("%d online: %q", got, l.uniqIDs())
	}
	// GOSOC clients have no part in this.
	g := s.p.login(t, modes[0], "")
	if got := l.event(workerConnOpen).text(1); !netsvrUniqID(got, 0) {
		t.Errorf("a GOSOC client is %q", got)
	}
	g.write(g.mode.ping())
	g.wantPong()
}

func TestNetsvrCustomIDLate(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--custom-id-key", "id", "--custom-id-ttl", "1s")
	late := s.l.ask(workerCustomToken, nil).text(2)
	time.Sleep(1100 * time.Millisecond)
	s.p.netsvrRefused(t, 400, "Custom uniqId wrong", netsvrHead("GET", netsvrCustomID("x", late)))
	if got := s.l.uniqIDs(); len(got) != 0 {
		t.Errorf("online: %q", got)
	}
}

// The token of a custom id is there also when nobody can use it.
func TestNetsvrCustomIDOff(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	token := s.l.ask(workerCustomToken, nil)
	_, id := s.p.netsvrOpened(t, s.l, netsvrCustomID("mine", token.text(2)))
	if id == "mine" || !netsvrUniqID(id, 0) {
		t.Errorf("uniqId %q", id)
	}
}

// Customers that must log in, and their session from the provider.
func TestNetsvrLogin(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--login", "tokens:"+tokensFile(t, "secret ann"), "--netsvr-login", "required", "--login-failures", "0")
	for _, target := range []string{"/netsvr", "/netsvr?token=", "/netsvr?token=wrong", "/netsvr?secret"} {
		s.p.netsvrRefused(t, 401, "", netsvrHead("GET", target))
	}
	c, _ := s.p.netsvrOpened(t, s.l, "/netsvr?x=y&token=secret")
	c.wantAlive()
	s.l.wantNoEvent(20 * time.Millisecond)
}

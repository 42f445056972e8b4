package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// wantRefused wants an answer other than 101, with a body that is compared byte by byte unless it
// is empty.
func (p *process) netsvrRefused(tb testing.TB, status int, body string, request []byte) {
	tb.Helper()
	_, got, text := p.netsvrUpgrade(tb, request)
	if got != status || body != "" && text != body {
		tb.Errorf("%.60q: %d %q, want %d %q", request, got, text, status, body)
	}
}

func TestNetsvrUpgrade(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	for _, target := range []string{"/netsvr", "/netsvr?", "/netsvr?a=b&c=%20d+e&a=", "http://gateway/netsvr?absolute"} {
		_, query, _ := strings.Cut(target, "?")
		s.p.netsvrOpen(t, target)
		got := l.event(workerConnOpen)
		if got.text(2) != query || got.text(4) != "127.0.0.1" || len(got[3]) > 0 || !netsvrUniqID(got.text(1), 0) {
			t.Errorf("%s: ConnOpen of %q, query %q, protocols %q, from %q", target, got.text(1), got.text(2), got.texts(3), got.text(4))
		}
	}
	for _, h := range []struct {
		headers   []string
		protocols []string
		forwarded string
	}{
		{headers: []string{"Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Origin: http://anywhere.example"}},
		{headers: []string{"Sec-WebSocket-Protocol: first, second ,third"}, protocols: []string{"first", "second", "third"}},
		{headers: []string{"Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"}, protocols: []string{"a", "b"}},
		{headers: []string{"X-Forwarded-For: 10.0.0.1, 2001:db8::1"}, forwarded: "10.0.0.1, 2001:db8::1"},
		{headers: []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"}},
		{headers: []string{"x-forwarded-for: lower case"}, forwarded: "lower case"},
	} {
		c := s.p.netsvrOpen(t, "/netsvr", h.headers...)
		got := l.event(workerConnOpen)
		if h.forwarded == "" {
			h.forwarded = "127.0.0.1"
		}
		if !slices.Equal(got.texts(3), h.protocols) || got.text(4) != h.forwarded {
			t.Errorf("%q: ConnOpen with protocols %q, from %q", h.headers, got.texts(3), got.text(4))
		}
		want := ""
		if len(h.protocols) > 0 {
			want = h.protocols[0]
		}
		if got := c.head.Header; got.Get("Sec-WebSocket-Protocol") != want || got.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("%q: answered %v", h.headers, got)
		}
	}
	for _, path := range []string{"/", "/netsvr/", "/netsvrx", "/NETSVR", "/net%73vr", "//netsvr", "/netsvr/x?y"} {
		s.p.netsvrRefused(t, 404, "", netsvrHead("GET", path))
	}
	s.p.netsvrRefused(t, 405, "", netsvrHead("POST", "/netsvr"))
	s.p.netsvrRefused(t, 405, "", netsvrHead("POST", "/netsvr", "Upgrade:", "Connection:", "Content-Length: 5"))
	for _, headers := range [][]string{
		{"Upgrade:"}, {"Connection:"}, {"Upgrade: h2c"}, {"Connection: keep-alive"}, {"Upgrade:", "Connection:", "Sec-WebSocket-Key:", "Sec-WebSocket-Version:"},
		{"Sec-WebSocket-Version: 12"}, {"Sec-WebSocket-Version:"}, {"Sec-WebSocket-Version: 13, 8"},
		{"Sec-WebSocket-Key:"}, {"Sec-WebSocket-Key: short"}, {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXh4eHg="},
		{"Host:"},
	} {
		s.p.netsvrRefused(t, 400, "", netsvrHead("GET", "/netsvr", headers...))
	}
	l.wantNoEvent(50 * time.Millisecond) // whoever was refused never was there

	// In pieces, and with messages right behind the head.
	head := netsvrHead("GET", "/netsvr?pieces")
	c, _, _ := s.p.netsvrUpgrade(t, append(slices.Clone(head), netsvrFrame(0x80|netsvrText, []byte("001behind the head"))...))
	id := l.event(workerConnOpen).text(1)
	l.wantTransferOf(id, "", "behind the head")
	c.wantAlive()
	raw := s.p.dial(t, modes[0])
	for i := range head {
		raw.write(head[i : i+1])
		time.Sleep(20 * time.Microsecond)
	}
	l.event(workerConnOpen)
	// A head that never ends is answered before it is too long to hold.
	s.p.netsvrRefused(t, 431, "", netsvrHead("GET", "/netsvr", "X-Long: "+strings.Repeat("x", 9000)))
}

// What kind of listener customers may come to.
func TestNetsvrListeners(t *testing.T) {
	t.Parallel()
	p := startServe(t, "--login", "open", "--listen", "tcp://127.0.0.1:0", "--listen", "ws://127.0.0.1:0",
		"--listen", "tcp://127.0.0.1:0?protocol=netsvr", "--listen", "tcp://127.0.0.1:0?protocol=gosoc")
	var real struct {
		Listen []string `json:"listen"`
	}
	if err := json.Unmarshal(p.ports, &real); err != nil || len(real.Listen) != 4 {
		t.Fatalf("ports: %s", p.ports)
	}
	l := p.workerFor(t, 1)
	for i, listen := range real.Listen {
		u, err := url.Parse(listen)
		if err != nil {
			t.Fatal(err)
		}
		at := &process{tb: t, addr: u.Host}
		if i == 3 {
			at.netsvrRefused(t, 404, "", netsvrHead("GET", "/netsvr"))
			continue
		}
		c, _ := at.netsvrKnown(t, l, 1)
		c.wantAlive()
		if i == 2 {
			at.netsvrRefused(t, 404, "", netsvrHead("GET", "/gosoc"))
			g := at.dial(t, modes[0])
			g.write(modes[0].connect(0, ""))
			g.wantOver()
		}
	}
}

// Nobody to tell of a customer: it is cut off behind the handshake. GOSOC clients are not.
func TestNetsvrNoOpenWorker(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--open-worker", "5", "--close-worker", "6")
	other := p.workerFor(t, 6)
	c := p.netsvrOpen(t, "/netsvr")
	c.wantCut()
	g := p.login(t, modes[0], "")
	g.write(g.mode.ping())
	g.wantPong()
	l := p.workerFor(t, 5)
	c = p.netsvrOpen(t, "/netsvr")
	id := l.event(workerConnOpen).text(1)
	c.wantAlive()
	if got := other.online(id); len(got) != 1 {
		t.Errorf("online: %q", got)
	}
	other.take(&other.events, 100*time.Millisecond) // of the first customer, perhaps
	c.hangUp()
	other.wantClosed(id, "")
	l.wantNoEvent(20 * time.Millisecond)
	// The worker for closes is away: nothing is lost but the message.
	other.close()
	_, id = p.netsvrOpened(t, l, "/netsvr")
	g.hangUp()
	l.send(workerForceOffline, workerList(id))
	l.wantUnknown(id)
}

func TestNetsvrOrigin(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--allow-origin", "good.example", "--allow-origin", "https://other.example:8443")
	for origin, ok := range map[string]bool{
		"http://good.example": true, "https://good.example:8443": true, "https://sub.good.example": true, "HTTP://GOOD.EXAMPLE": true,
		"https://a.b.good.example": true, "http://other.example": true, "https://x.other.example": true,
		"http://good.example.evil.test": false, "http://evilgood.example": false, "http://evil.test/good.example": false,
		"http://evil.test?good.example": false, "http://good.example@evil.test": false, "good.example": false, "null": false,
		"http://good.exampl": false, "http://example": false, "": false,
	} {
		head := netsvrHead("GET", "/netsvr", "Origin: "+origin)
		if origin == "" {
			head = netsvrHead("GET", "/netsvr")
		}
		want := 403
		if ok {
			want = http.StatusSwitchingProtocols
		}
		if _, got, body := p.netsvrUpgrade(t, head); got != want {
			t.Errorf("%q: %d %q, want %d", origin, got, body, want)
		}
	}
}

// customID is the target of a customer that wants an id.
func netsvrCustomID(id, token string) string {
	return fmt.Sprintf("/netsvr?id=%s&token=%s", url.QueryEscape(id), token)
}

func TestNetsvrCustomID(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--custom-id-key", "id", "--custom-id-ttl", "1s", "--allow-origin", "good.example")
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
	late := token()
	time.Sleep(1100 * time.Millisecond)
	wrong(netsvrCustomID("x", late))
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

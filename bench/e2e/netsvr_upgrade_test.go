package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// netsvrRefused wants an answer other than 101, with a body that is compared byte by byte unless it
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
		s.p.netsvrRefused(t, 400, "", netsvrHead("GET", path)) // a bad Longbridge handshake
	}
	s.p.netsvrRefused(t, 405, "", netsvrHead("POST", "/netsvr"))
	s.p.netsvrRefused(t, 405, "", netsvrHead("POST", "/netsvr", "Upgrade:", "Connection:", "Content-Length: 5"))
	for _, headers := range [][]string{
		{"Upgrade:"}, {"Connection:"}, {"Upgrade: h2c"}, {"Connection: keep-alive"}, {"Upgrade:", "Connection:", "Sec-WebSocket-Key:", "Sec-WebSocket-Version:"},
		{"Sec-WebSocket-Version: 12"}, {"Sec-WebSocket-Version:"}, {"Sec-WebSocket-Version: 13, 8"},
	} {
		s.p.netsvrRefused(t, 426, "", netsvrHead("GET", "/netsvr", headers...))
	}
	for _, headers := range [][]string{
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
	s.p.netsvrRefused(t, 431, "", netsvrHead("GET", "/netsvr", "X-Long: "+strings.Repeat("x", 33<<10)))
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
	c.hangUp()
	closed := other.event(workerConnClose).text(1)
	if closed != id { // of the first customer, perhaps
		closed = other.event(workerConnClose).text(1)
	}
	if closed != id {
		t.Errorf("closed: %q, want %q", closed, id)
	}
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

package websocket

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
)

// Alone on a listener, HTTP is whatever may be a request.
func TestSniffAlone(t *testing.T) {
	for first, want := range map[string]engine.Match{
		"\r": engine.Matched, "B": engine.Matched, "get / HTTP/1.1": engine.Matched, "GET": engine.Matched, "(": engine.Matched,
		"\x10": engine.NoMatch, "\x16\x03\x01": engine.NoMatch, "\n": engine.NoMatch, " ": engine.NoMatch, "\x80": engine.NoMatch,
	} {
		if got := web(Config{}).Protocol(nil, nil).Alone().Sniff([]byte(first)); got != want {
			t.Errorf("%q: %v, want %v", first, got, want)
		}
	}
}

func TestSniff(t *testing.T) {
	for _, tt := range []struct {
		first string
		want  engine.Match
	}{
		{"\x10", engine.NoMatch},
		{"\x16\x03\x01", engine.NoMatch},
		{"g", engine.NoMatch},
		{"GET/", engine.NoMatch},
		{"GOSOC", engine.NoMatch},
		{"PROXY TCP4", engine.NoMatch},
		{"PR", engine.NoMatch},
		{"G", engine.NeedMore},
		{"P", engine.NeedMore},
		{"OPTIONS", engine.NeedMore},
		{"GET ", engine.Matched},
		{"GET / HTTP/1.1\r\n", engine.Matched},
		{"POST /", engine.Matched},
		{"TRACE /", engine.Matched},
	} {
		if got := web(Config{}).Protocol(nil, nil).Sniff([]byte(tt.first)); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.first, got, tt.want)
		}
	}
}

// A connection that is refused gets an answer of its method.
func TestRefuse(t *testing.T) {
	const head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 37\r\n\r\n"
	const body = "Service unavailable: too-many-clients"
	shared, alone := web(Config{}).Protocol(nil, nil), web(Config{}).Protocol(nil, nil).Alone()
	for _, tt := range []struct {
		first         string
		shared, alone string // the answer; empty: more is needed
	}{
		{"GET / HTTP/1.1\r\n", head + body, head + body},
		{"POST /", head + body, head + body},
		{"HEAD / HTTP/1.1\r\n", head, head},
		{"\r\n\r\nHEAD /", head + body, head},
		{"\r\nGET /", head + body, head + body},
		{"HEA", "", ""},
		{"\r\n", "", ""},
		{"HEADER /", head + body, head + body},
	} {
		for p, want := range map[*Protocol]string{shared: tt.shared, alone: tt.alone} {
			if p == shared && tt.first[0] == '\r' {
				continue // it is not HTTP there
			}
			m := engine.Matched
			if want == "" {
				m = engine.NeedMore
			}
			if got, gotMatch := p.Refuse([]byte(tt.first), engine.ReasonTooManyClients); string(got) != want || gotMatch != m {
				t.Errorf("%q: %q, %v, want %q, %v", tt.first, got, gotMatch, want, m)
			}
		}
	}
}

// web is a transport of a gateway that serves.
func web(config Config) *Transport { return NewTransport(config, func() bool { return false }) }

// An endpoint answers with its name and the sub-protocol, in place of an upgrade.
type endpoint struct {
	name string
	*Transport
}

func (e endpoint) Profile() Profile {
	return Profile{About: e.name + " over WebSocket", OriginRequired: e.name == "b", AnySubProtocol: e.name == "b"}
}

func (e endpoint) Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal {
	agreed, no := e.Agree(req, e.Profile())
	if no != nil {
		return no
	}
	switch string(req.RawQuery) {
	case "no":
		return &websocket.Refusal{Status: 503, Reason: e.name + " is full"}
	case "gone":
		c.Close(engine.ReasonServerError)
		return &websocket.Refusal{Status: 503, Reason: "not to be sent"}
	}
	said := e.name + string(agreed.Protocol)
	c.Write(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(said), said))
	c.Close(engine.ReasonClientClose)
	return nil
}

const rest = " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// browser is a head behind the path with so many header lines and bytes of cookies.
func browser(lines, cookies int) string {
	head := strings.TrimSuffix(rest, "\r\n")
	for i := strings.Count(rest, "\r\n") - 2; i < lines-1; i++ {
		head += "X-Forwarded-By: proxy\r\n"
	}
	return head + "Cookie: " + strings.Repeat("c", cookies) + "\r\n\r\n"
}

// The path chooses the endpoint, however the request's head is cut.
func TestUpgradeRouting(t *testing.T) {
	paths := map[string]Endpoint{"/a": endpoint{"a", web(Config{})}, "/b": endpoint{"b", web(Config{})}}
	for _, tt := range []struct {
		name   string
		p      *Protocol
		head   string
		status int
		body   string
		reason engine.Reason
	}{
		{"nobody", web(Config{}).Protocol(nil, nil), "GET /a" + rest, 404, "Not found", engine.ReasonUpgradeRefused},
		{"a path of nobody", web(Config{}).Protocol(paths, nil), "GET /c" + rest, 404, "Not found", engine.ReasonUpgradeRefused},
		{"the beginning of a path", web(Config{}).Protocol(paths, nil), "GET /ab" + rest, 404, "Not found", engine.ReasonUpgradeRefused},
		{"no HTTP/1.1", web(Config{}).Protocol(paths, nil), "GET /a HTTP/1.0" + strings.TrimPrefix(rest, " HTTP/1.1"), 505, "HTTP/1.1 required", engine.ReasonUpgradeRefused},
		{"no header", web(Config{}).Protocol(paths, nil), "GET /a HTTP/1.1\r\nno colon\r\n\r\n", 400, "Malformed header", engine.ReasonUpgradeRefused},
		{"too long a head", web(Config{}).Protocol(paths, nil), "GET /a HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20), 431, "Request head too large", engine.ReasonUpgradeRefused},
		{"a browser with cookies and proxies", web(Config{}).Protocol(paths, nil), "GET /a" + browser(100, 12<<10), 200, "a", engine.ReasonClientClose},
		{"all lines", web(Config{}).Protocol(paths, nil), "GET /a" + browser(128, 0), 200, "a", engine.ReasonClientClose},
		{"a line too many", web(Config{}).Protocol(paths, nil), "GET /a" + browser(129, 0), 431, "Too many headers", engine.ReasonUpgradeRefused},
		{"a line over the limit", web(Config{MaxHeaders: 9}).Protocol(paths, nil), "GET /a" + browser(10, 0), 431, "Too many headers", engine.ReasonUpgradeRefused},
		{"a byte too many", web(Config{}).Protocol(paths, nil), "GET /a" + browser(10, 32<<10), 431, "Request head too large", engine.ReasonUpgradeRefused},
		{"a byte over the limit", web(Config{MaxHead: 2048}).Protocol(paths, nil), "GET /a" + browser(10, 2048), 431, "Request head too large", engine.ReasonUpgradeRefused},
		{"refused", web(Config{}).Protocol(paths, nil), "GET /b?no" + rest, 503, "b is full", engine.ReasonUpgradeRefused},
		{"closed meanwhile", web(Config{}).Protocol(paths, nil), "GET /b?gone" + rest, 0, "", engine.ReasonServerError},
		{"a", web(Config{}).Protocol(paths, nil), "GET /a" + rest, 200, "a", engine.ReasonClientClose},
		{"b, with a query", web(Config{}).Protocol(paths, nil), "GET /b?x=/a" + rest, 200, "b", engine.ReasonClientClose},
		{"others", web(Config{}).Protocol(paths, endpoint{"o", web(Config{})}), "GET /c" + rest, 200, "o", engine.ReasonClientClose},
		{"everybody is another", web(Config{}).Protocol(nil, endpoint{"o", web(Config{})}), "GET /a" + rest, 200, "o", engine.ReasonClientClose},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, addr := serve(t, tt.p)
			cuts := []int{len(tt.head), 7, 1}
			if len(tt.head) > 1000 {
				cuts = cuts[:1]
			}
			for i, cut := range cuts {
				conn := dial(t, addr)
				for at := 0; at < len(tt.head); at += cut {
					if _, err := conn.Write([]byte(tt.head[at:min(at+cut, len(tt.head))])); err != nil {
						break // refused before its end
					}
				}
				r := bufio.NewReader(conn)
				resp, err := http.ReadResponse(r, nil)
				if tt.status == 0 {
					if err == nil {
						t.Errorf("cut at %d: an answer %v", cut, resp.Status)
					}
				} else if err != nil || resp.StatusCode != tt.status {
					t.Fatalf("cut at %d: %v, %v, want %d", cut, resp, err, tt.status)
				} else if body, err := io.ReadAll(resp.Body); err != nil || string(body) != tt.body {
					t.Errorf("cut at %d: body %q, %v, want %q", cut, body, err, tt.body)
				}
				if n, err := io.Copy(io.Discard, r); n > 0 || err != nil {
					t.Errorf("cut at %d: %d bytes and %v behind the answer", cut, n, err)
				}
				conn.Close()
				for deadline := time.Now().Add(patience); e.Stats().Closed[tt.reason] != uint64(i+1); time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("closed: %v, want %d of %v", e.Stats().Closed, i+1, tt.reason)
					}
				}
			}
		})
	}
}

// What is answered before an endpoint is asked, byte by byte and in one piece.
func TestAnswers(t *testing.T) {
	const host = "Host: x\r\n"
	upgrade := func(line string, headers ...string) string {
		return line + strings.TrimSuffix(rest, "\r\n") + strings.Join(append(headers, "", ""), "\r\n")
	}
	without := func(name string) string {
		var kept []string
		for _, line := range strings.Split("GET /a"+rest, "\r\n") {
			if !strings.HasPrefix(line, name) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "\r\n")
	}
	alone := func(over *Transport) *Protocol {
		return over.Protocol(map[string]Endpoint{"/a": endpoint{"a", over}, "/b": endpoint{"b", over}}, nil).Alone()
	}
	plainly := alone(web(Config{}))
	guarded := alone(web(Config{Origins: []string{"good.example"}, SubProtocols: []string{"one", "two"}}))
	probed := alone(web(Config{Probe: true, Origins: []string{"good.example"}}))
	draining := alone(NewTransport(Config{Probe: true}, func() bool { return true }))
	for _, tt := range []struct {
		name   string
		p      *Protocol
		wire   string
		status int
		body   string
		header string // that must be there, Name: value
	}{
		{"plain GET", plainly, "GET /a HTTP/1.1\r\n" + host + "\r\n", 426, "WebSocket upgrade required: a over WebSocket\n", "Upgrade: websocket"},
		{"plain HEAD", plainly, "HEAD /a HTTP/1.1\r\n" + host + "\r\n", 426, "", "Content-Length: 45"},
		{"plain GET of nothing", plainly, "GET /c HTTP/1.1\r\n" + host + "\r\n", 404, "Not found", ""},
		{"HEAD of nothing", plainly, "HEAD /c HTTP/1.1\r\n" + host + "\r\n", 404, "", "Content-Length: 9"},
		{"malformed HEAD", plainly, "HEAD /a HTTP/1.1\r\nno colon\r\n\r\n", 400, "", "Content-Length: 16"},
		{"HEAD with an upgrade", plainly, upgrade("HEAD /a"), 405, "", "Allow: GET, HEAD"},
		{"a key and no upgrade", plainly, without("Upgrade:"), 426, "WebSocket upgrade required", "Sec-WebSocket-Version: 13"},
		{"HTTP/1.0", plainly, "GET /a HTTP/1.0\r\n\r\n", 505, "HTTP/1.1 required", ""},
		{"HTTP/1.2", plainly, "GET /a HTTP/1.2" + strings.TrimPrefix(rest, " HTTP/1.1"), 200, "a", ""},
		{"HTTP/2.0", plainly, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1 required", ""},
		{"no Host", plainly, without("Host:"), 400, "Host required", ""},
		{"empty Host", plainly, strings.Replace("GET /a"+rest, "Host: x", "Host:", 1), 400, "Malformed Host", ""},
		{"invalid Host", plainly, strings.Replace("GET /a"+rest, "Host: x", "Host: x y", 1), 400, "Malformed Host", ""},
		{"no Host, of a path of nobody", plainly, "GET /c HTTP/1.1\r\n\r\n", 400, "Host required", ""},
		{"version 12", plainly, strings.Replace("GET /a"+rest, "13", "12", 1), 426, "WebSocket version 13 required", "Sec-WebSocket-Version: 13"},
		{"no version", plainly, without("Sec-WebSocket-Version"), 426, "WebSocket version 13 required", "Sec-WebSocket-Version: 13"},
		{"POST", plainly, upgrade("POST /a"), 405, "Method not allowed", "Allow: GET, HEAD"},
		{"OPTIONS *", plainly, "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 405, "Method not allowed", "Allow: GET, HEAD"},
		{"a method nobody knows", plainly, upgrade("BREW /a"), 501, "Unknown method", "Allow: GET, HEAD"},
		{"a method in small letters", plainly, upgrade("get /a"), 501, "Unknown method", "Allow: GET, HEAD"},
		{"no method", plainly, upgrade("(/a"), 400, "Malformed request line", ""},
		{"line feeds only", plainly, "GET /a HTTP/1.1\n", 400, "Line without carriage return", ""},
		{"a blank line first", plainly, "\r\nGET /a" + rest, 200, "a", ""},
		{"eight blank lines first", plainly, strings.Repeat("\r\n", 8) + "GET /a" + rest, 200, "a", ""},
		{"nine blank lines first", plainly, strings.Repeat("\r\n", 9) + "GET /a" + rest, 400, "Malformed request line", ""},
		{"a carriage return first", plainly, "\rGET /a" + rest, 400, "Malformed request line", ""},
		{"body", plainly, upgrade("GET /a", "Content-Length: 1"), 400, "Request body not allowed", ""},
		{"extensions", plainly, upgrade("GET /a", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x; y=z"), 200, "a", ""},
		{"malformed extensions", plainly, upgrade("GET /a", "Sec-WebSocket-Extensions: permessage-deflate;;"), 400, "Malformed Sec-WebSocket-Extensions", ""},
		{"malformed extensions on another line", plainly, upgrade("GET /a", "Sec-WebSocket-Extensions: x", "Sec-WebSocket-Extensions: =y"), 400, "Malformed Sec-WebSocket-Extensions", ""},

		{"no sub-protocol configured", plainly, upgrade("GET /a", "Sec-WebSocket-Protocol: one"), 200, "a", ""},
		{"the first offered", plainly, upgrade("GET /b", "Sec-WebSocket-Protocol: x, one"), 200, "bx", ""},
		{"good origin", guarded, upgrade("GET /a", "Origin: https://www.good.example"), 200, "a", ""},
		{"no origin", guarded, upgrade("GET /a"), 200, "a", ""},
		{"no origin where it is required", guarded, upgrade("GET /b"), 403, "Origin not allowed", ""},
		{"evil origin", guarded, upgrade("GET /a", "Origin: https://evil.example"), 403, "Origin not allowed", ""},
		{"empty origin", guarded, upgrade("GET /a", "Origin:"), 403, "Origin not allowed", ""},
		{"null origin", guarded, upgrade("GET /a", "Origin: null"), 403, "Origin not allowed", ""},
		{"evil origin of another path", guarded, upgrade("GET /b", "Origin: https://good.example.evil.test"), 403, "Origin not allowed", ""},
		{"configured sub-protocol", guarded, upgrade("GET /a", "Sec-WebSocket-Protocol: x, two, one"), 200, "atwo", ""},
		{"configured sub-protocol on two lines", guarded, upgrade("GET /a", "Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: one"), 200, "aone", ""},
		{"other sub-protocols", guarded, upgrade("GET /a", "Sec-WebSocket-Protocol: x, One"), 200, "a", ""},
		{"configured sub-protocol before the first", guarded, upgrade("GET /b", "Origin: http://good.example", "Sec-WebSocket-Protocol: x, two"), 200, "btwo", ""},
		{"malformed sub-protocol", guarded, upgrade("GET /a", "Sec-WebSocket-Protocol: a b"), 400, "Malformed Sec-WebSocket-Protocol", ""},

		{"probe", probed, "GET /a HTTP/1.1\r\n" + host + "\r\n", 200, "sluice: a over WebSocket\n", "Content-Length: 25"},
		{"probe with HEAD", probed, "HEAD /b HTTP/1.1\r\n" + host + "\r\n", 200, "", "Content-Length: 25"},
		{"probe of HTTP/1.0", probed, "GET /a HTTP/1.0\r\n\r\n", 200, "sluice: a over WebSocket\n", ""},
		{"probe of nothing", probed, "GET /c HTTP/1.1\r\n" + host + "\r\n", 404, "Not found", ""},
		{"probe with a body", probed, "GET /a HTTP/1.1\r\n" + host + "Content-Length: 1\r\n\r\n", 400, "Request body not allowed", ""},
		{"upgrade where there are probes", probed, "GET /a" + rest, 200, "a", ""},
		{"half an upgrade where there are probes", probed, without("Connection:"), 426, "WebSocket upgrade required", ""},
		{"probe in a shutdown", draining, "GET /a HTTP/1.1\r\n" + host + "\r\n", 503, "Service shutdown", ""},
		{"upgrade in a shutdown", draining, "GET /a" + rest, 503, "Service shutdown", ""},
		{"a path of nobody in a shutdown", draining, "GET /c" + rest, 404, "Not found", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, addr := serve(t, tt.p)
			for _, cut := range []int{len(tt.wire), 1} {
				conn := dial(t, addr)
				for at := 0; at < len(tt.wire); at += cut {
					if _, err := conn.Write([]byte(tt.wire[at:min(at+cut, len(tt.wire))])); err != nil {
						break // answered before its end
					}
				}
				method, _, _ := strings.Cut(strings.TrimLeft(tt.wire, "\r\n"), " ")
				r := bufio.NewReader(conn)
				resp, err := http.ReadResponse(r, &http.Request{Method: method})
				if err != nil || resp.StatusCode != tt.status {
					t.Fatalf("cut at %d: %v, %v, want %d", cut, resp, err, tt.status)
				}
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != tt.body {
					t.Errorf("cut at %d: body %q, %v, want %q", cut, body, err, tt.body)
				}
				if n, err := io.Copy(io.Discard, r); n > 0 || err != nil {
					t.Errorf("cut at %d: %d bytes and %v behind the answer", cut, n, err)
				}
				if name, value, ok := strings.Cut(tt.header, ": "); ok && resp.Header.Get(name) != value {
					t.Errorf("cut at %d: %s is %q, want %q", cut, name, resp.Header.Get(name), value)
				}
				conn.Close()
			}
		})
	}
}

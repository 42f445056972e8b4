package websocket

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
)

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
		if got := New(Config{}, nil, nil).Sniff([]byte(tt.first)); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.first, got, tt.want)
		}
	}
}

// An endpoint answers with its name, in place of an upgrade.
type endpoint string

func (e endpoint) Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal {
	switch string(req.RawQuery) {
	case "no":
		return &websocket.Refusal{Status: 503, Reason: string(e) + " is full"}
	case "gone":
		c.Close(engine.ReasonServerError)
		return &websocket.Refusal{Status: 503, Reason: "not to be sent"}
	}
	c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + string(e)))
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
	paths := map[string]Endpoint{"/a": endpoint("a"), "/b": endpoint("b")}
	for _, tt := range []struct {
		name   string
		p      *Protocol
		head   string
		status int
		body   string
		reason engine.Reason
	}{
		{"nobody", New(Config{}, nil, nil), "GET /a" + rest, 404, "Not found", engine.ReasonUpgradeRefused},
		{"a path of nobody", New(Config{}, paths, nil), "GET /c" + rest, 404, "Not found", engine.ReasonUpgradeRefused},
		{"the beginning of a path", New(Config{}, paths, nil), "GET /ab" + rest, 404, "Not found", engine.ReasonUpgradeRefused},
		{"no HTTP/1.1", New(Config{}, paths, nil), "GET /a HTTP/1.0\r\n\r\n", 505, "HTTP/1.1 required", engine.ReasonUpgradeRefused},
		{"no header", New(Config{}, paths, nil), "GET /a HTTP/1.1\r\nno colon\r\n\r\n", 400, "Malformed header", engine.ReasonUpgradeRefused},
		{"too long a head", New(Config{}, paths, nil), "GET /a HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20), 431, "Request head too large", engine.ReasonUpgradeRefused},
		{"a browser with cookies and proxies", New(Config{}, paths, nil), "GET /a" + browser(100, 12<<10), 200, "a", engine.ReasonClientClose},
		{"all lines", New(Config{}, paths, nil), "GET /a" + browser(128, 0), 200, "a", engine.ReasonClientClose},
		{"a line too many", New(Config{}, paths, nil), "GET /a" + browser(129, 0), 431, "Too many headers", engine.ReasonUpgradeRefused},
		{"a line over the limit", New(Config{MaxHeaders: 9}, paths, nil), "GET /a" + browser(10, 0), 431, "Too many headers", engine.ReasonUpgradeRefused},
		{"a byte too many", New(Config{}, paths, nil), "GET /a" + browser(10, 32<<10), 431, "Request head too large", engine.ReasonUpgradeRefused},
		{"a byte over the limit", New(Config{MaxHead: 2048}, paths, nil), "GET /a" + browser(10, 2048), 431, "Request head too large", engine.ReasonUpgradeRefused},
		{"refused", New(Config{}, paths, nil), "GET /b?no" + rest, 503, "b is full", engine.ReasonUpgradeRefused},
		{"closed meanwhile", New(Config{}, paths, nil), "GET /b?gone" + rest, 0, "", engine.ReasonServerError},
		{"a", New(Config{}, paths, nil), "GET /a" + rest, 200, "a", engine.ReasonClientClose},
		{"b, with a query", New(Config{}, paths, nil), "GET /b?x=/a" + rest, 200, "b", engine.ReasonClientClose},
		{"others", New(Config{}, paths, endpoint("o")), "GET /c" + rest, 200, "o", engine.ReasonClientClose},
		{"everybody is another", New(Config{}, nil, endpoint("o")), "GET /a" + rest, 200, "o", engine.ReasonClientClose},
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

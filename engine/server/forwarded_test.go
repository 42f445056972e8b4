package server

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// upgrade asks for a WebSocket of netsvr's with these header lines and returns the status.
func upgrade(t *testing.T, addr string, lines ...string) (net.Conn, int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	lines = append([]string{"GET /netsvr HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, lines...)
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprintf(c, "%s\r\n\r\n", strings.Join(lines, "\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, resp.StatusCode
}

// TestForwardedHeaders: who a WebSocket client is says a trusted proxy, and nobody else.
func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	peers := make(chan netip.AddrPort, 100)
	config := Config{
		Listen: []string{"ws://127.0.0.1:0"},
		Engine: engine.Config{
			ForwardedTrust: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")},
			MaxPerAddress:  2,
		},
		OnConnect: func(c ClientInfo) { peers <- c.Peer },
	}
	s, addr := begin(t, config)
	for _, tt := range []struct {
		lines  []string
		status int
		peer   string // "": the socket's
	}{
		{nil, 101, ""},
		{[]string{"X-Forwarded-For: 6.6.6.6, 192.0.2.1", "X-Forwarded-For: 10.0.0.2"}, 101, "192.0.2.1:0"},
		{[]string{`Forwarded: for="[2001:db8::1]:4711"`}, 101, "[2001:db8::1]:4711"},
		{[]string{"X-Forwarded-For: unknown"}, 101, ""},
		{[]string{"X-Forwarded-For: unknown"}, 429, ""}, // the proxy's third
		{[]string{`Forwarded: for="`}, 400, ""},
		{[]string{"X-Forwarded-For: ::ffff:192.0.2.1"}, 101, "192.0.2.1:0"},
		{[]string{"X-Forwarded-For: 192.0.2.1"}, 429, ""},
		{[]string{"X-Forwarded-For: 2001:db8::2"}, 101, "[2001:db8::2]:0"},
		{[]string{"X-Forwarded-For: 2001:db8::3"}, 429, ""},
		{[]string{"X-Forwarded-For: 192.0.2.2"}, 101, "192.0.2.2:0"},
	} {
		c, status := upgrade(t, addr, tt.lines...)
		if status != tt.status {
			t.Errorf("%q: status %d, want %d", tt.lines, status, tt.status)
		}
		if status != 101 {
			c.Close()
			continue
		}
		want := tt.peer
		if want == "" {
			want = c.LocalAddr().String()
		}
		if peer := receive(t, peers); peer.String() != want {
			t.Errorf("%q: the client is %v, want %s", tt.lines, peer, want)
		}
	}
	if n := s.Engine().Stats().Refused[engine.ReasonAddressLimit]; n != 3 {
		t.Errorf("%d refused, want 3", n)
	}

	// Trust can be taken back: the header is the client's own word then.
	config.Engine.ForwardedTrust, config.Engine.MaxPerAddress = nil, 0
	if err := s.Update(config); err != nil {
		t.Fatal(err)
	}
	c, status := upgrade(t, addr, "X-Forwarded-For: 192.0.2.9")
	if status != 101 {
		t.Fatalf("status %d", status)
	}
	if peer := receive(t, peers); peer.String() != c.LocalAddr().String() {
		t.Errorf("untrusted: the client is %v, want %v", peer, c.LocalAddr())
	}
}

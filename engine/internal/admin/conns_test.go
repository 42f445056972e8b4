package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

// TestIdleOperators: connections left open keep nobody out, and there are never more than the limit.
func TestIdleOperators(t *testing.T) {
	const limit = 4
	s, addr := serveFew(t, limit)
	const extra = 20
	for range limit + extra {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for range 3 {
		fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %s", resp.Status)
		}
	}
	s.conns.mu.Lock()
	open := len(s.conns.open)
	s.conns.mu.Unlock()
	if open != limit || s.conns.refused.Load() != extra+1 {
		t.Errorf("%d open, %d refused; want %d, %d", open, s.conns.refused.Load(), limit, extra+1)
	}
}

// serveFew serves operators, at most so many, and returns where.
func serveFew(t *testing.T, limit int) (s *Server, addr string) {
	t.Helper()
	s = newServer(t, login.Open{}, func(c *Config) { c.MaxConnections, c.Dev = limit, true })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.http.Serve(listener{ln, s.conns, s.done})
	}()
	t.Cleanup(func() {
		_ = s.http.Close()
		<-served
	})
	return s, ln.Addr().String()
}

// TestStrangersKeepNobodyOut: whoever has shown nothing cannot keep a place by a request that does not
// end. A request of somebody with a role does.
func TestStrangersKeepNobodyOut(t *testing.T) {
	const limit = 3
	page := "GET /page/app.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, request := range map[string]string{
		"a body that does not come": "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
		"half a chunk":              "POST /api/v1/kick HTTP/1.1\r\nHost: evil.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
		"answers that nobody reads": strings.Repeat(page, 1000),
	} {
		t.Run(name, func(t *testing.T) {
			s, addr := serveFew(t, limit)
			asked, answer := make(chan struct{}), make(chan struct{})
			mux := http.NewServeMux()
			mux.Handle("/", s.http.Handler)
			mux.Handle("/slow", s.allowed(ReadRole, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				asked <- struct{}{}
				<-answer
			})))
			s.http.Handler = mux
			dial := func(request string) net.Conn {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				_, _ = io.WriteString(c, request)
				return c
			}
			status := func(c net.Conn) int {
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Error(err)
					return 0
				}
				defer resp.Body.Close()
				return resp.StatusCode
			}
			slow := dial("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
			<-asked
			for range limit {
				dial(request)
			}
			time.Sleep(200 * time.Millisecond) // for their handlers to run into what keeps them
			for range 2 * limit {
				if got := status(dial("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")); got != http.StatusOK {
					t.Errorf("status %d", got)
				}
			}
			close(answer)
			if got := status(slow); got != http.StatusOK {
				t.Errorf("who has a role: status %d", got)
			}
		})
	}
}

// lines are what a log has written.
type lines chan string

func (l lines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

// TestOperatorOnUnix: the log names the process that asks over a unix socket.
func TestOperatorOnUnix(t *testing.T) {
	log := make(lines, 16)
	s := newServer(t, login.Open{}, func(c *Config) { c.Tokens, c.Logger = testTokens(t), slog.New(slog.NewTextHandler(log, nil)) })
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.http.Serve(ln)
	}()
	defer func() {
		_ = s.http.Close()
		<-served
	}()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/stats", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer wrong-token-0123456789")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	want := "peer=unix "
	if runtime.GOOS == "linux" {
		want = fmt.Sprintf(`peer="unix(pid=%d,uid=%d)" `, os.Getpid(), os.Getuid())
	}
	if line := <-log; !strings.Contains(line, "token is wrong") || !strings.Contains(line, want) {
		t.Errorf("status %s, and the log says %s", resp.Status, line)
	}
}

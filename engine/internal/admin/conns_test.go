package admin

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

// TestIdleOperators: connections left open keep nobody out, and there are never more than the limit.
func TestIdleOperators(t *testing.T) {
	const limit = 4
	s := newServer(t, login.Open{}, func(c *Config) { c.MaxConnections = limit })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.http.Serve(listener{ln, s.conns, s.done})
	}()
	t.Cleanup(func() {
		_ = s.http.Close()
		<-served
	})
	const extra = 20
	for range limit + extra {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := net.Dial("tcp", ln.Addr().String())
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

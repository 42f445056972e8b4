package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// Over the limit of connections a Connect is answered, and so is an upgrade request.
func TestFull(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--max-connections", "2")
	p.login(t, modes[0], "")
	p.login(t, modes[0], "")
	for _, m := range modes {
		c := p.dial(t, m)
		c.write(m.connect(0, ""))
		c.wantConnAck(serverUnavailable)
		c.wantEOF()
		c.hangUp()
	}
	for _, path := range []string{"/gosoc", "/netsvr", "/?version=1&codec=1&platform=9"} {
		conn, err := net.Dial("tcp", p.dial(t, modes[0]).conn.RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, 12)
		if n, err := conn.Read(b); string(b[:n]) != "HTTP/1.1 503" {
			t.Errorf("%s: %q, %v, want 503", path, b[:n], err)
		}
		conn.Close()
	}
	c := p.dial(t, modes[0])
	c.write([]byte("SSH-2.0-x\r\n"))
	c.wantOver()
}

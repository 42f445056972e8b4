package e2e

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// fromHost dials from an address of this machine.
func fromHost(host string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}, Timeout: patience}
}

// Connections that go no further, in whichever phase, end at its time and by its reason, though they send
// a byte now and then, and others log in meanwhile.
func TestSlowConnections(t *testing.T) {
	t.Parallel()
	const crowd, least, most = 200, 1900 * time.Millisecond, 20 * time.Second
	m := plainModes[0]
	hello := m.connect(0, "")
	for _, tt := range []struct {
		name, reason string
		first, then  []byte
	}{
		{"first bytes", "login-timeout", nil, nil},
		{"HTTP head", "login-timeout", []byte("GET /gosoc HTTP/1.1\r\nHost: x\r\nA: "), []byte("x")},
		{"login", "login-timeout", hello[:len(hello)-1], nil},
		{"packet", "packet-timeout", append(bytes.Clone(hello), 0x62, 0xff, 0x7f, 0, 1), []byte("x")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startDev(t, "--login-timeout", "2s", "--packet-timeout", "2s")
			begun := time.Now()
			var slow []*client
			for range crowd {
				c, err := p.openWith(t, fromHost("127.0.0.2"), m)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.conn.Write(tt.first); err != nil {
					t.Fatal(err)
				}
				slow = append(slow, c)
			}
			for n := 0; n < crowd; {
				if time.Since(begun) > most {
					t.Fatalf("%d of %d have ended: %v", n, crowd, p.closedFor())
				}
				p.login(t, m, "").conn.Close() // somebody else
				for _, c := range slow {
					_, _ = c.conn.Write(tt.then)
				}
				if n = p.closedFor()[tt.reason]; n > 0 && time.Since(begun) < least {
					t.Fatalf("the first has ended after %v", time.Since(begun))
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// An address has its share of the connections, and what is over it is told so; others connect.
func TestOneAddress(t *testing.T) {
	t.Parallel()
	m := plainModes[0]
	for _, tt := range []struct {
		flag, value, reason string
		most                int // refused of 40; a slow machine takes seconds for them
	}{
		{"--max-connections-per-address", "20", "address-limit", 20},
		{"--connect-rate-per-address", "2", "address-connect-rate", 38},
	} {
		t.Run(tt.flag, func(t *testing.T) {
			t.Parallel()
			p := startDev(t, tt.flag, tt.value, "--max-refusals", "256")
			refused := 0
			for range 40 {
				c, err := p.openWith(t, fromHost("127.0.0.2"), m)
				if err != nil {
					t.Fatal(err)
				}
				defer c.conn.Close()
				c.write(m.connect(0, ""))
				_ = c.conn.SetReadDeadline(time.Now().Add(patience))
				answer := make([]byte, 4)
				if _, err := c.conn.Read(answer); err != nil {
					t.Fatal(err)
				}
				if answer[3] != 0 {
					refused++
				}
			}
			if refused == 0 || refused > tt.most {
				t.Errorf("%d of 40 are refused, want 1 to %d", refused, tt.most)
			}
			if n := p.metrics()[`sluice_connections_refused_total{reason="`+tt.reason+`"}`]; int(n) != refused {
				t.Errorf("%v are counted as %s, %d were refused", n, tt.reason, refused)
			}
			c, err := p.openWith(t, fromHost("127.0.0.3"), m)
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.Close()
			c.write(m.connect(0, ""))
			c.wantConnAck(accepted)
		})
	}
}

package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
)

// A spoken protocol is what a client says to come into each state.
type spoken struct {
	name    string
	upgrade string                      // "" over TCP
	login   func(token string) []byte   // behind the upgrade
	ask     func(route, cmd int) []byte // a request to routes[route]; nil: it has none
	ack     int                         // bytes of the answer to a login that is granted, at least
}

// routes are requests by route of GOSOC and command of Longbridge.
var routes = [...]struct {
	route string
	cmd   byte
}{{"wait", 210}, {"big", 211}}

// clientFrame is a WebSocket message in one frame, masked with 0.
func clientFrame(p []byte) []byte {
	return append([]byte{0x82, 0x80 | byte(len(p)), 0, 0, 0, 0}, p...)
}

func spokenProtocols() []spoken {
	connect := func(token string) []byte {
		b, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: fmt.Appendf(nil, `{"token":%q,"session":true}`, token)})
		if err != nil {
			panic(err)
		}
		return b
	}
	send := func(route, _ int) []byte {
		b, err := gosoc.Compact.AppendSendReq(nil, gosoc.SendReq{Level: gosoc.LevelReply, ID: 7, Route: []byte(routes[route].route), Payload: []byte("1")})
		if err != nil {
			panic(err)
		}
		return b
	}
	auth := func(token string) []byte { // AuthRequest in protobuf: field 1
		body := append([]byte{0x0a, byte(len(token))}, token...)
		return append([]byte{0x01, 0x02, 0, 0, 0, 7, 0, 0, 0, 0, byte(len(body))}, body...)
	}
	command := func(route, _ int) []byte {
		return []byte{0x01, routes[route].cmd, 0, 0, 0, 8, 0, 0, 0, 0, 0}
	}
	frameToken := func(f func(string) []byte) func(string) []byte {
		return func(token string) []byte { return clientFrame(f(token)) }
	}
	frameRoute := func(f func(int, int) []byte) func(int, int) []byte {
		return func(r, c int) []byte { return clientFrame(f(r, c)) }
	}
	return []spoken{
		{"gosoc", "", connect, send, 4},
		{"gosoc over WebSocket", "/gosoc", frameToken(connect), frameRoute(send), 6},
		{"longbridge", "", func(token string) []byte { return append([]byte{0x11, 0x09}, auth(token)...) }, command, 10},
		{"longbridge over WebSocket", "/?version=1&codec=1&platform=9", frameToken(auth), frameRoute(command), 12},
		{"netsvr", "/netsvr", nil, nil, 0},
	}
}

// waiting is a provider that grants all tokens but "wait", on which it waits to be released, and "no".
type waiting struct{ release chan struct{} }

func (p waiting) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	switch r.Token {
	case "wait":
		select {
		case <-p.release:
		case <-ctx.Done():
			return login.Identity{}, ctx.Err()
		}
	case "no":
		return login.Identity{}, login.ErrRefused
	}
	return login.Identity{User: r.Token, Topics: []string{"topic"}}, nil
}

// A state is how far a connection has come when its peer ends it.
type state struct {
	name string
	// enter brings c there; it reports false where the protocol has no such state.
	enter func(t *testing.T, c *peer, p spoken) bool
}

// states are those of a connection, in the order in which it comes to them.
func states(user func() string) []state {
	upgrade := func(t *testing.T, c *peer, p spoken) {
		if p.upgrade == "" {
			return
		}
		c.write([]byte(upgradeTo(p.upgrade)), nil)
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = c.r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	in := func(t *testing.T, c *peer, p spoken, token string) bool {
		if p.login == nil {
			upgrade(t, c, p)
			return token != "wait" && token != "no"
		}
		upgrade(t, c, p)
		c.write(p.login(token), nil)
		if token == "wait" {
			return true
		}
		if _, err := c.r.Peek(max(p.ack, 4)); err != nil {
			t.Fatalf("%s: no answer to the login: %v", p.name, err)
		}
		return true
	}
	request := func(route int) func(*testing.T, *peer, spoken) bool {
		return func(t *testing.T, c *peer, p spoken) bool {
			if p.ask == nil {
				return false
			}
			in(t, c, p, user())
			c.write(p.ask(route, route), nil)
			return true
		}
	}
	return []state{
		{"connected", func(*testing.T, *peer, spoken) bool { return true }},
		{"sniffing", func(t *testing.T, c *peer, p spoken) bool {
			first := "G"
			if p.upgrade == "" {
				first = string(p.login("x")[:1])
			}
			c.write([]byte(first), nil)
			return true
		}},
		{"half a head", func(t *testing.T, c *peer, p spoken) bool {
			if p.upgrade == "" {
				return false
			}
			c.write([]byte(upgradeTo(p.upgrade)[:40]), nil)
			return true
		}},
		{"half a login", func(t *testing.T, c *peer, p spoken) bool {
			if p.login == nil {
				return false
			}
			upgrade(t, c, p)
			b := p.login("ann")
			c.write(b[:len(b)-2], nil)
			return true
		}},
		{"login under way", func(t *testing.T, c *peer, p spoken) bool { return in(t, c, p, "wait") }},
		{"login refused", func(t *testing.T, c *peer, p spoken) bool { return p.login != nil && in(t, c, p, "no") }},
		{"logged in", func(t *testing.T, c *peer, p spoken) bool { return in(t, c, p, user()) }},
		{"half a packet", func(t *testing.T, c *peer, p spoken) bool {
			if !in(t, c, p, user()) || p.ask == nil {
				return false
			}
			b := p.ask(0, 0)
			c.write(b[:len(b)-2], nil)
			return true
		}},
		{"request under way", request(0)},
		{"reply unread", request(1)},
		{"closed its side, reply unread", func(t *testing.T, c *peer, p spoken) bool {
			ok := request(1)(t, c, p)
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			return ok
		}},
	}
}

// Peers that reset, close, or close only their side and say nothing more, in every state: each
// connection ends, once and with a reason of its own, and nothing is kept for it.
func TestPeersEndInEveryState(t *testing.T) {
	for _, end := range []struct {
		name string
		end  func(c *net.TCPConn)
	}{
		{"reset", func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() }},
		{"close", func(c *net.TCPConn) { c.Close() }},
		{"half-close", func(c *net.TCPConn) { _ = c.CloseWrite() }},
		{"half-close, then reset", func(c *net.TCPConn) { _ = c.CloseWrite(); _ = c.SetLinger(0); c.Close() }},
		{"silence", func(*net.TCPConn) {}},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			provider := waiting{make(chan struct{})}
			config := Config{
				Engine: engine.Config{Linger: 500 * time.Millisecond, SendBuffer: 16 << 10, Backlog: 16 << 20},
				Gateway: GatewayConfig{Login: provider, RequestTimeout: time.Second, UserLimit: -1, LoginFailures: -1,
					LoginTimeout: time.Minute},
			}
			s, addr := begin(t, config, func(s *Server) {
				for pattern, f := range map[string]func(*Request){
					"wait":    func(r *Request) { r.Defer() },
					"big":     func(r *Request) { r.Reply(make([]byte, 4<<20)) },
					"cmd:210": func(r *Request) { r.Defer() },
					"cmd:211": func(r *Request) { r.Reply(make([]byte, 4<<20)) },
				} {
					if err := s.Handle(pattern, f); err != nil {
						t.Fatal(err)
					}
				}
			})
			users := 0
			user := func() string { users++; return fmt.Sprint("user-", users) }
			var conns []*net.TCPConn
			for _, p := range spokenProtocols() {
				for _, st := range states(user) {
					c := dial(t, addr)
					tcp := c.Conn.(*net.TCPConn)
					_ = tcp.SetReadBuffer(4 << 10)
					st.enter(t, c, p) // a state that the protocol has not is another one once more
					conns = append(conns, tcp)
				}
			}
			waitUntil(t, "all to be accepted", func() bool { return s.Engine().Stats().Accepted == uint64(len(conns)) })
			time.Sleep(50 * time.Millisecond) // for what was written to come
			for _, c := range conns {
				end.end(c)
			}
			if end.name == "silence" { // nobody knows of it but the gateway
				s.Engine().CloseAll(engine.ReasonHeartbeatTimeout)
			}
			close(provider.release)
			// Who closes its side only is served to the end, and then let go.
			waitUntil(t, "all to end", func() bool { return s.Engine().Connections() == 0 })
			var st engine.Stats
			waitUntil(t, "nothing to be kept", func() bool {
				st = s.Engine().Stats()
				return st.Total == 0 && st.Connections == 0
			})
			sum, names := uint64(0), []string(nil)
			for _, r := range engine.Reasons() {
				if n := st.Closed[r]; n > 0 {
					sum += n
					names = append(names, fmt.Sprint(r, " ", n))
				}
			}
			if sum != uint64(len(conns)) {
				t.Errorf("%d of %d connections have ended for a reason: %v", sum, len(conns), names)
			}
			if n := st.Closed[engine.ReasonServerError] + st.Closed[engine.ReasonMalformed] + st.Panics; n != 0 {
				t.Errorf("ended for the wrong reason: %v, %d panics", names, st.Panics)
			}
			t.Log(strings.Join(names, ", "))
			g := s.Gateway().Stats()
			waitUntil(t, "providers to return", func() bool {
				g = s.Gateway().Stats()
				return g.LoginCalls == 0 && g.LoginsWaiting == 0
			})
			if g.LoginCalls != 0 || g.LoginsWaiting != 0 || g.Users != 0 || g.Sessions.Attached != 0 || st.Topics != 0 {
				t.Errorf("left: %d login calls, %d waiting, %d users, %d sessions attached, %d topics",
					g.LoginCalls, g.LoginsWaiting, g.Users, g.Sessions.Attached, st.Topics)
			}
			for i, n := range st.Clients {
				if n != 0 {
					t.Errorf("left: %d clients of dialect %d", n, i)
				}
			}
			fresh := dialGOSOC(t, addr, "fresh")
			fresh.ask("big", "1")
			if _, err := io.ReadFull(fresh.r, make([]byte, 4<<20)); err != nil {
				t.Error(err)
			}
		})
	}
}

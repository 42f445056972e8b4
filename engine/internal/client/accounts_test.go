package client_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A gate is a login provider that decides when it is told to: a user's name, or nothing for no.
type gate chan string

func (g gate) Login(ctx context.Context, _ login.Request) (login.Identity, error) {
	select {
	case user := <-g:
		if user == "" {
			return login.Identity{}, login.ErrRefused
		}
		return login.Identity{User: user}, nil
	case <-ctx.Done():
		return login.Identity{}, login.ErrUnavailable
	}
}

func wantAccount(t *testing.T, s *server.Server, k engine.Kind, least, most int64) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n := s.Engine().Stats().Accounts[k]
		if least <= n && n <= most {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v: %d bytes, want %d to %d", k, n, least, most)
		}
	}
}

// What a client has sent ahead of the verdict on its login is on its account until it is handled, or
// the connection ends.
func TestInputAheadOfLoginIsCharged(t *testing.T) {
	const size = 20_000
	text := strings.Repeat("x", size)
	connect, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Payload: []byte(`{"token":"ann"}`)})
	if err != nil {
		t.Fatal(err)
	}
	plain := gosocWire("", gosoc.Compact, false)
	customers := netsvrWire()
	for _, tt := range []struct {
		name  string
		hello []byte
	}{
		{"the rest of a GOSOC message", upgraded("/gosoc", append(connect, plain.ask(echo(text), 1)...))},
		{"the query of a netsvr customer", upgraded("/netsvr?token=ann&q="+text[:size/4], nil)},
		{"the sub-protocols of a netsvr customer", websocket.AppendUpgradeRequest(nil, "x", "/netsvr?token=ann", "dGhlIHNhbXBsZSBub25jZQ==",
			websocket.Header{Name: "Sec-WebSocket-Protocol", Value: text[:size/8] + ", " + text[:size/8]})},
	} {
		for end, verdict := range map[string]string{"let in": "ann", "refused": "", "gone": "-"} {
			t.Run(tt.name+", "+end, func(t *testing.T) {
				provider := make(gate, 1)
				s := start(t, func(c *server.Config) {
					c.Gateway.Login = provider
					c.Netsvr.LoginRequired = true
				})
				c := dial(t, s, &customers)
				c.write(tt.hello)
				wantAccount(t, s, engine.KindInput, size/4, 3*size)
				if verdict == "-" {
					_ = c.conn.(*net.TCPConn).SetLinger(0) // a reset: who has only closed its side waits for the verdict
					c.conn.Close()
				} else {
					provider <- verdict
				}
				wantAccount(t, s, engine.KindInput, 0, 0)
			})
		}
	}
}

// A guest may send less in fragments than in one frame; a user may send as much in either.
func TestGuestFragments(t *testing.T) {
	const limit = 80_000
	w := netsvrWire()
	fragments := func(a, b int) []byte {
		text := []byte("001" + strings.Repeat("x", a+b-3))
		return append(frame(websocket.OpText, false, text[:a]), frame(websocket.OpContinuation, true, text[a:])...)
	}
	one := func(n int) []byte { return frame(websocket.OpText, true, []byte("001"+strings.Repeat("x", n-3))) }
	for _, tt := range []struct {
		name  string
		user  bool
		limit int
		wire  []byte
		want  string // the first byte of the answer: of the message, or of "Message too large"
	}{
		{"a guest, fragments over the limit", false, limit, fragments(50_000, 30_001), "M"},
		{"a guest, a fragment over the limit", false, limit, fragments(limit+1, 5), "M"},
		{"a guest, fragments up to the limit", false, limit, fragments(50_000, 30_000), "x"},
		{"a guest, over the limit in one frame", false, limit, one(limit + 1), "x"},
		{"a guest, fragments over a low limit", false, 1000, fragments(900, 101), "M"},
		{"a guest, fragments over a low limit in one frame", false, 1000, one(1001), "x"},
		{"a guest without a limit of its own", false, -1, fragments(200_000, 200_000), "x"},
		{"a guest, over the default limit", false, 0, fragments(200_000, 200_000), "M"},
		{"a guest, up to the default limit", false, 0, fragments(200_000, 50_000), "x"},
		{"a user, fragments over the limit", true, limit, fragments(50_000, 30_001), "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, func(c *server.Config) {
				c.Netsvr.GuestFragments = tt.limit
				c.Netsvr.LoginRequired = tt.user
			})
			w := w
			if tt.user {
				w.hello = upgraded("/netsvr?token=ann", nil)
			}
			c := online(t, s, &w)
			go func() { _, _ = c.conn.Write(tt.wire) }()
			answer, err := c.next()
			if err != nil || string(answer[:1]) != tt.want {
				t.Errorf("%.20q, %v, want %s...", answer, err, tt.want)
			}
			wantAccount(t, s, engine.KindFragments, 0, 0)
		})
	}
}

// Half messages of many guests cost what is documented and no more, and the gauge says so.
func TestFragmentsOfManyGuests(t *testing.T) {
	const guests, limit = 100, 10_000
	s := start(t, func(c *server.Config) { c.Netsvr.GuestFragments = limit })
	w := netsvrWire()
	for range guests {
		c := online(t, s, &w)
		c.write(frame(websocket.OpBinary, false, make([]byte, limit)))
		defer c.conn.Close()
	}
	wantAccount(t, s, engine.KindFragments, guests*limit, guests*limit*5/4)
	for range guests {
		c := online(t, s, &w)
		c.write(frame(websocket.OpBinary, false, make([]byte, limit+1)))
		if answer, err := c.next(); err != nil || string(answer) != "Message too large" {
			t.Fatalf("%q, %v: more than the limit was taken", answer, err)
		}
	}
	wantAccount(t, s, engine.KindFragments, guests*limit, guests*limit*5/4)
}

package longbridge_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/unhurried"
	"github.com/sluicenet/sluice/engine/server"
)

// auth123 is vector 2: auth request, id 1, token "otp-123".
const auth123 = "01020000000100000000090a076f74702d313233"

func TestVectors(t *testing.T) {
	s := start(t, nil)
	for _, tt := range []struct {
		name string
		form form
		wire string // handshake and auth request, in one segment as clients send them
		id   uint32
	}{
		{"v1, vectors 1 and 2", form{}, "1109" + auth123, 1},
		{"v1 with metadata, vector 3", form{}, "1109 01020000000100000000200a076f74702d31323312150a0f6163636570742d6c616e67756167651202656e", 1},
		{"v2, vectors 1 and 16", form{v2: true}, "1209 010200000001000000000000090a076f74702d313233", 1},
		{"JSON, vector 1", form{json: true}, "2109 01 02 00000007 0000 000013" + fmt.Sprintf("%x", `{"token":"otp-123"}`), 7},
		{"reserved nibble and an unknown platform", form{}, "11fe" + auth123, 1},
		{"reserved bits of the first byte", form{}, "1109 c1" + auth123[2:], 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &peer{tb: t, conn: dialRaw(t, address(s)), form: tt.form}
			p.r = newReader(p.conn)
			p.raw(tt.wire)
			got := p.session(p.wantResponse(2, tt.id, 0))
			if left := time.Until(got.expires); left < 29*time.Minute || left > 31*time.Minute {
				t.Errorf("expires in %v, want about half an hour", left)
			}
			if got.limit != 10 || got.online == 0 {
				t.Errorf("limit %d, online %d", got.limit, got.online)
			}
			_ = p.conn.Close()
			await(t, "the connection to be counted out", func() bool { return s.Gateway().Online("otp-123") == 0 })
		})
	}
}

func TestAuthRefused(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := dial(t, s, f)
			p.wantAuthRefused("bad", 5, 401)
			p = dial(t, s, f)
			p.wantAuthRefused("broken", 7, 503)
		})
	}
}

// The vendor's Go client compresses what has 1024 bytes or more: an Auth with a long token, too.
func TestAuthCompressed(t *testing.T) {
	s := start(t, nil)
	user := strings.Repeat("a", 200)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := dial(t, s, f)
			packet := func(cmd byte, body string) []byte {
				b := p.req(cmd, 1, 0, nil, gzipped(body))
				b[0] |= 0x20
				return b
			}
			p.packet(packet(2, p.message("token", user)))
			ticket := p.session(p.wantResponse(2, 1, 0)).id
			_ = p.conn.Close()
			p = dial(t, s, f)
			p.packet(packet(3, p.message("session_id", ticket)))
			p.session(p.wantResponse(3, 1, 0))
			_ = p.conn.Close()

			p = dial(t, s, f)
			p.packet(packet(2, strings.Repeat(" ", 64<<10+1))) // some 90 bytes that are more than may come
			p.wantClose(3)
		})
	}
}

// A login that is no message of the codec cannot be read, and is not the token's fault.
func TestLoginGarbage(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		for _, cmd := range []byte{2, 3} {
			for _, body := range []string{"\xff", "\x0a\x05abc", "\x0a\x01\xff", `{"token":`, `{"token":7,"session_id":7}`, "[]"} {
				p := dial(t, s, f)
				p.send(cmd, body)
				p.wantClose(3)
			}
		}
	}
}

// wantAuthRefused sends Auth and wants the refusal and the end: no Close follows an error response.
func (p *peer) wantAuthRefused(token string, status byte, code uint64) {
	p.tb.Helper()
	p.wantError(2, p.send(2, p.message("token", token)), status, code)
	p.wantEnd()
}

func (p *peer) wantReconnectRefused(ticket string) {
	p.tb.Helper()
	p.wantError(3, p.send(3, p.message("session_id", ticket)), 5, 401)
	p.wantEnd()
}

// A provider that blocks must make no difference but in time: what follows Auth waits.
func TestLoginThatWaits(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.Gateway.Login = queue{50 * time.Millisecond} })
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := dial(t, s, f)
			p.packet(p.req(2, 1, 0, nil, []byte(p.message("token", "ann"))), p.req(200, 2, 0, nil, []byte("hi")))
			p.session(p.wantResponse(2, 1, 0))
			if got := p.wantResponse(200, 2, 0); string(got.body) != "hi" {
				t.Errorf("echo %q", got.body)
			}
			_ = p.conn.Close()

			p = dial(t, s, f)
			p.packet(p.req(2, 1, 0, nil, []byte(p.message("token", "bad"))), p.req(200, 2, 0, nil, []byte("hi")))
			p.wantError(2, 1, 5, 401)
			p.wantEnd()
		})
	}
}

func TestLoginThatNeverEnds(t *testing.T) {
	t.Parallel()
	unhurried.Run(t, func(t *unhurried.Try, verdict time.Duration) { // the Auth may come late
		s := start(t, func(c *server.Config) {
			c.Gateway.Login = queue{time.Hour}
			c.Gateway.LoginTimeout = verdict
		})
		p := &peer{tb: t, conn: dialRaw(t, address(s))}
		p.r = newReader(p.conn)
		p.raw("1109" + auth123)
		p.wantError(2, 1, 7, 503)
		p.wantEnd()
	})
}

func TestFirstPacketMustLogIn(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := dial(t, s, f)
			p.wantError(200, p.send(200, "hi"), 5, 401)
			p.wantEnd()

			p = dial(t, s, f)
			p.wantError(0, p.send(0, ""), 5, 401)
			p.wantEnd()

			p = dial(t, s, f)
			push := unhex("03 64 000000")
			if f.v2 {
				push = unhex("03 64 0000 000000")
			}
			p.packet(push)
			p.wantClose(4)
		})
	}
	t.Run("half a business request", func(t *testing.T) {
		p := dial(t, s, forms[0])
		p.raw("01 c8 00000009 0000 000010 00")
		p.wantError(200, 9, 5, 401)
		p.wantEnd()
	})
}

func TestHeartbeatsBeforeAuth(t *testing.T) {
	t.Parallel()
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			unhurried.Run(t, func(t *unhurried.Try, verdict time.Duration) {
				s := start(t, func(c *server.Config) { c.Gateway.LoginTimeout = verdict })
				p := dial(t, s, f)
				closed := make(chan struct{})
				defer close(closed)
				go func() { // for as long as it takes
					for {
						if _, err := p.conn.Write(p.wire(p.req(1, 5, 0, nil, []byte("any form")))); err != nil {
							return
						}
						select {
						case <-closed:
							return
						case <-time.After(50 * time.Millisecond):
						}
					}
				}()
				n := 0
				for {
					g := p.want()
					if g.typ == 3 {
						if m := p.decode(g.body); m.number("code") != 4 {
							t.Errorf("Close %v", m)
						}
						break
					}
					if g.typ != 2 || g.cmd != 1 || g.id != 5 || g.status != 0 || string(g.body) != "any form" {
						t.Fatalf("got %+v", g)
					}
					n++
				}
				p.wantEnd()
				if d := time.Since(p.begun); n < 3 || d < verdict-time.Millisecond || d > patience {
					t.Errorf("%d heartbeats answered in %v, want the end after %v", n, d, verdict)
				}
			})
		})
	}
}

func (p *peer) wire(packet []byte) []byte {
	if p.framed {
		return frame(0x2, packet)
	}
	return packet
}

func TestBytesBeforeAuth(t *testing.T) {
	s := start(t, nil)
	t.Run("many heartbeats", func(t *testing.T) {
		p := dial(t, s, forms[0])
		beat := p.req(1, 1, 0, nil, make([]byte, 1000))
		for range 64 {
			p.packet(beat)
			p.wantResponse(1, 1, 0)
		}
		p.packet(beat) // 65 times 1011 bytes
		p.wantError(1, 1, 5, 401)
		p.wantEnd()
	})
	t.Run("many pongs", func(t *testing.T) {
		p := dial(t, s, forms[4])
		p.write(bytes.Repeat(frame(0xa, make([]byte, 100)), 700)) // 73 KB
		p.wantClose(4)
	})
	for _, f := range forms {
		t.Run("an Auth of 65 KiB, "+f.name, func(t *testing.T) {
			p := dial(t, s, f)
			p.packet(p.req(2, 1, 0, nil, make([]byte, 65<<10))[:20])
			if f.framed {
				p = dial(t, s, f)
				p.write(frame(0x2, make([]byte, 65<<10))[:20])
			}
			p.wantClose(3)
		})
	}
}

func TestSilenceBeforeAuth(t *testing.T) {
	t.Parallel()
	// Who says his first bytes too late for the deadline is let go without a word: no protocol is known.
	run := func(name string, f func(t testing.TB, s *server.Server)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			unhurried.Run(t, func(t *unhurried.Try, verdict time.Duration) {
				f(t, start(t, func(c *server.Config) { c.Gateway.LoginTimeout = verdict }))
			})
		})
	}
	for _, tt := range []struct{ name, wire string }{
		{"handshake alone", "1109"},
		{"half a handshake", "11"},
		{"half a header", "1109 0102"},
		{"half an Auth", "1109" + auth123[:28]},
	} {
		run(tt.name, func(t testing.TB, s *server.Server) {
			p := &peer{tb: t, conn: dialRaw(t, address(s))}
			p.r = newReader(p.conn)
			p.raw(tt.wire)
			p.wantClose(4)
		})
	}
	run("upgrade alone", func(t testing.TB, s *server.Server) {
		p := dial(t, s, forms[4])
		p.wantClose(4)
	})
}

func TestAuthTwice(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			p.wantError(2, p.send(2, p.message("token", "ben")), 3, 400)
			p.wantError(3, p.send(3, p.message("session_id", "x")), 3, 400)
			p.wantError(0, p.send(0, ""), 3, 400)
			if got := p.call(200, "still here"); got != "still here" {
				t.Errorf("echo %q", got)
			}
		})
	}
}

func TestUserLimit(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.UserLimit = 2 })
	first := dial(t, s, forms[0])
	if got := first.auth("ann"); got.limit != 2 || got.online != 1 {
		t.Errorf("limit %d, online %d, want 2 and 1", got.limit, got.online)
	}
	second := dial(t, s, forms[4])
	ticket := second.auth("ann")
	if ticket.online != 2 {
		t.Errorf("online %d, want 2", ticket.online)
	}
	for _, f := range forms {
		third := dial(t, s, f)
		id := third.send(2, third.message("token", "ann"))
		g := third.wantResponse(2, id, 6)
		if m := third.decode(g.body); m.number("code") != 403 || m.text("msg") != "connections limitation is hit" {
			t.Errorf("error %v", m)
		}
		third.wantEnd()
	}
	online(t, s, forms[0], "ben")

	// The connection that a Reconnect takes over does not count.
	again := dial(t, s, forms[0])
	if got := again.reconnect(ticket.id); got.online != 2 || got.limit != 2 {
		t.Errorf("limit %d, online %d, want 2 and 2", got.limit, got.online)
	}
	second.wantClose(6)

	_ = first.conn.Close()
	await(t, "the slot", func() bool { return s.Gateway().Online("ann") == 1 })
	online(t, s, forms[0], "ann")
}

// A Reconnect for which there is no room changes nothing: the client has not been told of a new
// session, and the one it knows stays good, for longer than a used one would.
func TestUserLimitKeepsTheSession(t *testing.T) {
	t.Parallel()
	const grace = 100 * time.Millisecond
	s := start(t, func(c *server.Config) { c.Gateway.UserLimit, c.Gateway.SessionGrace = 1, grace })
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			user := "ann-" + f.name
			free := func() {
				await(t, "the slot", func() bool { return s.Gateway().Online(user) == 0 })
			}
			p := dial(t, s, f)
			ticket := p.auth(user).id
			p.call(201, `{"topics":["news-`+f.name+`"]}`)
			_ = p.conn.Close()
			free()
			other := online(t, s, forms[0], user)
			for range 12 {
				p = dial(t, s, f)
				p.wantError(3, p.send(3, p.message("session_id", ticket)), 6, 403)
				p.wantEnd()
				time.Sleep(grace / 2)
			}
			other.call(200, "not disturbed")
			_ = other.conn.Close()
			free()
			p = dial(t, s, f)
			p.reconnect(ticket)
			if err := s.Publish(t.Context(), "news-"+f.name, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if g := p.want(); g.typ != 3 || string(g.body) != "hello" {
				t.Errorf("got %+v, want a push", g)
			}
		})
	}
}

func TestNoUserLimit(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.UserLimit = -1 })
	for i := range 12 {
		p := dial(t, s, forms[0])
		if got := p.auth("ann"); got.limit != math.MaxInt32 || got.online != uint64(i+1) {
			t.Errorf("limit %d, online %d", got.limit, got.online)
		}
	}
	p := dial(t, s, forms[0])
	if got := p.auth(""); got.online != 1 {
		t.Errorf("anonymous: online %d", got.online)
	}
}

func TestReconnect(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			user := "ann-" + f.name
			p := dial(t, s, f)
			ticket := p.auth(user)
			p.call(201, `{"topics":["news-`+f.name+`"]}`)
			_ = p.conn.Close()
			await(t, "the end", func() bool { return s.Gateway().Online(user) == 0 })

			p = dial(t, s, f)
			next := p.reconnect(ticket.id)
			if next.id == ticket.id {
				t.Error("the session id was not rotated")
			}
			if err := s.Publish(t.Context(), "news-"+f.name, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if g := p.want(); g.typ != 3 || g.cmd != 100 || string(g.body) != "hello" {
				t.Errorf("got %+v, want a push: the topic is remembered", g)
			}

			// The answer may have been lost: the old one is good for a few seconds, and the newest
			// connection wins.
			other := dial(t, s, forms[0])
			last := other.reconnect(ticket.id)
			p.wantClose(6)
			_ = other.conn.Close()

			p = dial(t, s, f)
			p.reconnect(last.id)
			p = dial(t, s, f)
			p.wantReconnectRefused(ticket.id) // rotated out twice
		})
	}
}

func TestReconnectRefused(t *testing.T) {
	t.Parallel()
	key := func(c *server.Config) { copy(c.Gateway.SessionKey[:], "a key of thirty-two bytes, or so") }
	s := start(t, key)
	foreign := start(t, nil)
	stranger := dial(t, foreign, forms[0])
	strange := stranger.auth("ann").id
	p := dial(t, s, forms[0])
	forged := []byte(p.auth("ann").id) // of one that is good all the time
	_ = p.conn.Close()
	brief := start(t, func(c *server.Config) { key(c); c.Gateway.SessionTTL = 100 * time.Millisecond })
	p = dial(t, brief, forms[0])
	expiring := p.auth("ann")
	_ = p.conn.Close()
	if last := &forged[len(forged)-1]; *last == 'A' {
		*last = 'B'
	} else {
		*last = 'A'
	}
	for _, ticket := range []string{"", "sess-1", strange, strings.Repeat("A", 64), strings.Repeat("A", 60<<10), string(forged)} {
		for _, f := range forms {
			p := dial(t, s, f)
			p.wantReconnectRefused(ticket)
		}
	}
	time.Sleep(time.Until(expiring.expires) + 10*time.Millisecond)
	for _, s := range []*server.Server{brief, s} {
		p = dial(t, s, forms[0])
		p.wantReconnectRefused(expiring.id)
	}
}

// A server that has restarted knows nothing but the key.
func TestReconnectAfterRestart(t *testing.T) {
	key := func(c *server.Config) { copy(c.Gateway.SessionKey[:], "a key of thirty-two bytes, or so") }
	before := start(t, key)
	p := dial(t, before, forms[0])
	ticket := p.auth("ann")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.wantClose(2)
		_ = p.conn.Close()
	}()
	stop(t, before)
	<-ended
	after := start(t, key)
	p = dial(t, after, forms[4])
	p.reconnect(ticket.id)
	if n := after.Gateway().Online("ann"); n != 1 {
		t.Errorf("online %d", n)
	}
}

package longbridge_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/unhurried"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// thinker is a provider that says yes after a while, or no to "bad", or nothing to "never".
type thinker struct{ pause time.Duration }

func (p thinker) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	if r.Token == "never" {
		<-ctx.Done()
	}
	return queue(p).Login(ctx, r)
}

// What cannot be right, too much, half of something or nothing at all, in every state: the right end
// comes within its deadline, and those who are in notice nothing.
func TestEveryState(t *testing.T) {
	t.Parallel()
	const (
		think = 200 * time.Millisecond
		slack = 20 * time.Second // of a busy machine
	)
	serve := func(verdict, silence time.Duration) *server.Server {
		return start(t, func(c *server.Config) {
			c.Gateway.Login = thinker{think}
			c.Gateway.LoginTimeout = verdict
			c.Gateway.UserLimit = -1
			c.Gateway.MaxPacket = 1 << 20
			c.Longbridge = longbridge.Config{HeartbeatTimeout: silence, HeartbeatInterval: never}
		})
	}
	// Each end has one cause: whatever else might end a connection is far away. A verdict comes after
	// unit at the latest, and so long may a client be silent.
	type servers struct{ calm, brisk, strict *server.Server }
	var mu sync.Mutex
	started := make(map[time.Duration]servers)
	of := func(unit time.Duration) servers {
		mu.Lock()
		defer mu.Unlock()
		s, ok := started[unit]
		if !ok {
			s = servers{calm: serve(never, never), brisk: serve(unit, never), strict: serve(never, unit)}
			started[unit] = s
		}
		return s
	}
	run := func(name string, f func(t *unhurried.Try, s servers, unit time.Duration)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			unhurried.Run(t, func(t *unhurried.Try, unit time.Duration) { f(t, of(unit), unit) })
		})
	}
	inputs := []struct {
		name string
		wire func(p *peer) []byte
		// ends is the Close code when the client is logged in, and whether at once.
		code   uint64
		atOnce bool
	}{
		{"garbage", func(p *peer) []byte { return p.wire(unhex("ff 00 ff 00")) }, 3, true},
		{"an empty message", func(p *peer) []byte {
			if p.framed {
				return frame(0x2, nil)
			}
			return unhex("00")
		}, 3, true},
		{"too much", func(p *peer) []byte {
			if p.framed {
				return append([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0}, 0xde, 0xad, 0xbe, 0xef) // 2 MiB
			}
			return p.req(200, 1, 0, nil, make([]byte, 1<<20+1))[:13]
		}, 3, true},
		{"half a packet", func(p *peer) []byte {
			b := p.wire(p.req(200, 1, 0, nil, []byte("hello")))
			return b[:len(b)-3]
		}, 0, false},
		{"half a header", func(p *peer) []byte { return p.wire(p.req(200, 1, 0, nil, nil))[:3] }, 0, false},
		{"nothing", func(*peer) []byte { return nil }, 0, false},
	}
	within := func(t testing.TB, begun time.Time, least, most time.Duration) {
		t.Helper()
		if d := time.Since(begun); d < least || d > most+slack {
			t.Errorf("the end came after %v, want %v to %v", d, least, most)
		}
	}
	auth := func(p *peer, token string) []byte {
		return p.wire(p.req(2, 1, 0, nil, []byte(p.message("token", token))))
	}
	for _, f := range forms {
		for _, in := range inputs {
			run("online, "+in.name+", "+f.name, func(t *unhurried.Try, s servers, silence time.Duration) {
				at, wait := s.calm, time.Duration(0)
				if !in.atOnce {
					at, wait = s.strict, silence
				}
				p := online(t, at, f, "ann")
				p.write(in.wire(p))
				p.wantClose(in.code)
				within(t, p.begun, wait, wait)
			})
			wire := in.wire(&peer{form: f})
			for _, token := range []string{"ann", "bad", "never"} {
				run(fmt.Sprintf("waiting for %q, %s, %s", token, in.name, f.name), func(t *unhurried.Try, s servers, unit time.Duration) {
					at, wait := s.calm, think
					switch {
					case token == "never":
						at, wait = s.brisk, unit
					case token == "ann" && !in.atOnce:
						at, wait = s.strict, think+unit
					}
					p := dial(t, at, f)
					p.write(append(auth(p, token), wire...))
					switch token {
					case "ann":
						p.session(p.wantResponse(2, 1, 0))
						p.wantClose(in.code)
					case "bad":
						p.wantError(2, 1, 5, 401)
						p.wantEnd()
					case "never":
						p.wantError(2, 1, 7, 503)
						p.wantEnd()
					}
					within(t, p.begun, wait, wait)
				})
			}
		}
	}
	for _, tt := range []struct {
		name, wire string
		code       int // -1: the end and nothing else
		atOnce     bool
	}{
		{"nothing at all", "", -1, false},
		{"no protocol", "ff", -1, true},
		{"half a request for an upgrade", fmt.Sprintf("%x", "GET /v2?version=1&codec=1&platform=9 HTTP/1.1\r\nHost: x\r\n"), -1, false},
		{"one letter of it", "47", -1, false},
		{"half a handshake", "11", 4, false},
		{"a handshake", "1109", 4, false},
		{"half an Auth", "1109" + auth123[:30], 4, false},
		{"an Auth that claims 16 MiB", "1109 01 02 00000001 0000 ffffff", 3, true},
	} {
		run("new, "+tt.name, func(t *unhurried.Try, s servers, verdict time.Duration) {
			at, wait := s.calm, time.Duration(0)
			if !tt.atOnce {
				at, wait = s.brisk, verdict
			}
			begun := time.Now()
			conn := dialRaw(t, address(at))
			_, _ = conn.Write(unhex(tt.wire))
			got, err := io.ReadAll(conn)
			var want []byte
			if tt.code >= 0 {
				want = unhex(fmt.Sprintf("0300000002 08%02x", tt.code))
			}
			if !bytes.HasPrefix(got, want[:min(4, len(want))]) || len(want) == 0 && len(got) > 0 || err != nil ||
				len(want) > 0 && (len(got) < 7 || !bytes.Equal(got[5:7], want[5:])) {
				t.Errorf("got %x, %v, want code %d", got, err, tt.code)
			}
			within(t, begun, wait, wait)
		})
	}
	for name, at := range map[string]func(servers) *server.Server{
		"calm":   func(s servers) *server.Server { return s.calm },
		"brisk":  func(s servers) *server.Server { return s.brisk },
		"strict": func(s servers) *server.Server { return s.strict },
	} {
		run("inside, "+name, func(t *unhurried.Try, s servers, unit time.Duration) {
			p := online(t, at(s), forms[0], "ben")
			var worst time.Duration
			for begun := time.Now(); time.Since(begun) < unit*6/5; time.Sleep(2 * time.Millisecond) {
				now := time.Now()
				p.call(200, "hello")
				worst = max(worst, time.Since(now))
			}
			t.Logf("the slowest echo took %v", worst)
			if worst > slack {
				t.Errorf("the slowest echo took %v", worst)
			}
		})
	}
}

// What comes behind an Auth waits for the verdict on it, in the client's socket when it is much:
// nothing is lost when it is yes, and the last words arrive when it is no.
func TestFloodBehindAuth(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.Login = thinker{300 * time.Millisecond} })
	const n, size = 64, 60_000 // by many at a time, but not beside tests that look at times
	body := strings.Repeat("x", size)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, token := range []string{"ann-" + f.name, "bad"} {
				p := dial(t, s, f)
				p.packet(p.req(2, 1, 0, nil, []byte(p.message("token", token))))
				go func() {
					for i := range uint32(n) {
						if _, err := p.conn.Write(p.wire(p.req(200, i+2, 0, nil, []byte(body)))); err != nil {
							return
						}
					}
				}()
				if token == "bad" {
					p.wantError(2, 1, 5, 401)
					p.wantEnd()
					continue
				}
				p.session(p.wantResponse(2, 1, 0))
				for i := range uint32(n) {
					if g := p.wantResponse(200, i+2, 0); len(g.body) != size {
						t.Fatalf("echo of %d bytes", len(g.body))
					}
				}
			}
		})
	}
}

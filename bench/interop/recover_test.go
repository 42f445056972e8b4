package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/longportapp/openapi-protocol/go/client"
)

// A connection that is lost on the way is taken up again, with its session.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--no-longbridge-close-notice")
	eachTransport(t, func(t *testing.T, transport int) {
		l := newLine(t, g.addr)
		v := connect(t, g, transport, l.addr())
		v.subscribe("topic-" + v.user)
		other := connectAs(t, g, "other-"+v.user)
		for i := range 3 {
			before := v.session()
			l.cut()
			v.wantBack()
			// Its subscriptions are the session's.
			if _, err := other.raw(203, fmt.Sprintf(`{"topic":"topic-%s","data":%d}`, v.user, i)); err != nil {
				t.Fatal(err)
			}
			select {
			case body := <-v.pushes:
				if string(body) != fmt.Sprint(i) {
					t.Errorf("push %q, want %d", body, i)
				}
			case <-time.After(patience):
				t.Error("no push")
			}
			if after := v.session(); after == before || after == "" {
				t.Error("the session was not rotated")
			}
		}
		if n := v.tokens.Load(); n != 1 {
			t.Errorf("%d tokens, want 1: the session is enough", n)
		}
	})
}

// The answer to a Reconnect gets lost, and the client waits 10 s for it, as it does by itself: the
// ticket it has is good still.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--no-longbridge-close-notice")
	l := newLine(t, g.addr)
	v := connect(t, g, 0, l.addr(), client.AuthTimeout(4*time.Second))
	v.subscribe("kept")
	l.lose(1)
	l.cut()
	if !v.isBack(2 * patience) {
		t.Fatalf("the client did not come back\n%s", v.printed())
	}
	if n := v.tokens.Load(); n != 1 {
		t.Errorf("%d tokens, want 1: the session is enough", n)
	}
}

// A line that is dead is a line that is lost: the gateway ends it at its time-out, the client when
// it misses pongs, and it comes back while the old connection is still there for the gateway.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--no-longbridge-close-notice")
	eachTransport(t, func(t *testing.T, transport int) {
		l := newLine(t, g.addr)
		v := connect(t, g, transport, l.addr(), client.Keepalive(400*time.Millisecond), client.KeepaliveTimeout(5*time.Second))
		time.Sleep(500 * time.Millisecond)
		l.mute()
		v.wantBack()
		if n := v.tokens.Load(); n != 1 {
			t.Errorf("%d tokens, want 1", n)
		}
	})
	if n := g.closed("session-taken-over"); n > 2 {
		t.Errorf("%d connections taken over", n)
	}
}

// The gateway restarts under its clients; with --session-key their sessions are good still.
func TestRestart(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport int) {
		key := t.TempDir() + "/key"
		args := []string{"--session-key", key, "--no-longbridge-close-notice"}
		g := startGateway(t, args...)
		l := newLine(t, g.addr)
		v := connect(t, g, transport, l.addr())
		for range 2 {
			l.route("127.0.0.1:1") // nobody is there
			g.stop()
			time.Sleep(300 * time.Millisecond)
			g = startGateway(t, args...)
			l.route(g.addr)
			v.wantBack()
			if n := v.tokens.Load(); n != 1 {
				t.Errorf("%d tokens, want 1: the session is enough", n)
			}
			if n := g.metric("sluice_sessions_resumed_total"); n != 1 {
				t.Errorf("%d sessions resumed, want 1", n)
			}
		}
	})
}

// Without the key the gateway refuses the session. The client tries it until it believes it has
// expired, then it asks for a token.
func TestRestartWithoutKey(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport int) {
		args := []string{"--session-ttl", "25s", "--no-longbridge-close-notice"}
		g := startGateway(t, args...)
		l := newLine(t, g.addr)
		v := newVendor(t, "ann")
		if err := v.dial(transport, l.addr(), func() *gateway { return g }); err != nil {
			t.Fatal(err)
		}
		v.closeAfter(t)
		l.route("127.0.0.1:1")
		g.stop()
		g = startGateway(t, args...)
		l.route(g.addr)
		v.wantBack()
		if n := v.tokens.Load(); n != 2 {
			t.Errorf("%d tokens, want 2", n)
		}
		if n := g.metric(`sluice_logins_total{outcome="session-refused"}`); n == 0 {
			t.Error("the session was not tried")
		}
	})
}

// A client that was away for too long asks for a token, and again when that is refused.
func TestExpired(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--session-ttl", "12s", "--no-longbridge-close-notice")
	eachTransport(t, func(t *testing.T, transport int) {
		l := newLine(t, g.addr)
		v := connect(t, g, transport, l.addr())
		l.route("127.0.0.1:1")
		time.Sleep(3 * time.Second) // to the client it expires 10 s early
		v.bad.Store(true)
		l.cut()
		time.Sleep(500 * time.Millisecond)
		l.route(g.addr)
		v.wantBack()
		if n := v.tokens.Load(); n != 3 {
			t.Errorf("%d tokens, want 3: the first, one that is refused, and another", n)
		}
	})
}

// endings are the ways in which the gateway closes a client that is logged in, and how to bring
// each about from outside.
var endings = []struct {
	name   string
	args   []string
	reason string
	cause  func(t *testing.T, g *gateway, l *line, v *vendor)
}{
	{
		name: "HeartbeatTimeout", reason: "heartbeat-timeout", args: []string{"--heartbeat-timeout", "5s"},
		cause: func(_ *testing.T, _ *gateway, l *line, _ *vendor) { l.mute() },
	},
	{
		name: "ServerError", reason: "slow-consumer", args: []string{"--backlog", "64KiB", "--lag", "64KiB", "--send-buffer", "16KiB"},
		cause: func(t *testing.T, g *gateway, l *line, v *vendor) {
			v.subscribe("flood-" + v.user)
			l.deafen()
			other := connectAs(t, g, "other-"+v.user)
			body := `{"topic":"flood-` + v.user + `","data":"` + strings.Repeat("x", 200_000) + `"}`
			for range 200 {
				if g.closed("slow-consumer") > 0 {
					break
				}
				if _, err := other.raw(203, body); err != nil {
					t.Fatal(err)
				}
			}
			l.undeafen()
		},
	},
	{
		name: "UnpackError", reason: "malformed",
		cause: func(_ *testing.T, _ *gateway, l *line, _ *vendor) { l.inject([]byte{0xff, 0xff, 0xff}) },
	},
	{
		name: "ConnectDuplicate", reason: "session-taken-over",
		cause: func(t *testing.T, g *gateway, _ *line, v *vendor) { takeOver(t, g, v.session()) },
	},
}

// TestRecovery: without the Close notice the client recovers from every close.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			eachTransport(t, func(t *testing.T, transport int) {
				g := startGateway(t, append([]string{"--no-longbridge-close-notice"}, e.args...)...)
				l := newLine(t, g.addr)
				v := connect(t, g, transport, l.addr())
				e.cause(t, g, l, v)
				await(t, "the gateway to close the connection", func() bool { return g.closed(e.reason) > 0 })
				v.wantBack()
				if n := v.tokens.Load(); n != 1 {
					t.Errorf("%d tokens, want 1", n)
				}
			})
		})
	}
}

// TestCloseNotice: with the notice, which the protocol demands, the client recovers when its own
// goroutines let it; how often is for the log. What must hold is that the gateway does its part.
func TestCloseNotice(t *testing.T) {
	t.Parallel()
	const runs = 16
	for _, e := range endings {
		if e.reason == "slow-consumer" {
			continue // one of many bytes at a time is enough
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			g := startGateway(t, e.args...)
			t.Run("runs", func(t *testing.T) {
				eachTransport(t, func(t *testing.T, transport int) {
					recovered := make(chan bool, runs)
					for i := range runs {
						v := newVendor(t, fmt.Sprintf("ann-%s-%d", t.Name(), i))
						l := newLine(t, g.addr)
						if err := v.dial(transport, l.addr(), func() *gateway { return g }); err != nil {
							t.Fatal(err)
						}
						e.cause(t, g, l, v)
						go func() { recovered <- v.isBack(8 * time.Second) }()
					}
					n := 0
					for range runs {
						if <-recovered {
							n++
						}
					}
					t.Logf("the client recovered %d times of %d", n, runs)
				})
			})
			// A client that takes its session back closes the connection that had taken it.
			await(t, "the connections to be closed", func() bool { return g.closed(e.reason) >= 2*runs })
		})
	}
}

// A shutdown ends the clients, and the gateway too, without waiting for --drain.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, notice := range []string{"--longbridge-close-notice", "--no-longbridge-close-notice"} {
		g := startGateway(t, notice)
		for transport := range 2 {
			v := newVendor(t, "ann")
			if err := v.dial(transport, newLine(t, g.addr).addr(), func() *gateway { return g }); err != nil {
				t.Fatal(err)
			}
		}
		g.stop()
	}
}

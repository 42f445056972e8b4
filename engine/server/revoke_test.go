package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
)

func tokensOf(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// with logs in and returns the ticket.
func (c gosocPeer) with(token string) (ticket string) {
	c.t.Helper()
	if code := c.login(`{"token":"` + token + `","session":true}`); code != gosoc.Accepted {
		c.t.Fatal(code)
	}
	return c.ticket()
}

// A token that is taken out of the file ends its connections and its tickets, and nobody else's.
func TestRevokedToken(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep ", keep), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tokens")
			tokensOf(t, file, "a ann\nb bob\nc ann\n")
			tokens, err := login.NewTokens(file)
			if err != nil {
				t.Fatal(err)
			}
			s, addr := begin(t, Config{Gateway: GatewayConfig{Login: tokens, KeepRevoked: keep}})
			s.Handle("echo", func(r *Request) { r.Reply(r.Payload) })
			ann, bob := gosocPeer{dial(t, addr)}, gosocPeer{dial(t, addr)}
			tickets := map[string]string{"ann": ann.with("a"), "bob": bob.with("b")}

			tokensOf(t, file, "a andy\nb bob\nc ann\n") // of a user's two tokens the other one is left
			if err := tokens.Reload(); err != nil {
				t.Fatal(err)
			}
			s.Revalidate()
			if keep {
				ann.ask("echo", `"1"`)
				ann.wantReply(`"1"`)
			} else {
				ann.wantDisconnect()
			}
			bob.ask("echo", `"1"`)
			bob.wantReply(`"1"`)
			for _, tc := range []struct {
				user string
				want gosoc.ReturnCode
			}{{"ann", gosoc.BadToken}, {"bob", gosoc.Accepted}} {
				if code := (gosocPeer{dial(t, addr)}).login(`{"session_id":"` + tickets[tc.user] + `"}`); code != tc.want {
					t.Errorf("%s's ticket: %v, want %v", tc.user, code, tc.want)
				}
			}
			want := uint64(1)
			if keep {
				want = 0
			}
			if n := s.Engine().Stats().Closed[engine.ReasonLoginRevoked]; n != want {
				t.Errorf("%d revoked, want %d", n, want)
			}
		})
	}
}

// brief grants logins that end soon.
type brief struct{ life time.Duration }

func (b brief) Login(_ context.Context, r login.Request) (login.Identity, error) {
	return login.Identity{User: r.Token, Expires: time.Now().Add(b.life)}, nil
}

// A login ends at its time, and its ticket with it.
func TestExpiredLogin(t *testing.T) {
	t.Parallel()
	_, addr := begin(t, Config{Gateway: GatewayConfig{Login: brief{300 * time.Millisecond}}})
	ann := gosocPeer{dial(t, addr)}
	ticket := ann.with("ann")
	ann.wantDisconnect()
	if code := (gosocPeer{dial(t, addr)}).login(`{"session_id":"` + ticket + `"}`); code != gosoc.BadToken {
		t.Error(code)
	}
}

// Connections that may stay do, and their tickets end all the same; a resumption does not make the
// login last longer.
func TestExpiredLoginKept(t *testing.T) {
	t.Parallel()
	const life = 600 * time.Millisecond
	begun := time.Now()
	s, addr := begin(t, Config{Gateway: GatewayConfig{Login: brief{life}, KeepRevoked: true}})
	s.Handle("echo", func(r *Request) { r.Reply(r.Payload) })
	ann := gosocPeer{dial(t, addr)}
	first := ann.with("ann")
	ann.Close()
	again := gosocPeer{dial(t, addr)}
	if code := again.login(`{"session_id":"` + first + `"}`); code != gosoc.Accepted {
		if time.Since(begun) > life {
			t.Skip("the machine is too slow")
		}
		t.Fatal(code)
	}
	next := again.ticket()
	time.Sleep(time.Until(begun.Add(life + time.Second + 200*time.Millisecond))) // logins are looked at once a second
	again.ask("echo", `"1"`)
	again.wantReply(`"1"`)
	again.Close()
	if code := (gosocPeer{dial(t, addr)}).login(`{"session_id":"` + next + `"}`); code != gosoc.BadToken {
		t.Error(code)
	}
}

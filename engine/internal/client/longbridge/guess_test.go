package longbridge_test

import (
	"crypto/rand"
	"encoding/base64"
	"flag"
	"io"
	mrand "math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

var guesses = flag.Int("guesses", 5000, "how many attempts to get in TestGuesses makes")

// Wrong tokens, used ones, guessed, changed, foreign, replayed and expired sessions: nobody gets in,
// and those who are in notice nothing.
func TestGuesses(t *testing.T) {
	otp, err := login.NewOTP(login.OTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	key := func(c *server.Config) {
		c.Gateway.Login = otp
		copy(c.Gateway.SessionKey[:], "a key of thirty-two bytes, or so")
	}
	s := start(t, key)
	admit := func(s *server.Server, user string) (*peer, string, string) {
		token, err := otp.Issue(time.Now(), user)
		if err != nil {
			t.Fatal(err)
		}
		p := dial(t, s, forms[0])
		return p, token, p.auth(token).id
	}
	// A session that has expired, by a gateway with our key, and one that was rotated out twice.
	brief := start(t, func(c *server.Config) { key(c); c.Gateway.SessionTTL = 100 * time.Millisecond })
	_, used, expired := admit(brief, "ann")
	time.Sleep(110 * time.Millisecond) // since it was issued, or more
	_, _, replayed := admit(s, "ann")
	p := dial(t, s, forms[0])
	next := p.reconnect(replayed)
	p = dial(t, s, forms[0])
	p.reconnect(next.id)
	inside, _, good := admit(s, "ben")
	stranger := start(t, nil)
	foreigner := dial(t, stranger, forms[0])
	foreign := foreigner.auth("ben").id
	before := s.Gateway().Stats().Logins

	random := func(n int) string {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	changed := func(ticket string) string {
		raw, err := base64.RawURLEncoding.DecodeString(ticket)
		if err != nil {
			t.Error(err)
		}
		raw[mrand.IntN(len(raw))] ^= 1 << mrand.IntN(8)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	var in atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		each(*guesses, func(i int) {
			f := forms[i%3]
			p := &peer{tb: t, form: f}
			cmd, body := byte(3), ""
			switch i % 8 {
			case 0:
				cmd, body = 2, p.message("token", random(12))
			case 1:
				cmd, body = 2, p.message("token", used)
			case 2:
				body = p.message("session_id", random(48))
			case 3:
				body = p.message("session_id", changed(good))
			case 4:
				body = p.message("session_id", foreign)
			case 5:
				body = p.message("session_id", replayed)
			case 6:
				body = p.message("session_id", expired)
			case 7:
				cmd, body = 2, p.message("token", good)
			}
			conn, err := net.DialTimeout("tcp", address(s), patience)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(3 * patience))
			_, _ = conn.Write(append(unhex(f.handshake()), p.req(cmd, 1, 0, nil, []byte(body))...))
			p.r = newReader(conn)
			g, err := p.next()
			if err != nil || g.cmd != cmd || g.status != 5 {
				in.Add(1)
				t.Errorf("attempt %d: %+v, %v", i, g, err)
			}
			if _, err := p.next(); err != io.EOF {
				t.Errorf("attempt %d: %v, want the end", i, err)
			}
		})
	}()
	var worst time.Duration
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			_ = inside.conn.SetDeadline(time.Now().Add(patience))
			begun := time.Now()
			if got := inside.call(200, "inside"); got != "inside" {
				t.Errorf("echo %q", got)
			}
			worst = max(worst, time.Since(begun))
			time.Sleep(time.Millisecond)
		}
	}
	t.Logf("%d attempts, %d got in; the slowest echo of a client inside took %v", *guesses, in.Load(), worst)
	if st := s.Gateway().Stats(); st.Logins != before {
		t.Errorf("%d logins, want %d", st.Logins, before)
	}
	if n := s.Gateway().Online("ben"); n != 1 {
		t.Errorf("%d connections of ben, want 1", n)
	}
}

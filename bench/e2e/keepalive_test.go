package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

const (
	early = 60 * time.Millisecond // by how much less than its time a timer may seem to take: clocks are read in steps
	late  = 700 * time.Millisecond
)

// wantEOFAfter wants a plain close, without a word, and not before d after since. since must be
// taken before the gateway can have begun to wait.
func (c *client) wantEOFAfter(since time.Time, d time.Duration) {
	c.tb.Helper()
	c.wantEOF()
	if took := time.Since(since); took < d-early {
		c.tb.Errorf("closed after %v, want %v", took, d)
	}
}

// wantOnTime wants what begin began to be closed d later, neither before nor long after. A machine that
// stands still makes anything late, but not again and again.
func wantOnTime(tb testing.TB, d time.Duration, begin func() (c *client, since time.Time)) {
	tb.Helper()
	for tries := 1; ; tries++ {
		c, since := begin()
		c.wantEOFAfter(since, d)
		took := time.Since(since)
		if took <= d+late {
			return
		}
		if tries == 8 {
			tb.Fatalf("closed after %v, want %v, and late every time before", took, d)
		}
	}
}

// accept logs in with a keep-alive, in seconds. since is before the gateway knows of it.
func (p *process) accept(tb testing.TB, m mode, keepAlive uint16) (c *client, since time.Time) {
	tb.Helper()
	c = p.dial(tb, m)
	since = time.Now()
	c.write(m.connect(keepAlive, ""))
	c.wantConnAck(accepted)
	return c, since
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	// The subtests run at the same time, on one gateway that must outlive them. Where a client
	// lives on its packets it is given 6 s, which outlasts a machine that stands still for a while.
	t.Run("all", func(t *testing.T) {
		for keepAlive, limit := range map[uint16]time.Duration{1: time.Second, 2: 3 * time.Second, 3: 4 * time.Second, 4: 6 * time.Second} {
			for _, m := range plainModes {
				t.Run(fmt.Sprintf("%s %d", m, keepAlive), func(t *testing.T) {
					t.Parallel()
					wantOnTime(t, limit, func() (*client, time.Time) { return p.accept(t, m, keepAlive) })
				})
			}
		}
		t.Run("each packet counts anew", func(t *testing.T) {
			t.Parallel()
			c, since := p.accept(t, modes[0], 4)
			for i := 0; time.Since(since) < 8*time.Second; i++ {
				time.Sleep(300 * time.Millisecond)
				switch i % 3 {
				case 0:
					c.write(c.mode.ping())
					c.wantPong()
				case 1:
					c.wantEcho("1")
				case 2:
					c.write(c.mode.sendReq(0, 0, "sluice.Echo", c.mode.text("1")))
				}
			}
			last := time.Now()
			c.write(c.mode.ping())
			c.wantPong()
			c.wantEOFAfter(last, 6*time.Second)
		})
		for _, m := range modes {
			t.Run("a trickling packet does not, "+m.String(), func(t *testing.T) {
				t.Parallel()
				c, since := p.accept(t, m, 1)
				// It would take 15 s, and then it would be answered.
				var hash string // gzip makes it no shorter
				for i := range 4 {
					hash += fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i)}))
				}
				c.trickle(m.ask(1, "sluice.Echo", `"`+hash+`"`), 80*time.Millisecond)
				c.wantEOFAfter(since, time.Second)
			})
		}
		t.Run("half a packet does not", func(t *testing.T) {
			t.Parallel()
			wantOnTime(t, time.Second, func() (*client, time.Time) {
				c, since := p.accept(t, modes[0], 1)
				time.Sleep(800 * time.Millisecond)
				_ = c.send(c.mode.ping()[:1])
				return c, since
			})
		})
		t.Run("a slow packet in time does", func(t *testing.T) {
			t.Parallel()
			c, _ := p.accept(t, modes[0], 4)
			b := c.mode.ask(1, "sluice.Echo", "1")
			for _, at := range b[:len(b)-1] {
				c.write([]byte{at})
				time.Sleep(50 * time.Millisecond)
			}
			last := time.Now()
			c.write(b[len(b)-1:])
			c.wantReply(1, `{"status":0,"data":1}`)
			c.wantEOFAfter(last, 6*time.Second)
		})
		t.Run("pushes do not", func(t *testing.T) {
			t.Parallel()
			c, _ := p.accept(t, modes[0], 4)
			publisher := p.login(t, modes[0], "")
			since := time.Now()
			c.subscribe("t")
			stop := make(chan struct{})
			defer close(stop)
			go func() { // until the end of the one who is told
				for {
					select {
					case <-stop:
						return
					case <-time.After(200 * time.Millisecond):
						_ = publisher.send(publisher.mode.sendReq(0, 0, "sluice.Publish", publisher.mode.text(publish("t", "1"))))
					}
				}
			}()
			pushes := 0
			for ; ; pushes++ {
				if got, err := c.next(); errors.Is(err, io.EOF) {
					break
				} else if err != nil || got.typ != sendReq || time.Since(since) > patience {
					t.Fatalf("got %v, %v after %v, want pushes and the end", got, err, time.Since(since))
				}
			}
			if took := time.Since(since); took < 6*time.Second-early || pushes == 0 {
				t.Errorf("closed after %v and %d pushes, want 6 s", took, pushes)
			}
		})
		t.Run("0 is no limit", func(t *testing.T) {
			t.Parallel()
			c, _ := p.accept(t, modes[0], 0)
			c.wantQuiet(3 * time.Second)
			c.wantEcho("1")
			c.write(c.mode.ping()[:1])
			c.wantQuiet(1500 * time.Millisecond)
			c.write(c.mode.ping()[1:])
			c.wantPong()
		})
		t.Run("65535 is a day", func(t *testing.T) {
			t.Parallel()
			c, _ := p.accept(t, modes[0], 65535)
			c.wantQuiet(3 * time.Second)
			c.wantEcho("1")
		})
	})
}

// trickle writes b byte by byte, in the background, until the gateway closes.
func (c *client) trickle(b []byte, pause time.Duration) {
	go func() {
		for i := range b {
			if c.send(b[i:i+1]) != nil {
				return
			}
			time.Sleep(pause)
		}
	}()
}

func TestLoginDeadline(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--login-timeout", "1s")
	slow := startDev(t, "--login-timeout", "5s")
	t.Run("all", func(t *testing.T) {
		for _, m := range plainModes {
			whole := m.connect(60, token("a user with a name that takes a while to be said: "+strings.Repeat("x", 100)))
			for _, n := range []int{0, 1, 2, 5, 8, 12, 20, len(whole) - 1} {
				t.Run(fmt.Sprintf("%s, %d bytes", m, n), func(t *testing.T) {
					t.Parallel()
					wantOnTime(t, time.Second, func() (*client, time.Time) {
						since := time.Now()
						c := p.dial(t, m)
						_ = c.send(whole[:n]) // which may come too late
						return c, since
					})
				})
			}
			t.Run(m.String()+", trickling", func(t *testing.T) {
				t.Parallel()
				since := time.Now()
				c := p.dial(t, m)
				c.trickle(whole, 90*time.Millisecond) // 15 s, and then it would be accepted
				c.wantEOFAfter(since, time.Second)
			})
			t.Run(m.String()+", just in time", func(t *testing.T) {
				t.Parallel()
				c := slow.dial(t, m)
				time.Sleep(500 * time.Millisecond)
				c.write(m.connect(0, ""))
				c.wantConnAck(accepted)
				c.wantQuiet(6 * time.Second)
				c.wantEcho("1")
			})
		}
	})
}

// loginFailed logs in with a bad token.
func (p *process) loginFailed(tb testing.TB) {
	tb.Helper()
	c := p.dial(tb, modes[0])
	c.write(c.mode.connect(0, token("bad")))
	c.wantConnAck(badToken)
	c.wantEOF()
	c.hangUp()
}

// wantConnRefused wants a Connect with this payload to be answered with 1, and the end.
func wantConnRefused(c *client, info string) {
	c.tb.Helper()
	c.write(c.mode.connect(0, info))
	c.wantConnAck(serverUnavailable)
	c.wantEOF()
}

// The limit on refused logins of an address, while it lasts.
func TestLoginFailures(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--login", "tokens:"+tokensFile(t, "good user", "new other"), "--login-failures", "5/10m")
	m := modes[0]
	in := p.login(t, m, token("good"))
	early := p.dial(t, m)
	// Malformed packets do not count.
	for _, b := range [][]byte{{0xFF}, m.ping(), m.packet(connect, 0, nil)} {
		for range 3 {
			c := p.dial(t, m)
			_ = c.send(b)
			c.wantEOF()
		}
	}
	for range 5 {
		p.loginFailed(t)
	}
	for _, text := range []string{"bad", "new", ""} {
		wantConnRefused(p.dial(t, m), token(text))
	}
	wantConnRefused(early, token("new")) // it was there before the ban
	in.wantEcho("1")                     // who is in, stays in
	p.login(t, m, token("good"))         // and a token that was good before is no guess
}

// An address that has used up its failures is let in again when the time is over.
func TestLoginFailuresForgiven(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--login", "tokens:"+tokensFile(t, "good user"), "--login-failures", "2/4s")
	m := modes[0]
	since := time.Now()
	p.loginFailed(t)
	p.loginFailed(t)
	p.await(func() bool {
		time.Sleep(50 * time.Millisecond)
		c := p.dial(t, m)
		defer c.hangUp()
		if c.send(m.connect(0, token("good"))) != nil {
			return false
		}
		got, err := c.next()
		if err != nil || got.typ != connAck || got.body[1] != accepted && got.body[1] != serverUnavailable {
			t.Fatalf("got %v, %v", got, err)
		}
		return got.body[1] == accepted
	}, "the address to be let in again")
	if took := time.Since(since); took < 4*time.Second {
		t.Errorf("the address was let in again after %v, want 4 s", took)
	}
	// The count starts anew.
	p.loginFailed(t)
	p.login(t, m, token("good"))
}

func TestLoginFailuresWithoutLimit(t *testing.T) {
	p := startDev(t, "--login", "tokens:"+tokensFile(t, "good user"), "--login-failures", "0")
	for range 300 {
		p.loginFailed(t)
	}
	p.login(t, modes[0], token("good"))
}

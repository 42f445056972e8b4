package e2e

import (
	"fmt"
	"testing"
	"time"
)

const (
	early = 60 * time.Millisecond // clocks are read in steps
	late  = 800 * time.Millisecond
)

// wantEOFAfter wants a plain close, without a word, d after since.
func (c *client) wantEOFAfter(since time.Time, d time.Duration) {
	c.tb.Helper()
	c.wantEOF()
	if took := time.Since(since); took < d-early || took > d+late {
		c.tb.Errorf("closed after %v, want %v", took, d)
	}
}

// accept logs in with a keep-alive, in seconds.
func (p *process) accept(tb testing.TB, m mode, keepAlive uint16) *client {
	tb.Helper()
	c := p.dial(tb, m)
	c.write(m.connect(keepAlive, ""))
	c.wantConnAck(accepted)
	return c
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	// The subtests run at the same time, on one gateway that must outlive them.
	t.Run("all", func(t *testing.T) {
		for keepAlive, limit := range map[uint16]time.Duration{1: time.Second, 2: 3 * time.Second, 3: 4 * time.Second} {
			for _, m := range plainModes {
				t.Run(fmt.Sprintf("%s %d", m, keepAlive), func(t *testing.T) {
					t.Parallel()
					c := p.accept(t, m, keepAlive)
					c.wantEOFAfter(time.Now(), limit)
				})
			}
		}
		t.Run("each packet counts anew", func(t *testing.T) {
			t.Parallel()
			c := p.accept(t, modes[0], 1)
			var last time.Time
			for i := range 8 {
				time.Sleep(300 * time.Millisecond)
				last = time.Now()
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
			c.write(c.mode.ping())
			c.wantPong()
			last = time.Now()
			c.wantEOFAfter(last, time.Second)
		})
		for _, m := range modes {
			t.Run("a trickling packet does not, "+m.String(), func(t *testing.T) {
				t.Parallel()
				c := p.accept(t, m, 1)
				since := time.Now()
				c.trickle(m.ask(1, "sluice.Echo", `"a request that takes its time, far more than it has got"`), 80*time.Millisecond)
				c.wantEOFAfter(since, time.Second)
			})
		}
		t.Run("half a packet does not", func(t *testing.T) {
			t.Parallel()
			c := p.accept(t, modes[0], 1)
			since := time.Now()
			time.Sleep(600 * time.Millisecond)
			c.write(c.mode.ping()[:1])
			c.wantEOFAfter(since, time.Second)
		})
		t.Run("a slow packet in time does", func(t *testing.T) {
			t.Parallel()
			c := p.accept(t, modes[0], 2)
			b := c.mode.ask(1, "sluice.Echo", "1")
			for _, at := range b[:len(b)-1] {
				c.write([]byte{at})
				time.Sleep(50 * time.Millisecond)
			}
			c.write(b[len(b)-1:])
			c.wantReply(1, `{"status":0,"data":1}`)
			c.wantEOFAfter(time.Now(), 3*time.Second)
		})
		t.Run("pushes do not", func(t *testing.T) {
			t.Parallel()
			c, publisher := p.accept(t, modes[0], 2), p.login(t, modes[0], "")
			c.subscribe("t")
			since := time.Now()
			for i := range 6 {
				time.Sleep(200 * time.Millisecond)
				publisher.wantOK("sluice.Publish", publish("t", fmt.Sprint(i)))
				c.wantPush("push", fmt.Sprint(i))
			}
			c.wantEOFAfter(since, 3*time.Second)
		})
		t.Run("0 is no limit", func(t *testing.T) {
			t.Parallel()
			c := p.accept(t, modes[0], 0)
			c.wantQuiet(3 * time.Second)
			c.wantEcho("1")
			c.write(c.mode.ping()[:1])
			c.wantQuiet(1500 * time.Millisecond)
			c.write(c.mode.ping()[1:])
			c.wantPong()
		})
		t.Run("65535 is a day", func(t *testing.T) {
			t.Parallel()
			c := p.accept(t, modes[0], 65535)
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
	t.Run("all", func(t *testing.T) {
		for _, m := range plainModes {
			whole := m.connect(60, token("a user with a name that takes a while to be said"))
			for _, n := range []int{0, 1, 2, 5, 8, 12, 20, len(whole) - 1} {
				t.Run(fmt.Sprintf("%s, %d bytes", m, n), func(t *testing.T) {
					t.Parallel()
					c := p.dial(t, m)
					since := time.Now()
					if n > 0 {
						c.write(whole[:n])
					}
					c.wantEOFAfter(since, time.Second)
				})
			}
			t.Run(m.String()+", trickling", func(t *testing.T) {
				t.Parallel()
				c := p.dial(t, m)
				since := time.Now()
				c.trickle(whole, 90*time.Millisecond)
				c.wantEOFAfter(since, time.Second)
			})
			t.Run(m.String()+", just in time", func(t *testing.T) {
				t.Parallel()
				c := p.dial(t, m)
				time.Sleep(500 * time.Millisecond)
				c.write(m.connect(0, ""))
				c.wantConnAck(accepted)
				c.wantQuiet(1500 * time.Millisecond)
				c.wantEcho("1")
			})
		}
	})
}

// The limit on refused logins of an address.
func TestLoginFailures(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--login", "tokens:"+tokensFile(t, "good user"), "--login-failures", "5/2s")
	m := modes[0]
	in := p.login(t, m, token("good"))
	// Malformed packets do not count.
	for _, b := range [][]byte{{0xFF}, m.ping(), m.packet(connect, 0, nil)} {
		for range 3 {
			c := p.dial(t, m)
			_ = c.send(b)
			c.wantEOF()
		}
	}
	since := time.Now()
	for range 5 {
		c := p.dial(t, m)
		c.write(m.connect(0, token("bad")))
		c.wantConnAck(badToken)
		c.wantEOF()
	}
	for range 3 {
		c := p.dial(t, m)
		start := time.Now()
		c.wantOver()
		if took := time.Since(start); took > atOnce/3 {
			t.Errorf("the sixth is closed after %v, want at once", took)
		}
	}
	if took := time.Since(since); took > 1800*time.Millisecond {
		t.Skipf("the machine is too slow for this test: %v", took)
	}
	in.wantEcho("1") // who is in, stays in
	for {
		time.Sleep(50 * time.Millisecond)
		c := p.dial(t, m)
		if c.send(m.connect(0, token("good"))) == nil {
			if got, err := c.next(); err == nil {
				if got.typ != connAck || got.body[1] != accepted {
					t.Fatalf("got %v", got)
				}
				break
			}
		}
		if time.Since(since) > 4*time.Second {
			t.Fatal("the address is still banned after 4 s")
		}
	}
	if took := time.Since(since); took < 1900*time.Millisecond {
		t.Errorf("the address was let in again after %v, want 2 s", took)
	}
	// The count starts anew.
	for range 4 {
		c := p.dial(t, m)
		c.write(m.connect(0, token("bad")))
		c.wantConnAck(badToken)
		c.wantEOF()
	}
	p.login(t, m, token("good"))
}

func TestLoginFailuresWithoutLimit(t *testing.T) {
	p := startDev(t, "--login", "tokens:"+tokensFile(t, "good user"), "--login-failures", "0")
	for range 300 {
		c := p.dial(t, modes[0])
		c.write(c.mode.connect(0, token("bad")))
		c.wantConnAck(badToken)
		c.wantEOF()
		c.hangUp()
	}
	p.login(t, modes[0], token("good"))
}

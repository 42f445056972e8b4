package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
)

// conversation is a Connect with packets of all kinds behind it, and checks the answers.
func conversation(m mode) (b []byte, check func(*client)) {
	b = m.connect(60, `{"token":""}`)
	b = append(b, m.ping()...)
	b = append(b, m.ask(1, "sluice.Echo", "1")...)
	b = append(b, m.sendReq(1, 2, "sluice.Upload", m.text("{}"), []byte("data"))...)
	b = append(b, m.sendReq(0, 3, "sluice.Echo", m.text("3"))...)
	b = append(b, m.ask(4, "no.Such", "{}")...)
	b = append(b, m.packet(disconnect, 0, []byte{0})...)
	return b, func(c *client) {
		c.tb.Helper()
		c.wantConnAck(accepted)
		c.wantPong()
		c.wantReply(1, `{"status":0,"data":1}`)
		c.wantReply(2, uploaded([]byte("data")))
		if got := c.wantMessage(sendResp); got.id != 4 {
			c.tb.Fatalf("reply %d, want 4", got.id)
		} else {
			checkError(c.tb, got.payload, 4)
		}
		c.wantEOF()
	}
}

func TestByteByByte(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		b, check := conversation(m)
		c := p.dial(t, m)
		for i := range b {
			c.write(b[i : i+1])
			time.Sleep(20 * time.Microsecond) // so that the gateway sees some of them alone
		}
		check(c)
	})
}

func TestEverySplit(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		b, check := conversation(m)
		for i := 1; i < len(b); i++ {
			c := p.dial(t, m)
			c.write(b[:i])
			time.Sleep(100 * time.Microsecond)
			c.write(b[i:])
			check(c)
			c.hangUp()
		}
	})
}

func TestTenThousandInOneWrite(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		count := 10_000
		if raceDetector && m.gzip {
			count = 1000 // our own gzip takes the rest of the time
		}
		t.Run("requests", func(t *testing.T) {
			c := p.login(t, m, "")
			var b []byte
			for i := range count {
				b = append(b, m.ask(uint16(i), "sluice.Echo", fmt.Sprint(i))...)
			}
			sent := make(chan error, 1)
			go func() { sent <- c.send(b) }()
			for i := range count {
				c.wantReply(uint16(i), fmt.Sprintf(`{"status":0,"data":%d}`, i))
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		})
		t.Run("pings", func(t *testing.T) {
			c := p.login(t, m, "")
			b := bytes.Repeat(m.ping(), count)
			sent := make(chan error, 1)
			go func() { sent <- c.send(b) }()
			for range count {
				c.wantPong()
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			c.wantEcho("1")
		})
		t.Run("behind Connect", func(t *testing.T) {
			c := p.dial(t, m)
			b := m.connect(0, "")
			n := 0
			for ; len(b) < 60<<10; n++ {
				b = append(b, m.ask(uint16(n), "sluice.Echo", fmt.Sprint(n))...)
			}
			c.write(b)
			c.wantConnAck(accepted)
			for i := range n {
				c.wantReply(uint16(i), fmt.Sprintf(`{"status":0,"data":%d}`, i))
			}
		})
	})
}

// Pushes, pongs and replies to one client keep the order of what caused them.
func TestMixedOrder(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c := p.login(t, m, "")
		var b []byte
		const rounds = 500
		for i := range rounds {
			b = append(b, m.ask(uint16(i), "sluice.Echo", fmt.Sprint(i))...)
			b = append(b, m.ping()...)
			b = append(b, m.sendReq(0, 0, "sluice.PushMe", m.text(fmt.Sprint(i)))...)
		}
		go func() { _ = c.send(b) }()
		for i := range rounds {
			c.wantReply(uint16(i), fmt.Sprintf(`{"status":0,"data":%d}`, i))
			c.wantPong()
			c.wantPush("push", fmt.Sprint(i))
		}
	})
}

// A client that asks faster than it reads is held back, not closed, and loses nothing.
func TestSlowReaderOfItsOwnReplies(t *testing.T) {
	p := startDev(t)
	text := strings.Repeat("r", 1000)
	for _, tt := range []struct {
		name  string
		count int
	}{
		{"a little ahead", 900},
		{"far ahead", 20_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if unpaused && tt.count > 1000 {
				t.Skip("a client so far ahead is closed where reading cannot be paused")
			}
			eachMode(t, plainModes, func(t *testing.T, m mode) {
				c := p.login(t, m, "")
				sent := make(chan error, 1)
				go func() {
					for i := range tt.count {
						if err := c.send(m.ask(uint16(i), "sluice.Echo", fmt.Sprintf(`"%d %s"`, i, text))); err != nil {
							sent <- err
							return
						}
					}
					sent <- nil
				}()
				time.Sleep(200 * time.Millisecond)
				for i := range tt.count {
					c.wantReply(uint16(i), fmt.Sprintf(`{"status":0,"data":"%d %s"}`, i, text))
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			})
		})
	}
	p.wantPeakBelow(150 << 20)
}

// A client that asks and never reads costs no more memory than its limits, and nobody else notices.
func TestNeverReads(t *testing.T) {
	p := startDev(t, "--backlog", "256KiB")
	witness := p.login(t, modes[0], "")
	payload := `"` + strings.Repeat("n", 10_000) + `"`
	for range 20 {
		c := p.login(t, modes[0], "")
		go func() {
			for c.send(c.mode.ask(1, "sluice.Echo", payload)) == nil {
			}
		}()
	}
	for range 50 {
		witness.wantEcho("1")
		time.Sleep(10 * time.Millisecond)
	}
	p.wantPeakBelow(150 << 20)
}

// A client that has said all it has to say and shuts its writing side still gets its answers.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	// What the sockets do not hold a client must read soon, on a machine that stands still, too.
	patient := embedBeside(t, server.Config{Dev: true, Engine: engine.Config{Linger: 2 * patience}})
	patient.start(t)
	p := startDev(t)
	text := strings.Repeat("h", 1000)
	for _, tt := range []struct {
		name    string
		count   int
		payload string
		wait    time.Duration // before the client reads
	}{
		{"one", 1, "1", 0},
		{"a thousand", 1000, "1", 0},
		{"a thousand, read late", 1000, "1", 100 * time.Millisecond},
		{"1 MB", 1000, `"` + text + `"`, 0},
		{"1 MB, read late", 1000, `"` + text + `"`, 200 * time.Millisecond},
		{"5 MB", 5000, `"` + text + `"`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, modes, func(t *testing.T, m mode) {
				if raceDetector && m.gzip && tt.count > 1000 {
					t.Skip("our own gzip would take too long")
				}
				at := p
				if tt.count*len(tt.payload) > 100_000 {
					at = &patient.process
				}
				c := at.login(t, m, "")
				var b []byte
				for i := range tt.count {
					b = append(b, m.ask(uint16(i), "sluice.Echo", tt.payload)...)
				}
				sent := make(chan error, 1)
				go func() {
					err := c.send(b)
					sent <- errors.Join(err, c.conn.CloseWrite())
				}()
				time.Sleep(tt.wait)
				for i := range tt.count {
					got, err := c.next()
					if err != nil {
						t.Fatalf("reply %d of %d: %v", i, tt.count, err)
					}
					msg, err := m.message(got)
					if err != nil || msg.id != uint16(i) || msg.payload != `{"status":0,"data":`+tt.payload+`}` {
						t.Fatalf("reply %d: %v, %v", i, got, err)
					}
				}
				c.wantEOF()
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			})
		})
	}
	t.Run("behind Connect", func(t *testing.T) {
		eachMode(t, modes, func(t *testing.T, m mode) {
			b, check := conversation(m)
			for range 20 {
				c := p.dial(t, m)
				c.write(b[:len(b)-len(m.packet(disconnect, 0, []byte{0}))])
				_ = c.conn.CloseWrite()
				check(c)
				c.hangUp()
			}
		})
	})
	// Half a packet is no reason to keep the others' answers back.
	t.Run("half a packet behind", func(t *testing.T) {
		eachMode(t, modes, func(t *testing.T, m mode) {
			c := p.login(t, m, "")
			c.write(append(m.ask(1, "sluice.Echo", "1"), m.ask(2, "sluice.Echo", "2")[:9]...))
			_ = c.conn.CloseWrite()
			c.wantReply(1, `{"status":0,"data":1}`)
			c.wantEOF()
		})
	})
}

// The same while the login waits for an older connection of the user to go.
func TestHalfCloseDuringKickOut(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	for i := range 20 {
		m := modes[i%4]
		old := p.login(t, modes[0], token("leaving"))
		c := p.dial(t, m)
		c.write(append(m.connect(0, token("leaving")), m.ask(1, "sluice.Echo", "1")...))
		_ = c.conn.CloseWrite()
		old.wantDisconnect(1)
		old.wantEOF()
		c.wantConnAck(accepted)
		c.wantReply(1, `{"status":0,"data":1}`)
		c.wantEOF()
	}
}

// A client that closes without reading does no harm.
func TestCloseUnread(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	for i := range 200 {
		m := modes[i%4]
		c := p.login(t, m, "")
		for id := range uint16(20) {
			c.write(m.ask(id, "sluice.Echo", `"some text"`))
		}
		if i%2 == 0 {
			c.reset()
		} else {
			c.hangUp()
		}
	}
	c := p.dial(t, modes[0])
	_ = c.conn.CloseWrite()
	if _, err := c.next(); !errors.Is(err, io.EOF) {
		t.Errorf("a connection without a word ends with %v", err)
	}
	p.wantServing(t)
}

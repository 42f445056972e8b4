package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"
)

// memoryLimit is what the gateway may take at most whatever these clients send.
const memoryLimit = 150 << 20

// bomb is a gzip stream of n zeros.
func bomb(n int) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	zeros := make([]byte, 1<<20)
	for ; n > 0; n -= len(zeros) {
		_, _ = w.Write(zeros[:min(n, len(zeros))])
	}
	_ = w.Close()
	return out.Bytes()
}

// Packets of 256 MiB are refused on their header alone, and nothing is set aside for them.
func TestHugeAnnouncements(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, plainModes, func(t *testing.T, m mode) {
		var all []*client // of whom the gateway waits for a moment, whether they are of another protocol
		for range 20 {
			all = append(all, p.dial(t, m))
			all[len(all)-1].write(m.header(connect, 0, 1<<28-1))
		}
		for _, c := range all {
			c.wantClosedAtOnce(nil)
		}
		for _, typ := range []byte{connect, pingReq, disconnect, sendReq} {
			for range 20 {
				p.login(t, m, "").wantClosedAtOnce(m.header(typ, 0, 1<<28-1))
			}
		}
		// With some bytes behind it: the header is enough.
		c := p.login(t, m, "")
		c.wantClosedAtOnce(append(m.header(sendReq, 2, 1<<28-1), make([]byte, 4<<20)...))
	})
	p.wantPeakBelow(memoryLimit)
}

func TestMaxPacket(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	p := startDev(t, "--max-packet", fmt.Sprint(limit))
	for _, m := range plainModes {
		t.Run(m.String(), func(t *testing.T) {
			// A request whose remaining length is n: an attachment fills it up. In fixed6, two
			// fields are needed for the limit, so the payload takes a share.
			request := func(n int) []byte {
				payload := []byte(`"` + strings.Repeat("p", 50_000) + `"`)
				b := m.sendReq(1, 1, "sluice.Upload", payload, make([]byte, 40_000))
				over := n - (len(b) - len(m.header(sendReq, 0, n)))
				b = m.sendReq(1, 1, "sluice.Upload", payload, make([]byte, 40_000+over))
				if got := len(b) - len(m.header(sendReq, 0, n)); got != n {
					t.Fatalf("made a packet of %d, want %d", got, n)
				}
				return b
			}
			for _, n := range []int{limit - 1, limit} {
				c := p.login(t, m, "")
				c.write(request(n))
				if got := c.wantMessage(sendResp); !strings.HasPrefix(got.payload, `{"status":0`) {
					t.Fatalf("reply %q", got.payload)
				}
				c.wantEcho("1")
			}
			c := p.login(t, m, "")
			c.wantClosedAtOnce(m.header(sendReq, 2, limit+1))
			c = p.login(t, m, "")
			c.wantClosedAtOnce(request(limit + 1))
		})
	}
}

// Before login the limit is 64 KiB, whatever --max-packet says.
func TestMaxConnect(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	const limit = 64 << 10
	for _, m := range plainModes {
		t.Run(m.String(), func(t *testing.T) {
			around := len(m.connectBody(0, make([]byte, 60_000))) - 60_000
			payload := func(n int) []byte {
				head, foot := `{"token":"big","pad":"`, `"}`
				return []byte(head + strings.Repeat("x", n-len(head)-len(foot)) + foot)
			}
			for _, n := range []int{60_000, limit - around} {
				c := p.dial(t, m)
				c.write(m.packet(connect, 0, m.connectBody(0, payload(n))))
				c.wantConnAck(accepted)
				if got := c.whoami().User; got != "big" {
					t.Fatalf("user %q, want big", got)
				}
			}
			c := p.dial(t, m)
			c.write(append(m.header(connect, 0, limit+1), m.field([]byte("GOSOC"))...))
			c.wantConnAck(serverUnavailable) // it is a Connect; the rest is not waited for
			c.wantClosedAtOnce(nil)
		})
	}
}

func TestMaxInflated(t *testing.T) {
	const limit = 50_000
	p := startDev(t, "--max-inflated", fmt.Sprint(limit))
	for _, m := range []mode{modes[1], modes[3]} {
		t.Run(m.String(), func(t *testing.T) {
			text := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
			c := p.login(t, m, "")
			c.wantEcho(text(limit))
			c.write(m.sendReq(1, 77, "sluice.Upload", nil, zip(make([]byte, limit))))
			c.wantReply(77, uploaded(make([]byte, limit)))
			c.wantRefused(m.ask(1, "sluice.Echo", text(limit+1)))
			c = p.login(t, m, "")
			c.wantRefused(m.sendReq(1, 1, "sluice.Upload", nil, zip(make([]byte, limit+1))))
			// What is not compressed is bounded by its packet alone.
			plain := mode{fixed6: m.fixed6}
			c = p.login(t, plain, "")
			c.wantEcho(text(limit + 1))
			c.write(plain.sendReq(1, 77, "sluice.Upload", nil, make([]byte, limit+1)))
			c.wantReply(77, uploaded(make([]byte, limit+1)))
		})
	}
}

// wantRefused wants b to be met with a close or an error reply.
func (c *client) wantRefused(b []byte) {
	c.tb.Helper()
	_ = c.send(b)
	got, err := c.next()
	if err != nil {
		if !over(err) {
			c.tb.Fatal(err)
		}
		return
	}
	msg, err := c.mode.message(got)
	if err != nil || strings.HasPrefix(msg.payload, `{"status":0`) {
		c.tb.Fatalf("got %.100q, %v, want it refused", msg.payload, err)
	}
}

func TestGzipBombs(t *testing.T) {
	p := startDev(t)
	witness := p.login(t, modes[0], "")
	small := bomb(48 << 20)         // fits fixed6, and Connect
	huge := bytes.Repeat(small, 21) // 1 GiB: in an attachment, members are joined
	for range 10 {
		for _, m := range []mode{modes[1], modes[3]} {
			c := p.dial(t, m)
			c.write(m.packet(connect, 0, m.connectBody(0, small)))
			c.wantConnAck(serverUnavailable)
			c.wantEOF()
			c = p.login(t, m, "")
			c.wantRefused(m.sendReq(1, 1, "sluice.Echo", small))
			c = p.login(t, m, "")
			c.wantRefused(m.sendReq(1, 1, "sluice.Upload", m.text("{}"), small))
			c = p.login(t, m, "")
			c.wantRefused(m.sendReq(0, 1, "sluice.Upload", small, small))
		}
		c := p.login(t, modes[1], "")
		c.wantRefused(modes[1].sendReq(1, 1, "sluice.Echo", huge))
		c = p.login(t, modes[0], "")
		c.wantRefused(modes[0].sendReq(1, 1, "sluice.Upload", []byte("{}"), huge))
		witness.wantEcho("1")
		p.closeAllBut(witness)
	}
	p.wantPeakBelow(memoryLimit)
}

// closeAllBut closes every connection dialled so far but one.
func (p *process) closeAllBut(keep *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		if c != keep {
			_ = c.conn.Close()
		}
	}
	p.clients = append(p.clients[:0], keep)
}

// A thousand clients that stop in the middle of a big Connect cost what they sent, and not for long.
func TestHalfPacketsBeforeLogin(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--login-timeout", "4s")
	const clients, size = 1000, 60 << 10
	all := make([]*client, clients)
	start := time.Now()
	for i := range all {
		m := plainModes[i%len(plainModes)]
		whole := m.packet(connect, 0, m.connectBody(0, bytes.Repeat([]byte(" "), size+100)))
		all[i] = p.dial(t, m)
		_ = all[i].send(whole[:size]) // whose time may be up
	}
	p.wantServing(t)
	t.Logf("half packets sent in %v", time.Since(start))
	for _, c := range all {
		c.wantEOF()
		c.hangUp()
	}
	p.wantServing(t)
	p.wantPeakBelow(memoryLimit)
}

// The backlog is looked at before a message is added: a longer one still reaches who keeps up.
func TestMessagesLongerThanTheBacklog(t *testing.T) {
	t.Run("small backlog", func(t *testing.T) {
		p := startDev(t, "--backlog", "64KiB", "--lag", "64KiB", "--send-buffer", "16KiB")
		text := `"` + strings.Repeat("b", 1<<20) + `"`
		c, publisher := p.login(t, modes[0], ""), p.login(t, modes[0], "")
		c.wantEcho(text)
		c.subscribe("t")
		for i := range 5 {
			publisher.wantOK("sluice.Publish", publish("t", text))
			c.wantPush("push", text)
			c.wantEcho(fmt.Sprint(i))
		}
		c.write(c.mode.sendReq(0, 0, "sluice.PushMe", []byte(text)))
		c.wantPush("push", text)
	})
	t.Run("as flags are", func(t *testing.T) {
		p := startDev(t)
		for _, size := range []int{3 << 20, 15 << 20} {
			c := p.login(t, modes[0], "")
			c.wantEcho(`"` + strings.Repeat("b", size) + `"`)
			c.wantEcho("1") // the connection stays
			c.hangUp()
		}
	})
}

// More than the connection limit are turned away, the others are served.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--max-connections", "20")
	var all []*client
	for range 20 {
		all = append(all, p.login(t, modes[0], ""))
	}
	for range 10 {
		p.dial(t, modes[0]).wantOver()
	}
	for _, c := range all {
		c.wantEcho("1")
	}
	all[3].hangUp()
	p.await(func() bool {
		c := p.dial(t, modes[0])
		if c.send(c.mode.connect(0, "")) == nil {
			if _, err := c.next(); err == nil {
				return true
			}
		}
		c.hangUp()
		return false
	}, "a place to be free")
}

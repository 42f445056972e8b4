package e2e

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whoever is logged in hears of the shutdown, and then the end.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			p := startDev(t)
			files := p.openDescriptors()
			var in []*client
			for i := range 40 {
				in = append(in, p.login(t, modes[i%4], ""))
			}
			fresh, half := p.dial(t, modes[0]), p.dial(t, modes[0])
			half.write(half.mode.connect(0, "")[:9])
			p.await(func() bool { return p.openDescriptors() >= files+42 }, "all to be accepted")
			p.signal(sig)
			for _, c := range in {
				c.wantDisconnect(0)
				c.wantEOF()
				c.hangUp()
			}
			for _, c := range []*client{fresh, half} {
				c.wantEOF()
				c.hangUp()
			}
			p.wantExit(0) // all clients are gone: it does not wait for --drain
			if c, err := p.open(t, modes[0]); err == nil {
				t.Error("the port still takes connections")
				c.hangUp()
			}
		})
	}
}

// What was asked before is answered before the goodbye.
func TestShutdownAfterRequests(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	c := p.login(t, modes[0], "")
	const count = 200
	var b []byte
	for i := range uint16(count) {
		b = append(b, c.mode.ask(i, "sluice.Echo", "1")...)
	}
	c.write(b)
	c.wantReply(0, `{"status":0,"data":1}`)
	p.signal(syscall.SIGTERM)
	for i := range uint16(count - 1) {
		c.wantReply(i+1, `{"status":0,"data":1}`)
	}
	c.wantDisconnect(0)
	c.wantEOF()
	c.hangUp()
	p.wantExit(0)
}

// Clients that do not react do not hold the shutdown up, be --drain long or short. Where it is
// short, and the machine stands still, it may be over before the gateway has done its part: the
// end must come, with whatever code.
func TestShutdownWithStubbornClients(t *testing.T) {
	t.Parallel()
	for _, drain := range []time.Duration{time.Second, 5 * time.Minute} {
		t.Run(drain.String(), func(t *testing.T) {
			t.Parallel()
			p := startDev(t, "--drain", drain.String(), "--send-buffer", "16KiB")
			open := p.login(t, modes[0], "")
			stalled, err := p.openWith(t, stalledDialer, modes[0])
			if err != nil {
				t.Fatal(err)
			}
			stalled.write(modes[0].connect(0, ""))
			stalled.wantConnAck(accepted)
			for i := range uint16(30) {
				stalled.write(modes[0].ask(i, "sluice.Echo", `"`+strings.Repeat("s", 10_000)+`"`))
			}
			time.Sleep(50 * time.Millisecond)
			p.signal(syscall.SIGTERM)
			if drain < patience {
				p.wantExit(0, 1)
				return
			}
			open.wantDisconnect(0)
			open.wantEOF() // and leaves its own side open
			p.wantExit(0)
		})
	}
}

// A second SIGTERM ends the drain.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	c := p.login(t, modes[0], "")
	p.signal(syscall.SIGTERM)
	c.wantDisconnect(0) // it has taken the first: the system would make one of two
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Error("the gateway goes on draining")
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	p.stopped = true
}

func TestHangup(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	c := p.login(t, modes[0], "")
	for range 10 {
		p.signal(syscall.SIGHUP)
		c.wantEcho("1")
	}
	p.wantServing(t)
}

// A shutdown under load ends like any other.
func TestShutdownUnderLoad(t *testing.T) {
	p := startDev(t)
	done := make(chan error)
	clients := 30
	if slowBuild {
		clients = 5 // more would be too much for it before the shutdown begins
	}
	for i := range clients {
		c := p.login(t, modes[i%4], "")
		c.subscribe("load")
		go func() {
			b := c.mode.sendReq(0, 0, "sluice.Publish", c.mode.text(publish("load", "1")))
			for c.send(b) == nil {
				time.Sleep(time.Millisecond)
			}
		}()
		go func() {
			var last packet
			for {
				got, err := c.next()
				if err == nil {
					last = got
					continue
				}
				c.hangUp()
				switch {
				case !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET):
					done <- err
				case last.typ != disconnect || last.body[0] != 0:
					done <- errors.New("the last packet is " + last.String())
				default:
					done <- nil
				}
				return
			}
		}()
	}
	time.Sleep(200 * time.Millisecond)
	p.signal(syscall.SIGTERM)
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	p.wantExit(0)
}

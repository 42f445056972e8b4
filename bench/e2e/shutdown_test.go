package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/syncbuf"
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
// end must come, with whatever code. One that does not read is cut off before it was told, which the
// exit code and the log say.
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
			p.wantExit(1)
			if says := "1 connections cut off with something unsent"; !strings.Contains(p.stderr.String(), says) {
				t.Errorf("the log does not say %q\n%s", says, tail(p.stderr.String()))
			}
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

// TestSignalBeforeReady: a gateway that waits for something at its start is ended by what ends it later.
func TestSignalBeforeReady(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		for _, flag := range []string{"--config=", "--login=tokens:"} {
			t.Run(sig.String()+" "+flag, func(t *testing.T) {
				t.Parallel()
				pipe := filepath.Join(t.TempDir(), "pipe")
				if err := syscall.Mkfifo(pipe, 0o600); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(gatewayBinary, "serve", "--listen", "tcp://127.0.0.1:0", "--worker", "none", "--admin", "none", flag+pipe)
				log := new(syncbuf.Buffer)
				cmd.Stderr = log
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = cmd.Process.Kill() }()
				var w *os.File
				for deadline := time.Now().Add(patience); w == nil; time.Sleep(2 * time.Millisecond) {
					var err error
					if w, err = os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err != nil && time.Now().After(deadline) {
						t.Fatalf("nobody reads the pipe: %v", err)
					}
				}
				defer w.Close()
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				err := cmd.Wait()
				if text := log.String(); err != nil || !strings.Contains(text, "before the gateway was ready: "+sig.String()) ||
					strings.Contains(text, "goroutine ") {
					t.Errorf("%v\n%s", err, tail(text))
				}
			})
		}
	}
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

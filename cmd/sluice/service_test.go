package main

import (
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A told is what a service manager has heard.
type told struct {
	messages []string
	deaf     bool
}

func (m *told) say(lines ...string) error {
	if m.deaf {
		return errors.New("nobody listens")
	}
	m.messages = append(m.messages, strings.Join(lines, "|"))
	return nil
}

func (m *told) count(part string) (n int) {
	for _, text := range m.messages {
		if strings.Contains(text, part) {
			n++
		}
	}
	return n
}

// Signs of life come at half of the manager's time, while and only while the loops answer.
func TestSignsOfLife(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var m told
		var stand atomic.Int64
		s := &service{
			say: m.say, watchdog: 30 * time.Second, stall: 5 * time.Second, log: slog.New(slog.DiscardHandler),
			clients: func() int { return 1 },
			stands:  func() time.Duration { return time.Duration(stand.Load()) },
		}
		done := make(chan struct{})
		s.ready(done)
		after := func(d time.Duration) (n int) {
			time.Sleep(d)
			synctest.Wait()
			n = m.count("WATCHDOG=1")
			m.messages = nil
			return n
		}
		if n := after(60*time.Second + 1); n != 4 {
			t.Errorf("%d signs in 60 s, want 4", n)
		}
		stand.Store(int64(4 * time.Second))
		if n := after(30 * time.Second); n != 2 {
			t.Errorf("a loop that is busy for 4 s: %d signs in 30 s, want 2", n)
		}
		stand.Store(int64(5 * time.Second))
		if n := after(time.Hour); n != 0 {
			t.Errorf("a loop that hangs: %d signs", n)
		}
		stand.Store(0)
		if n := after(1500 * time.Millisecond); n != 1 {
			t.Errorf("the loop goes on: %d signs in 1.5 s, want 1", n)
		}
		close(done)
		if n := after(time.Hour); n != 0 {
			t.Errorf("the gateway has ended: %d signs", n)
		}
	})
}

// The status says how many there are, and is sent when it has changed.
func TestStatus(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var m told
		var clients atomic.Int64
		s := &service{say: m.say, log: slog.New(slog.DiscardHandler), clients: func() int { return int(clients.Load()) }}
		done := make(chan struct{})
		defer close(done)
		want := func(texts ...string) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(m.messages, texts) {
				t.Errorf("%q\nwant %q", m.messages, texts)
			}
			m.messages = nil
		}
		s.ready(done)
		want("READY=1|STATUS=Serving 0 connections")
		time.Sleep(time.Minute)
		want()
		clients.Store(1)
		time.Sleep(statusEvery)
		want("STATUS=Serving 1 connection")
		s.reloading()
		s.reloaded(errors.New("no\nsense"))
		if len(m.messages) != 2 || !strings.HasPrefix(m.messages[0], "RELOADING=1|MONOTONIC_USEC=") ||
			!strings.HasPrefix(m.messages[1], "READY=1|STATUS=Serving 1 connection; the reload of ") ||
			!strings.HasSuffix(m.messages[1], " failed, the old settings stay: no sense") {
			t.Errorf("a reload that fails: %q", m.messages)
		}
		m.messages = nil
		s.reloading()
		s.reloaded(nil)
		if m.messages = m.messages[1:]; true {
			want("READY=1|STATUS=Serving 1 connection")
		}
		s.stopping(20 * time.Second)
		at := time.Now().Add(20 * time.Second).Format(time.TimeOnly)
		want("STOPPING=1|EXTEND_TIMEOUT_USEC=25000000|STATUS=Draining 1 connection, until " + at + " at the latest")
		clients.Store(0)
		time.Sleep(statusEvery + 2*drainEvery) // the look before was at leisure
		want("STATUS=Draining 0 connections, until " + at + " at the latest")
		s.reloading()
		s.reloaded(nil)
		want("STATUS=Draining 0 connections, until " + at + " at the latest") // nothing takes the shutdown back
	})
}

// A manager that does not listen is logged once.
func TestManagerThatIsDeaf(t *testing.T) {
	var log strings.Builder
	m := told{deaf: true}
	s := &service{say: m.say, log: slog.New(slog.NewTextHandler(&log, nil)), clients: func() int { return 0 }}
	for range 3 {
		s.reloading()
		s.reloaded(nil)
	}
	if n := strings.Count(log.String(), "the service manager does not listen"); n != 1 {
		t.Errorf("%d lines: %s", n, &log)
	}
}

// A gateway of which a loop hangs gives no sign of life, over a real socket and with real loops.
func TestNoSignOfLifeOfALoopThatHangs(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	srv, err := server.New(server.Config{
		Listen: []string{"tcp://127.0.0.1:0"}, Gateway: server.GatewayConfig{Login: login.Open{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer srv.Stop(t.Context())
	env := map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "400000"}
	s := newService(func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
	s.of(srv, 5*time.Second)
	if s.stall != 200*time.Millisecond {
		t.Errorf("a loop hangs from %v on: the manager would be faster", s.stall)
	}
	done := make(chan struct{})
	defer close(done)
	s.ready(done)
	next := func(within time.Duration) string {
		b := make([]byte, 1024)
		_ = manager.SetReadDeadline(time.Now().Add(within))
		n, _ := manager.Read(b)
		return string(b[:n])
	}
	if text := next(10 * time.Second); text != "READY=1\nSTATUS=Serving 0 connections" {
		t.Errorf("at the start: %q", text)
	}
	for range 2 {
		if text := next(10 * time.Second); text != "WATCHDOG=1" {
			t.Errorf("while it is well: %q", text)
		}
	}
	goOn := make(chan struct{})
	hangs := make(chan struct{})
	if !srv.Engine().TellLoop(0, func() { close(hangs); <-goOn }) {
		t.Fatal("the loop is not there")
	}
	<-hangs
	// It may have been well at one more look, and takes the time that a loop may.
	for n := 0; next(time.Second) != ""; n++ {
		if n > 10 {
			t.Fatal("it gives signs of life")
		}
	}
	close(goOn)
	if text := next(10 * time.Second); text != "WATCHDOG=1" {
		t.Errorf("once the loop goes on: %q", text)
	}
}

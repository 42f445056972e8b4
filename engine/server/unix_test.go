package server

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/unixsock"
)

// A gateway on unix sockets alone, started and stopped again and again on the same paths, and one that
// fails at its last listener, leave nothing: no goroutine, no descriptor, no file.
func TestUnixAgainAndAgain(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "sluice") // names of tests are too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	config := Config{
		Listen:       []string{"unix://" + at("c") + "?mode=0660", "ws+unix://" + at("ws")},
		WorkerListen: "unix://" + at("w"),
		Admin:        AdminConfig{Address: "unix://" + at("a")},
		Dev:          true,
	}
	config.Engine.Linger = 20 * time.Millisecond
	config.Gateway.Login = openLogin
	talk := func(path, say, want string) {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		got := make([]byte, len(want))
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	wantEmpty := func() {
		t.Helper()
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Fatalf("left behind: %v, %v", left, err)
		}
	}
	failing := config
	failing.Listen = append(config.Listen[:2:2], "unix://"+at("none/s"))
	once := func() {
		s, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		g := greetings["gosoc"]
		talk(at("c"), g.first, g.answer)
		talk(at("ws"), upgradeTo("/gosoc"), "HTTP/1.1 101")
		talk(at("w"), "\x00\x00\x00\x09~3yPvmnz~", "\x00\x00\x00\x08~u38NvZ~")
		talk(at("a"), "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200")
		again, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Start(); !errors.Is(err, unixsock.ErrInUse) {
			t.Fatalf("a second one on the same paths: %v", err)
		}
		talk(at("c"), g.first, g.answer)
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantEmpty()
		if s, err = New(failing); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err == nil || !strings.Contains(err.Error(), at("none/s")) {
			t.Fatalf("no such directory: %v", err)
		}
		wantEmpty()
	}
	times := 30
	if testing.Short() {
		times = 8
	}
	for range 3 { // what is made once for all
		once()
	}
	goroutines, files := runtime.NumGoroutine(), openDescriptors()
	for range times {
		once()
	}
	wantNoGoroutines(t, goroutines)
	waitUntil(t, "descriptors to be closed", func() bool { return openDescriptors() <= files })
}

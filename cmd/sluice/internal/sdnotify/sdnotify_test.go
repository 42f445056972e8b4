package sdnotify

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// env is a getenv.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if value, ok := strings.CutPrefix(p, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// A manager's socket, by name.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestSend(t *testing.T) {
	names := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names = append(names, "@sluice-test-"+filepath.Base(t.TempDir())+"-"+time.Now().Format("150405.000000000"))
	}
	for _, name := range names {
		c := listen(t, name)
		n, err := New(env("NOTIFY_SOCKET=" + name))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Send(Ready, Status("Serving\n 3  connections")); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, c); got != "READY=1\nSTATUS=Serving 3 connections" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A manager that binds its socket again, as one does that starts anew, hears the next message.
func TestManagerStartsAnew(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	n, err := New(env("NOTIFY_SOCKET=" + name))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Send(Ready); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody listens, and Send says %v", err)
	}
	c := listen(t, name)
	if err := n.Send(Ready); err != nil || receive(t, c) != "READY=1" {
		t.Error(err)
	}
	_ = c.Close()
	_ = os.Remove(name)
	c = listen(t, name)
	if err := n.Send(Stopping); err != nil || receive(t, c) != "STOPPING=1" {
		t.Error(err)
	}
}

// A manager that does not read costs a second at most.
func TestManagerDoesNotRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	listen(t, name)
	n, err := New(env("NOTIFY_SOCKET=" + name))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		if err := n.Send(Watchdog); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("message %d: %v", i, err)
			}
			return
		}
	}
	t.Skip("the socket has room for everything")
}

func TestNobodyAsked(t *testing.T) {
	n, err := New(env())
	if n != nil || err != nil {
		t.Errorf("%v, %v", n, err)
	}
	if err := n.Send(Ready); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"relative/path", "vsock:2:1234", "@", "/"} {
		if _, err := New(env("NOTIFY_SOCKET=" + bad)); err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestWatchdogTime(t *testing.T) {
	for _, tc := range []struct {
		usec, pid string
		want      time.Duration
		ok        bool
	}{
		{"", "", 0, true}, {"30000000", "", 30 * time.Second, true}, {"30000000", "42", 30 * time.Second, true},
		{"30000000", "41", 0, true}, {"1", "", time.Microsecond, true},
		{"0", "", 0, false}, {"-1", "", 0, false}, {"30s", "", 0, false}, {"9223372036854775807", "", 0, false},
	} {
		got, err := WatchdogTime(env("WATCHDOG_USEC="+tc.usec, "WATCHDOG_PID="+tc.pid), 42)
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%q of %q: %v, %v", tc.usec, tc.pid, got, err)
		}
	}
}

// The manager's clock and this one are the same.
func TestMonotonic(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	before := Monotonic()
	time.Sleep(time.Millisecond)
	after := Monotonic()
	if !strings.HasPrefix(before, "MONOTONIC_USEC=") || len(before) > len(after) || len(before) == len(after) && before >= after {
		t.Errorf("%s, then %s", before, after)
	}
}

func TestExtendTimeout(t *testing.T) {
	if got := ExtendTimeout(1500 * time.Millisecond); got != "EXTEND_TIMEOUT_USEC=1500000" {
		t.Error(got)
	}
}

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// A manager is a service manager's end of $NOTIFY_SOCKET.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

// hear returns the lines of the next message that is no sign of life.
func (m *manager) hear() []string {
	m.t.Helper()
	b := make([]byte, 4096)
	for {
		if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			m.t.Fatal(err)
		}
		n, err := m.conn.Read(b)
		if err != nil {
			m.t.Fatal(err)
		}
		if text := string(b[:n]); text != "WATCHDOG=1" {
			return strings.Split(text, "\n")
		}
	}
}

// want checks the next message. A line that ends with * stands for any that begins as it does.
func (m *manager) want(lines ...string) (got []string) {
	m.t.Helper()
	got = m.hear()
	same := slices.EqualFunc(got, lines, func(line, want string) bool {
		if begin, ok := strings.CutSuffix(want, "*"); ok {
			return strings.HasPrefix(line, begin)
		}
		return line == want
	})
	if !same {
		m.t.Errorf("the service manager hears %q, want %q", got, lines)
	}
	return got
}

// What systemd hears of a start, a reload, one that fails, and a stop, as Type=notify-reload wants it.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	for _, socket := range []string{filepath.Join(t.TempDir(), "notify"), "@sluice-e2e-" + strconv.Itoa(os.Getpid())} {
		t.Run(socket[:1], func(t *testing.T) { serviceManager(t, socket) })
	}
}

func serviceManager(t *testing.T, socket string) {
	t.Parallel()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := &manager{t, conn}
	users := file(t, "users", "s3cret ann\n")
	config := file(t, "sluice.toml", "login = \"tokens:"+users+"\"\nlisten = \"tcp://127.0.0.1:0\"\nworker = \"none\"\nadmin = \"none\"\n")
	cmd := exec.Command(gatewayBinary, "serve", "--config", config, "--drain", "1m")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=60000000")
	log := new(syncbuf.Buffer)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(tail(log.String()))
		}
	})
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	m.want("READY=1", "STATUS=Serving 0 connections")

	before := monotonic(t)
	signal(syscall.SIGHUP)
	if line := m.want("RELOADING=1", "MONOTONIC_USEC=*", "STATUS=Reloading")[1]; true {
		at, err := strconv.ParseInt(strings.TrimPrefix(line, "MONOTONIC_USEC="), 10, 64)
		if now := monotonic(t); err != nil || at < before || at > now {
			t.Errorf("%s for a reload between %d and %d: systemd would wait for another", line, before, now)
		}
	}
	m.want("READY=1", "STATUS=Serving 0 connections")

	if err := os.WriteFile(users, []byte("only-a-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	signal(syscall.SIGHUP)
	m.want("RELOADING=1", "MONOTONIC_USEC=*", "STATUS=Reloading")
	failed := m.want("READY=1", "STATUS=Serving 0 connections; the reload of *")
	if status := failed[len(failed)-1]; !strings.Contains(status, "failed, the old settings stay: ") || strings.Contains(status, "only-a-token") {
		t.Errorf("a reload that fails: %s", status)
	}

	signal(syscall.SIGTERM)
	m.want("STOPPING=1", "EXTEND_TIMEOUT_USEC=65000000", "STATUS=Draining 0 connections, until *")
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 4096)); err == nil {
		t.Errorf("%d bytes more behind the stop", n)
	}
}

// monotonic is the time of the clock that systemd compares with, in µs.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A bare is a gateway whose standard error the test has chosen.
type bare struct {
	tb          testing.TB
	cmd         *exec.Cmd
	exited      chan error
	addr, admin string
	worker      string
}

// startBare runs a gateway with --dev that writes its log to stderr, and may have so many files open,
// if that is not 0.
func startBare(tb testing.TB, stderr *os.File, files int, args ...string) *bare {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "ports.json")
	args = append([]string{"serve", "--dev", "--listen", "tcp://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--ports-file", file, "--log-level", "debug"}, args...)
	b := &bare{tb: tb, cmd: exec.Command(gatewayBinary, args...), exited: make(chan error, 1)}
	if files > 0 {
		b.cmd = exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files), gatewayBinary}, args...)...)
	}
	b.cmd.Stderr = stderr
	if err := b.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() { b.exited <- b.cmd.Wait() }()
	tb.Cleanup(func() { _ = b.cmd.Process.Kill() })
	var ports struct {
		Listen []string
		Admin  string
		Worker string
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		text, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(text, &ports) == nil {
			break
		}
		if time.Now().After(deadline) {
			tb.Fatal("the gateway wrote no ports")
		}
	}
	u, err := url.Parse(ports.Listen[0])
	if err != nil {
		tb.Fatal(err)
	}
	b.addr, b.admin, b.worker = u.Host, ports.Admin, strings.TrimPrefix(ports.Worker, "tcp://")
	return b
}

// get asks the admin listener.
func (b *bare) get(path string) (status int, body string) {
	b.tb.Helper()
	client := http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	resp, err := client.Get(b.admin + path)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.tb.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// noise connects and is refused, some hundred times: each of them is worth a line.
func (b *bare) noise() {
	b.tb.Helper()
	for range 300 {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			b.tb.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte("\x10\x1c\x05GOSOC\x63\x00\x00\x3c\x11{\"token\":\"alice\"}"))
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
}

func (b *bare) wantEnd(within time.Duration) {
	b.tb.Helper()
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-b.exited:
		if err != nil {
			b.tb.Errorf("the gateway ended with %v", err)
		}
	case <-time.After(within):
		b.tb.Errorf("the gateway did not end within %v of SIGTERM", within)
	}
}

// TestLogNeverBlocks: whatever becomes of standard error, the gateway serves and ends as ever.
func TestLogNeverBlocks(t *testing.T) {
	t.Parallel()
	pipe := func(t *testing.T) (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		return r, w
	}
	for _, tc := range []struct {
		name   string
		stderr func(t *testing.T) *os.File
		lost   bool // lines are, at once
	}{
		{"closed pipe", func(t *testing.T) *os.File {
			r, w := pipe(t)
			r.Close()
			return w
		}, true},
		{"full pipe", func(t *testing.T) *os.File {
			_, w := pipe(t)
			_ = w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, _ = w.Write(make([]byte, 1<<20))
			return w
		}, false},
		{"full disk", func(t *testing.T) *os.File {
			f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := startBare(t, tc.stderr(t), 0)
			b.noise()
			if status, body := b.get("/livez"); status != http.StatusOK {
				t.Errorf("/livez: %d %s", status, body)
			}
			_, page := b.get("/metrics")
			_, after, found := strings.Cut(page, "\nsluice_log_lines_dropped_total ")
			if value, _, _ := strings.Cut(after, "\n"); !found || tc.lost == (value == "0") {
				t.Errorf("sluice_log_lines_dropped_total is %q, lines lost: %v", value, tc.lost)
			}
			b.wantEnd(patience)
		})
	}
}

// TestStopBehindReloads: no number of SIGHUPs, and no file that takes its time, keeps SIGTERM from
// being heard.
func TestStopBehindReloads(t *testing.T) {
	t.Parallel()
	lots := new(strings.Builder)
	for i := range 300_000 {
		fmt.Fprintf(lots, "token-%d user-%d\n", i, i)
	}
	for _, tc := range []struct {
		name  string
		prove func(t *testing.T, file string) // changes the file that was read at the start
	}{
		{"300,000 lines", func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte(lots.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"pipe", func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"directory", func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// It waits for nobody: it takes less than what a pipe is given. On a machine that stood still
			// once that proves nothing.
			const tries = 3
			for try := 1; ; try++ {
				file := filepath.Join(t.TempDir(), "tokens")
				if err := os.WriteFile(file, []byte("t ann\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				p := startServe(t, "--login", "tokens:"+file, "--listen", "tcp://127.0.0.1:0")
				tc.prove(t, file)
				for range 200 {
					p.signal(syscall.SIGHUP)
				}
				begun := time.Now()
				p.terminate()
				took := time.Since(begun)
				if took < 4*time.Second {
					return
				}
				if try == tries {
					t.Fatalf("SIGTERM took %v", took)
				}
			}
		})
	}
}

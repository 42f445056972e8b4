package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	workerlib "github.com/sluicenet/sluice/engine/worker"
	"github.com/sluicenet/sluice/internal/syncbuf"
)

// unixDir is a directory whose name is short enough for sockets in it.
func unixDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// dialUnix opens a connection to a unix socket.
func dialUnix(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// answer sends and returns the beginning of what comes back, empty at the end of the stream.
func answer(t *testing.T, c net.Conn, say string) string {
	t.Helper()
	if _, err := c.Write([]byte(say)); err != nil {
		return ""
	}
	b := make([]byte, 256)
	n, _ := c.Read(b)
	return string(b[:n])
}

const upgradeNetsvr = "GET /netsvr HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// Clients, workers and operators on unix sockets, with their modes, from the ready line to the end.
func TestUnixSockets(t *testing.T) {
	t.Parallel()
	dir := unixDir(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	p := startServe(t, "--login", "open", "--listen", "tcp://127.0.0.1:0", "--open-worker", "1",
		"--listen", "unix://"+at("c")+"?mode=0660", "--listen", "unix://"+at("long")+"?protocol=longbridge",
		"--listen", "ws+unix://"+at("ws")+"?mode=666", "--listen", "unix:@"+at("abstract"),
		"--worker", "unix://"+at("w"), "--admin", "unix://"+at("a")+"?mode=0600")
	var ports struct {
		Listen        []string
		Worker, Admin string
	}
	if err := json.Unmarshal(p.ports, &ports); err != nil {
		t.Fatal(err)
	}
	want := []string{"unix://" + at("c"), "unix://" + at("long"), "ws+unix://" + at("ws"), "unix://@" + at("abstract"), "unix://" + at("w"), "unix://" + at("a")}
	if got := append(ports.Listen[1:], ports.Worker, ports.Admin); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the ports file has %q, want %q", got, want)
	}
	for _, url := range want {
		if !strings.Contains(p.stderr.String(), url) {
			t.Errorf("the log does not say %s", url)
		}
	}
	for name, mode := range map[string]fs.FileMode{"c": 0o660, "long": 0o600, "ws": 0o666, "w": 0o600, "a": 0o600} {
		if st, err := os.Lstat(at(name)); err != nil || st.Mode() != mode|fs.ModeSocket {
			t.Errorf("%s: %v, %v; want %v", name, st.Mode(), err, mode)
		}
	}

	// A worker, and what it learns of a client there.
	opens := make(chan workerlib.Open, 16)
	w, err := workerlib.New(workerlib.Config{Gateways: []string{"unix://" + at("w")}, Links: 2})
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("*", func(_ context.Context, r *workerlib.Request) ([]byte, error) { return []byte(r.Peer), nil })
	w.OnOpen(func(_ context.Context, o *workerlib.Open) { opens <- *o })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	if err := w.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{at("c"), "@" + at("abstract")} {
		c := dialUnix(t, path)
		if got := answer(t, c, string(modes[0].connect(0, token("ann")))); !strings.HasPrefix(got, "\x20\x02\x00\x00") {
			t.Fatalf("%s: the login is answered %q", path, got)
		}
		if o := <-opens; o.XForwardedFor != "" || o.Peer != "unix" || o.User != "ann" {
			t.Errorf("ConnOpen says forwarded %q, peer %q, user %q", o.XForwardedFor, o.Peer, o.User)
		}
		if got := answer(t, c, string(modes[0].ask(1, "x", `"hello"`))); !strings.HasSuffix(got, "unix") {
			t.Errorf("%s: the worker answers %q", path, got)
		}
	}

	// What is spoken where.
	connect := string(modes[0].connect(0, ""))
	for path, serves := range map[string][2]bool{"c": {true, true}, "long": {false, false}, "ws": {false, true}} {
		if got := answer(t, dialUnix(t, at(path)), connect); strings.HasPrefix(got, "\x20\x02") != serves[0] {
			t.Errorf("GOSOC on %s: %q", path, got)
		}
		if got := answer(t, dialUnix(t, at(path)), upgradeNetsvr); strings.HasPrefix(got, "HTTP/1.1 101") != serves[1] {
			t.Errorf("WebSocket on %s: %q", path, got)
		}
	}
	if !p.await(func() bool {
		return strings.Contains(p.stderr.String(), fmt.Sprintf("reason=unknown-protocol protocol=unknown peer=\"unix(pid=%d,uid=%d)\"", os.Getpid(), os.Getuid()))
	}, "a line of the log with the process") {
		t.Log(p.stderr)
	}

	// The verbs.
	if code, _, errs := run(t, "health", "--admin", "unix://"+at("a")); code != 0 {
		t.Errorf("health: %d, %s", code, errs)
	}
	if code, _, errs := run(t, "health", "--admin", "unix://"+at("none")); code != 1 || !strings.Contains(errs, "no such file") {
		t.Errorf("health of nobody: %d, %s", code, errs)
	}
	if code, _, errs := run(t, "token", "--admin", "unix://"+at("a")); code != 1 || !strings.Contains(errs, "the gateway says") {
		t.Errorf("token: %d, %s", code, errs)
	}

	// A second gateway takes nothing away, and the first goes with its files.
	if code, _, errs := run(t, "serve", "--dev", "--listen", "unix://"+at("c"), "--worker", "none", "--admin", "none"); code != 1 ||
		!strings.Contains(errs, "listens there already") || !strings.Contains(errs, at("c")) {
		t.Errorf("a second gateway: %d, %s", code, errs)
	}
	if got := answer(t, dialUnix(t, at("c")), connect); got == "" {
		t.Error("the first gateway serves no more")
	}
	cancel()
	p.terminate()
	p.wantExit(0)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A gateway that was killed leaves its socket, and the next one takes the path; one that drains gives
// it up at once and does not take the next one's away.
func TestUnixRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(unixDir(t), "s")
	start := func(args ...string) *process {
		return startServe(t, append([]string{"--dev", "--listen", "tcp://127.0.0.1:0", "--listen", "unix://" + path}, args...)...)
	}
	connect := string(modes[0].connect(0, ""))
	first := start()
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.exited
	first.stopped = true
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("nothing is left of one that was killed: %v", err)
	}
	second := start("--drain", "20s")
	held := dialUnix(t, path)
	if answer(t, held, connect) == "" {
		t.Fatal("the second gateway does not serve")
	}
	second.signal(syscall.SIGTERM) // its client does not leave, so it drains on
	second.await(func() bool { _, err := os.Lstat(path); return errors.Is(err, fs.ErrNotExist) }, "the path to be free")
	third := start()
	held.Close()
	<-second.exited
	second.stopped = true
	last := dialUnix(t, path)
	if answer(t, last, connect) == "" {
		t.Error("the second gateway has taken the third one's socket away")
	}
	last.Close()
	third.stop()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// A gateway that is ended while it waits for NATS at its start leaves no socket behind.
func TestUnixStopAtStart(t *testing.T) {
	t.Parallel()
	dir := unixDir(t)
	admin := filepath.Join(dir, "admin")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for name, signals := range map[string][]syscall.Signal{
		"a signal": {syscall.SIGTERM}, "two signals": {syscall.SIGTERM, syscall.SIGINT},
	} {
		cmd := exec.Command(gatewayBinary, "serve", "--dev", "--listen", "unix://"+filepath.Join(dir, "clients"), "--worker", "none",
			"--admin", "unix://"+admin, "--cluster", "nats://"+nobody.Addr().String())
		out := new(syncbuf.Buffer)
		cmd.Stderr = out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		eventually(t, "the socket of operators", func() bool { _, err := os.Lstat(admin); return err == nil })
		for _, sig := range signals {
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err = <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			err = <-ended
		}
		if err != nil || strings.Count(out.String(), "sluice: ") != 1 ||
			!strings.Contains(out.String(), "sluice: ended by a signal before the gateway was ready") {
			t.Errorf("%s: it ended with %v\n%s", name, err, out)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}

// What is no good as a unix socket is refused, by serve and check alike, on one line.
func TestUnixRefused(t *testing.T) {
	t.Parallel()
	dir := unixDir(t)
	regular := filepath.Join(dir, "file")
	if err := os.WriteFile(regular, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		flag, value, says string
		serveOnly         bool
	}{
		{"--listen", "unix://relative/path", "want unix:///PATH", false},
		{"--listen", "unix:", "want unix:///PATH", false},
		{"--listen", "unix:///" + strings.Repeat("x", 200), "want at most 107", false},
		{"--listen", "unix://" + dir + "/s?mode=999", "octal digits", false},
		{"--listen", "unix://" + dir + "/s?mode=0660&mode=0600", "given twice", false},
		{"--listen", "unix://" + dir + "/s?owner=no-such-user", "no-such-user", false},
		{"--listen", "unix://" + dir + "/s?tls=auto", "no TLS", false},
		{"--listen", "unix://" + dir + "/s?colour=red", "colour", false},
		{"--listen", "tcp://127.0.0.1:0?mode=0660", "for unix sockets", false},
		{"--listen", "unix:@name?mode=0660", "no mode", false},
		{"--worker", "unix://" + dir + "/s?protocol=gosoc", "protocol", false},
		{"--worker", "ws+unix://" + dir + "/s", "unix:///PATH", false},
		{"--admin", "unix://" + dir + "/s?x=1", "unknown option", false},
		{"--listen", "unix://" + regular, "there is a file already", true},
		{"--worker", "unix://" + dir, "there is a directory already", true},
		{"--admin", "unix://" + dir + "/none/s", "no such file or directory", true},
	} {
		for _, verb := range []string{"check", "serve"} {
			if verb == "check" && tt.serveOnly {
				continue
			}
			args := []string{verb, "--dev", "--listen", "unix://" + dir + "/l", "--worker", "none", "--admin", "none"}
			if tt.flag == "--listen" {
				args = args[:2]
				args = append(args, "--worker", "none", "--admin", "none")
			}
			code, _, errs := run(t, append(args, tt.flag, tt.value)...)
			want := 2
			if tt.serveOnly {
				want = 1
			}
			if code != want || !strings.Contains(errs, tt.says) {
				t.Errorf("%s %s %s: exit code %d, %q; want %d, %q", verb, tt.flag, tt.value, code, errs, want, tt.says)
			}
		}
	}
	if code, _, errs := run(t, "check", "--dev", "--listen", "unix://"+dir+"/s", "--worker", "unix://"+dir+"/s"); code != 2 || !strings.Contains(errs, "has already") {
		t.Errorf("one path twice: %d, %q", code, errs)
	}
	if b, err := os.ReadFile(regular); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// curl's way of naming a unix socket works for operators.
func TestUnixCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	t.Parallel()
	path := filepath.Join(unixDir(t), "a")
	startServe(t, "--dev", "--listen", "tcp://127.0.0.1:0", "--admin", "unix://"+path)
	out, err := exec.Command(curl, "-sS", "--unix-socket", path, "http://localhost/livez").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "ok") {
		t.Errorf("%q, %v", out, err)
	}
}

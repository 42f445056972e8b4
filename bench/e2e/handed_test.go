package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// handedTo has a command find sockets as systemd hands them over: from descriptor 3 on, with their names.
// LISTEN_PID must be the command's own id, which a shell knows that becomes it.
func handedTo(cmd *exec.Cmd, names string, files ...*os.File) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		panic(err)
	}
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$; export LISTEN_PID; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.ExtraFiles = shell, files
	cmd.Env = append(os.Environ(), "LISTEN_FDNAMES="+names, "LISTEN_FDS="+string(rune('0'+len(files))))
}

// fileOf is the socket of a listener, which stays open.
func fileOf(t *testing.T, network, address string) (*os.File, string) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); ln.Close() })
	return f, ln.Addr().String()
}

// Sockets that a service manager hands over are served, and who connects between one gateway and the next
// is served by the next: nobody is refused.
func TestHandedSockets(t *testing.T) {
	t.Parallel()
	web, webAddr := fileOf(t, "tcp", "127.0.0.1:0")
	more, moreAddr := fileOf(t, "tcp", "127.0.0.1:0")
	local, localPath := fileOf(t, "unix", filepath.Join(t.TempDir(), "s"))
	workers, workersAddr := fileOf(t, "tcp", "127.0.0.1:0")
	admin, adminAddr := fileOf(t, "tcp", "127.0.0.1:0")
	spare, _ := fileOf(t, "tcp", "127.0.0.1:0")
	start := func() *process {
		return startWith(t, func(cmd *exec.Cmd) {
			handedTo(cmd, "web:web:local:workers:admin:spare", web, more, local, workers, admin, spare)
		},
			"--dev", "--listen", "fd://web", "--listen", "ws+fd://5", "--worker", "fd://workers", "--admin", "fd://admin")
	}
	p := start()
	var ports struct {
		Listen        []string
		Worker, Admin string
	}
	if err := json.Unmarshal(p.ports, &ports); err != nil {
		t.Fatal(err)
	}
	if want := []string{"tcp://" + webAddr, "tcp://" + moreAddr, "ws+unix://" + localPath}; !slices.Equal(ports.Listen, want) ||
		ports.Worker != "tcp://"+workersAddr || ports.Admin != "http://"+adminAddr {
		t.Errorf("%+v, want %v, %s, %s", ports, want, workersAddr, adminAddr)
	}
	if !strings.Contains(p.stderr.String(), "sockets that were handed over are not served") || !strings.Contains(p.stderr.String(), "spare (8)") {
		t.Errorf("nothing is said of what is not served:\n%s", p.stderr)
	}
	p.addr = moreAddr
	p.wantServing(t)
	resp, err := http.Get("http://" + adminAddr + "/readyz")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	for _, at := range [][2]string{{"unix", localPath}, {"tcp", workersAddr}} {
		c, err := net.Dial(at[0], at[1])
		if err != nil {
			t.Error(err)
			continue
		}
		c.Close()
	}
	p.stop()

	var waiting []net.Conn
	for range 20 { // nobody is there
		c, err := net.Dial("tcp", webAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, c)
	}
	next := start()
	for _, c := range waiting {
		b := make([]byte, 12)
		if _, err := c.Read(b); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 4") {
			t.Errorf("%q, %v", b, err)
		}
		c.Close()
	}
	next.addr = webAddr
	next.wantServing(t)
}

// What does not fit to what was handed over ends the gateway at its start, and check where it can tell.
func TestHandedSocketsThatDoNotFit(t *testing.T) {
	t.Parallel()
	web, _ := fileOf(t, "tcp", "127.0.0.1:0")
	more, _ := fileOf(t, "tcp", "127.0.0.1:0")
	local, _ := fileOf(t, "unix", filepath.Join(t.TempDir(), "s"))
	all, _ := fileOf(t, "tcp", "0.0.0.0:0")
	none := []string{"--worker", "none", "--admin", "none"}
	for _, tc := range []struct {
		args   string
		handed bool
		code   int
		output string
		verb   string
	}{
		{"--listen fd://web", false, 0, "ok", "check"},
		{"--listen fd://web", true, 0, "ok", "check"},
		{"--listen fd://wb", true, 2, `--listen: fd://wb: no socket "wb" was handed over, but web (3), web (4), local (5), all (6)`, "check"},
		{"--listen fd://2", false, 2, "descriptor 2, want a number from 3 on", "check"},
		{"--listen fd://", false, 2, "want fd://NAME", "check"},
		{"--listen fd://web?mode=0600", false, 2, "mode and owner are for unix sockets", "check"},
		{"--listen fd://web --listen ws+fd://web", false, 2, "fd:web is what --listen has already", "check"},
		{"--listen tls+fd://local", true, 2, "unix sockets have no TLS", "check"},
		{"--worker fd://web", true, 2, "2 sockets have the name web, want one: its number does, as fd://3", "check"},
		{"--worker fd://all", true, 2, "the worker listener is open to the network", "check"},
		{"--admin wss+fd://web", false, 2, "or fd://NAME", "check"},
		{"--listen fd://all", true, 0, "other machines reach --listen fd://all", "check"},
		{"--listen fd://web", false, 1, "--listen: no socket was handed over: LISTEN_FDS is not set for this process", "serve"},
		{"--listen fd://77", false, 1, "--listen: descriptor 77 is no socket", "serve"},
	} {
		args := slices.Concat([]string{tc.verb, "--dev"}, strings.Fields(tc.args))
		for i := 0; i < len(none); i += 2 {
			if !strings.Contains(tc.args, none[i]) {
				args = append(args, none[i:i+2]...)
			}
		}
		cmd, out := exec.Command(gatewayBinary, args...), new(syncbuf.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		if tc.handed {
			handedTo(cmd, "web:web:local:all", web, more, local, all)
		}
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != tc.code || !strings.Contains(out.String(), tc.output) {
			t.Errorf("%s %s: exit code %d, %s", tc.verb, tc.args, code, out)
		}
	}
}

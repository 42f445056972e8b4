package clustertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// A gateway is a process of sluice serve.
type gateway struct {
	t      *testing.T
	id     int
	cmd    *exec.Cmd
	stderr *syncbuf.Buffer
	exited chan struct{} // closed when Wait has returned
	ended  bool          // the test has waited for its end

	addr   string // host:port where clients are served
	worker string // the same of workers
	admin  string // http://HOST:PORT
}

// launch starts a gateway with a server id, and does not wait for it.
func launch(t *testing.T, id int, args ...string) *gateway {
	t.Helper()
	return launchBinary(t, gatewayBinary, id, args...)
}

func launchBinary(t *testing.T, binary string, id int, args ...string) *gateway {
	t.Helper()
	ports := filepath.Join(t.TempDir(), "ports.json")
	args = append([]string{
		"serve", "--dev", "--ports-file", ports, "--listen", "tcp://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0",
		"--admin", "127.0.0.1:0", "--server-id", fmt.Sprint(id),
	}, args...)
	g := &gateway{t: t, id: id, stderr: new(syncbuf.Buffer), exited: make(chan struct{}), cmd: exec.Command(binary, args...)}
	g.cmd.Stderr = g.stderr
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = g.cmd.Wait()
		close(g.exited)
	}()
	t.Cleanup(func() {
		if !g.ended {
			g.signal(syscall.SIGCONT)
			g.terminate()
		}
		if t.Failed() {
			log := g.stderr.String()
			t.Logf("gateway %d:\n%s", id, log[max(0, len(log)-4096):])
		}
	})
	g.cmd.Args = append(g.cmd.Args, ports) // for serving
	return g
}

// serving waits until the gateway serves.
func (g *gateway) serving() *gateway {
	g.t.Helper()
	file := g.cmd.Args[len(g.cmd.Args)-1]
	var text []byte
	await(g.t, fmt.Sprintf("gateway %d", g.id), func() bool {
		select {
		case <-g.exited:
			g.ended = true
			g.t.Fatalf("gateway %d has ended: %s", g.id, g.stderr)
		default:
		}
		var err error
		text, err = os.ReadFile(file)
		return err == nil
	})
	var ports struct {
		Listen        []string
		Worker, Admin string
	}
	if err := json.Unmarshal(text, &ports); err != nil {
		g.t.Fatal(err)
	}
	host := func(text string) string {
		u, err := url.Parse(text)
		if err != nil {
			g.t.Fatal(err)
		}
		return u.Host
	}
	g.addr, g.worker, g.admin = host(ports.Listen[0]), host(ports.Worker), ports.Admin
	return g
}

// serve is launch and serving.
func serve(t *testing.T, id int, args ...string) *gateway {
	t.Helper()
	return launch(t, id, args...).serving()
}

// serveAll starts gateways 1 to n, and waits until each knows of all others.
func serveAll(t *testing.T, n int, args ...string) []*gateway {
	t.Helper()
	list := make([]*gateway, n)
	for i := range list {
		list[i] = launch(t, i+1, args...)
	}
	for _, g := range list {
		g.serving()
	}
	for _, g := range list {
		g.knows(n)
	}
	return list
}

// get asks the admin listener.
func (g *gateway) get(path string) (status int, body string) {
	g.t.Helper()
	client := http.Client{Timeout: patience}
	resp, err := client.Get(g.admin + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// A member is a gateway as /api/v1/cluster has it.
type member struct {
	ServerID      int
	Address       string
	Self, Suspect bool
	Workers       []int
}

func (g *gateway) members() []member {
	g.t.Helper()
	status, body := g.get("/api/v1/cluster")
	var page struct{ Nodes []member }
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
		g.t.Fatalf("%d %s", status, body)
	}
	return page.Nodes
}

// knows waits until the gateway's table has n gateways, none of them suspect.
func (g *gateway) knows(n int) {
	g.t.Helper()
	await(g.t, fmt.Sprintf("gateway %d to know %d", g.id, n), func() bool {
		list := g.members()
		for _, m := range list {
			if m.Suspect {
				return false
			}
		}
		return len(list) == n
	})
}

// metric returns a value of /metrics, by its name and labels.
func (g *gateway) metric(name string) float64 {
	g.t.Helper()
	_, body := g.get("/metrics")
	for line := range strings.SplitSeq(body, "\n") {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				g.t.Fatal(err)
			}
			return v
		}
	}
	g.t.Fatalf("no metric %s", name)
	return 0
}

// logged waits for a text in the log.
func (g *gateway) logged(text string) {
	g.t.Helper()
	await(g.t, fmt.Sprintf("%q in the log of gateway %d", text, g.id), func() bool {
		return strings.Contains(g.stderr.String(), text)
	})
}

func (g *gateway) signal(sig syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.t.Error(err)
	}
}

// kill ends the process as a crash does.
func (g *gateway) kill() {
	g.t.Helper()
	g.signal(syscall.SIGKILL)
	g.wait()
}

// wait waits for the end of the process and returns its exit code.
func (g *gateway) wait() int {
	g.t.Helper()
	g.ended = true
	select {
	case <-g.exited:
	case <-time.After(2 * patience):
		g.t.Errorf("gateway %d does not end", g.id)
		_ = g.cmd.Process.Kill()
		<-g.exited
	}
	for _, bad := range []string{"panic", "DATA RACE", "\ngoroutine "} {
		if strings.Contains(g.stderr.String(), bad) {
			g.t.Errorf("the log of gateway %d has %q:\n%s", g.id, bad, g.stderr)
		}
	}
	return g.cmd.ProcessState.ExitCode()
}

// terminate ends the gateway as an operator does.
func (g *gateway) terminate() {
	g.t.Helper()
	g.signal(syscall.SIGTERM)
	if code := g.wait(); code != 0 {
		g.t.Errorf("gateway %d ends with %d:\n%s", g.id, code, g.stderr)
	}
}

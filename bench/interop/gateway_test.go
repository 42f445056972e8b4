package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A gateway is a running sluice serve with one-time tokens and the development worker.
type gateway struct {
	tb     testing.TB
	cmd    *exec.Cmd
	addr   string // host:port for clients
	admin  string // URL
	stderr output
	exited chan struct{} // closed when Wait has returned
	err    error         // what it returned
}

// output collects what a process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// startGateway runs a gateway until the end of the test. What a test does not set to its liking takes
// longer than our patience, so that a machine that stands still does not make it happen.
func startGateway(tb testing.TB, args ...string) *gateway {
	tb.Helper()
	ports := filepath.Join(tb.TempDir(), "ports.json")
	g := &gateway{tb: tb, exited: make(chan struct{})}
	g.cmd = exec.Command(gatewayBinary, append([]string{"serve", "--dev", "--login", "otp",
		"--listen", "tcp://127.0.0.1:0?tls=auto", "--tls-cert", certFile, "--tls-key", keyFile, "--worker", "none", "--admin", "127.0.0.1:0", "--ports-file", ports, "--drain", "3m", "--login-timeout", "3m"}, args...)...)
	g.cmd.Stderr = &g.stderr
	if err := g.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		g.err = g.cmd.Wait()
		close(g.exited)
	}()
	tb.Cleanup(g.stop)
	var real struct {
		Listen []string
		Admin  string
	}
	await(tb, "the ports", func() bool {
		select {
		case <-g.exited:
			tb.Fatalf("the gateway ended at its start: %v\n%s", g.err, &g.stderr)
		default:
		}
		b, err := os.ReadFile(ports)
		return err == nil && json.Unmarshal(b, &real) == nil
	})
	u, err := url.Parse(real.Listen[0])
	if err != nil {
		tb.Fatal(err)
	}
	g.addr, g.admin = u.Host, real.Admin
	return g
}

// stop ends the gateway as an operator would.
func (g *gateway) stop() {
	g.tb.Helper()
	select {
	case <-g.exited:
		return
	default:
	}
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		g.tb.Errorf("SIGTERM: %v", err)
	}
	select {
	case <-g.exited:
	case <-time.After(patience):
		g.tb.Errorf("the gateway did not end within %v", patience)
		_ = g.cmd.Process.Kill()
		<-g.exited
	}
	var exit *exec.ExitError
	if log := g.stderr.String(); errors.As(g.err, &exit) || strings.Contains(log, "panic") {
		g.tb.Errorf("the gateway: %v\n%s", g.err, log[max(0, len(log)-4096):])
	}
}

// token asks for a one-time token as the vendor's SDK does.
func (g *gateway) token(user string) (string, error) {
	resp, err := http.Get(g.admin + "/v2/socket/token?user=" + url.QueryEscape(user))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Code int
		Data struct{ OTP string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Code != 0 || answer.Data.OTP == "" {
		return "", fmt.Errorf("token: %v, %+v", err, answer)
	}
	return answer.Data.OTP, nil
}

// metric reads a counter of the gateway.
func (g *gateway) metric(name string) int {
	g.tb.Helper()
	resp, err := http.Get(g.admin + "/metrics")
	if err != nil {
		g.tb.Error(err)
		return -1
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				g.tb.Error(err)
			}
			return int(v)
		}
	}
	g.tb.Errorf("no metric %s", name)
	return -1
}

// closed is how many connections the gateway has closed for a reason.
func (g *gateway) closed(reason string) int {
	return g.metric(`sluice_connections_closed_total{reason="` + reason + `"}`)
}

// closeIdle ends the connections that are kept for further questions to the gateway.
func closeIdle() { http.DefaultClient.CloseIdleConnections() }

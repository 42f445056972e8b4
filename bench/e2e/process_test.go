package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// A process is a running gateway.
type process struct {
	tb     testing.TB
	cmd    *exec.Cmd
	addr   string // host:port of its first listener
	ports  []byte // what it wrote to --ports-file
	stderr *syncbuf.Buffer
	exited chan struct{} // closed when Wait has returned
	err    error         // what it returned

	descriptors int // open when it was ready

	mu      sync.Mutex
	clients []*client
	stopped bool
}

// startDev runs a gateway with the development worker and, unless args say otherwise, open login.
func startDev(tb testing.TB, args ...string) *process {
	tb.Helper()
	return startServe(tb, append([]string{"--dev", "--listen", "tcp://127.0.0.1:0"}, args...)...)
}

// calm are flags for timers that a test has nothing to do with. A machine that stands still must
// not make them fire, and who waits for one of them waits for longer than the test.
var calm = []string{"--drain", "3m", "--login-timeout", "3m"}

// operatorToken is what the tests show to the admin listener.
const operatorToken = "the-tests-may-see-everything"

// startServe runs sluice serve, waits until it listens, and stops it at the end of the test.
func startServe(tb testing.TB, args ...string) *process {
	tb.Helper()
	return startWith(tb, func(*exec.Cmd) {}, args...)
}

// startWith is startServe, of a command that prepare has changed.
func startWith(tb testing.TB, prepare func(*exec.Cmd), args ...string) *process {
	tb.Helper()
	ports := filepath.Join(tb.TempDir(), "ports.json")
	args = slices.Concat([]string{"serve", "--ports-file", ports, "--worker", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0"}, calm, args)
	open := func(flag string) bool { // or a config file says it
		return slices.ContainsFunc([]string{"--dev", "--admin-token", "--api-key", "--config"}, func(f string) bool { return strings.HasPrefix(flag, f) })
	}
	if !slices.ContainsFunc(args, open) { // else the tests themselves see nothing
		tokens := filepath.Join(tb.TempDir(), "operators")
		if err := os.WriteFile(tokens, []byte("full "+operatorToken+"\n"), 0o600); err != nil {
			tb.Fatal(err)
		}
		args = append(args, "--admin-token", tokens)
	}
	p := &process{tb: tb, stderr: new(syncbuf.Buffer), exited: make(chan struct{}), cmd: exec.Command(gatewayBinary, args...)}
	p.cmd.Stderr = p.stderr
	prepare(p.cmd)
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	tb.Cleanup(p.stop)
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		var err error
		if p.ports, err = os.ReadFile(ports); err == nil {
			break
		}
		select {
		case <-p.exited:
			p.stopped = true
			tb.Fatalf("the gateway ended at its start: %v\n%s", p.err, p.stderr)
		default:
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the gateway wrote no ports within %v\n%s", patience, p.stderr)
		}
	}
	var real struct {
		Listen []string `json:"listen"`
	}
	if err := json.Unmarshal(p.ports, &real); err != nil || len(real.Listen) == 0 {
		tb.Fatalf("--ports-file holds %q", p.ports)
	}
	u, err := url.Parse(real.Listen[0])
	if err != nil {
		tb.Fatal(err)
	}
	p.addr = u.Host
	p.await(func() bool { return strings.Contains(p.stderr.String(), "ready") }, "the ready line")
	p.descriptors = p.openDescriptors()
	return p
}

// await polls until ok, for what no event tells.
func (p *process) await(ok func() bool, what string) bool {
	p.tb.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.tb.Errorf("waited %v in vain for %s", patience, what)
			return false
		}
	}
	return true
}

// stop ends the gateway as an operator would and checks what it leaves behind.
func (p *process) stop() {
	p.tb.Helper()
	if p.stopped {
		return
	}
	p.closeClients()
	if !p.tb.Failed() {
		p.await(func() bool { return p.openDescriptors() <= p.descriptors },
			fmt.Sprintf("the gateway to be back at %d descriptors", p.descriptors))
	}
	p.terminate()
}

// terminate sends SIGTERM and checks the exit code.
func (p *process) terminate() {
	p.tb.Helper()
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}

func (p *process) signal(sig syscall.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.tb.Errorf("signal %v: %v", sig, err)
	}
}

// wantExit waits for the gateway's end. stop does nothing afterwards.
func (p *process) wantExit(codes ...int) {
	p.tb.Helper()
	p.stopped = true
	select {
	case <-p.exited:
	case <-time.After(2 * patience):
		p.tb.Errorf("the gateway did not end within %v", 2*patience)
		_ = p.cmd.Process.Kill()
		<-p.exited
		return
	}
	got := 0
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		got = exit.ExitCode()
	}
	log := p.stderr.String()
	if !slices.Contains(codes, got) {
		p.tb.Errorf("exit code %d, want one of %d\n%s", got, codes, tail(log))
	}
	for _, bad := range []string{"panic", "DATA RACE", "\ngoroutine "} {
		if strings.Contains(log, bad) {
			p.tb.Errorf("the gateway's log has %q\n%s", bad, tail(log))
			break
		}
	}
}

func tail(log string) string {
	const most = 8 << 10
	return log[max(0, len(log)-most):]
}

func (p *process) closeClients() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		_ = c.conn.Close()
	}
	p.clients = nil
}

func (p *process) openDescriptors() int {
	return countDescriptors(p.tb, strconv.Itoa(p.cmd.Process.Pid))
}

// countDescriptors counts the open files of a process, which is "self" or a number.
func countDescriptors(tb testing.TB, pid string) int {
	tb.Helper()
	dir, err := os.Open(filepath.Join("/proc", pid, "fd"))
	if err != nil {
		tb.Fatal(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		tb.Fatal(err)
	}
	if pid == "self" {
		return len(names) - 1 // dir itself
	}
	return len(names)
}

// peakMemory is the most resident memory the gateway ever had, in bytes.
func (p *process) peakMemory() int {
	p.tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		p.tb.Fatal("no VmHWM in /proc/PID/status")
	}
	kib, err := strconv.Atoi(fields[0])
	if err != nil {
		p.tb.Fatal(err)
	}
	return kib << 10
}

// wantPeakBelow checks the memory bound, unless the build makes it meaningless.
func (p *process) wantPeakBelow(limit int) {
	p.tb.Helper()
	peak := p.peakMemory()
	p.tb.Logf("peak resident memory %d MiB", peak>>20)
	if peak > limit && !slowBuild {
		p.tb.Errorf("peak resident memory %d MiB, want at most %d", peak>>20, limit>>20)
	}
}

// wantServing checks that a client that has done nothing wrong is served.
func (p *process) wantServing(tb testing.TB) {
	tb.Helper()
	c := p.login(tb, modes[0], "")
	c.wantEcho(`"still there"`)
	c.hangUp()
}

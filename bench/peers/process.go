package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/bench/observe"
)

// A process is a server that is being measured.
type process struct {
	cmd    *exec.Cmd
	addr   string // host:port where it serves
	output tail
	exited chan struct{}

	mu     sync.Mutex
	killed string // why we ended it during a run
}

const (
	startTimeout = 10 * time.Second
	stopTimeout  = 5 * time.Second
	guardPeriod  = 100 * time.Millisecond
)

var errStart = errors.New("did not start")

// freePorts fills in ports that nobody listens on now, all different.
func freePorts(ports ...*int) error {
	for _, port := range ports {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// start runs a command that will listen on addr, and waits until it does. The caller is locked to its thread until
// the process has ended.
func start(ctx context.Context, command []string, addr string, env ...string) (*process, error) {
	p, err := launch(ctx, command, env, func(*process) bool {
		c, err := net.DialTimeout("tcp4", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	p.addr = addr
	// The connection above and what start-up left behind are none of the run's business.
	time.Sleep(200 * time.Millisecond)
	return p, nil
}

// startSaying runs a command that will write a word, and waits until it has. The rest is as in start.
func startSaying(ctx context.Context, command []string, word string) (*process, error) {
	return launch(ctx, command, nil, func(p *process) bool { return strings.Contains(p.output.String(), word) })
}

func launch(ctx context.Context, command, env []string, ready func(*process) bool) (*process, error) {
	p := &process{cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	// An interrupt at the terminal is for us; we end the server then. If we are killed, so is it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	for deadline := time.Now().Add(startTimeout); ; {
		if ready(p) {
			return p, nil
		}
		select {
		case <-p.exited:
			return nil, fmt.Errorf("%s %w: %s", command[0], errStart, p.output.String())
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("%s %w in %v: %s", command[0], errStart, startTimeout, p.output.String())
		}
	}
}

// stop ends the process and waits until it is gone.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// guard ends the process if its memory passes limit bytes, until done is closed.
func (p *process) guard(limit int64, done <-chan struct{}) {
	w, err := observe.Watch([]int{p.cmd.Process.Pid})
	if err != nil {
		return
	}
	for {
		select {
		case <-done:
			return
		case <-p.exited:
			return
		case <-time.After(guardPeriod):
		}
		if rss := w.Sample().RSS; rss > limit {
			p.mu.Lock()
			p.killed = fmt.Sprintf("ended by us at %.1f GiB resident", float64(rss)/(1<<30))
			p.mu.Unlock()
			_ = p.cmd.Process.Kill()
			return
		}
	}
}

// fate says how the process ended before its time, empty if it did not.
func (p *process) fate() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.exited:
		if p.killed != "" {
			return p.killed
		}
		return fmt.Sprintf("ended by itself: %v %s", p.cmd.ProcessState, p.output.String())
	default:
		return ""
	}
}

// tail keeps the end of what a process writes.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 2000

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if extra := len(t.b) - tailSize; extra > 0 {
		t.b = bytes.Clone(t.b[extra:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

// output runs a command to its end and returns what it wrote.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = os.Environ()
	b, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, b)
	}
	return strings.TrimSpace(string(b)), nil
}

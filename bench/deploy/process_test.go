package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/worker"
	"github.com/sluicenet/sluice/internal/syncbuf"
)

// patience is how long a test waits for what must come. Machines are busy and stand still now and then.
const patience = 30 * time.Second

// operator is the token that the tests' gateways let do everything.
const operator = "the-tests-may-do-everything"

// A process is a running gateway.
type process struct {
	cmd                 *exec.Cmd
	log                 *syncbuf.Buffer
	client, worker, url string // the first listener's, the workers' and the operators' address
	ended               chan struct{}
	stopped             bool
}

// start runs sluice serve, waits until it listens, and stops it at the end of the test.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	ports := filepath.Join(t.TempDir(), "ports.json")
	p := &process{log: new(syncbuf.Buffer), ended: make(chan struct{})}
	p.cmd = exec.Command(gateway, append([]string{"serve", "--ports-file", ports}, args...)...)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its exit code is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() { p.stop(t, patience) })
	var real struct {
		Listen        []string
		Worker, Admin string
	}
	await(t, "the gateway to listen", func() bool {
		select {
		case <-p.ended:
			p.stopped = true
			t.Fatalf("the gateway has ended at its start\n%s", p.log)
		default:
		}
		text, err := os.ReadFile(ports)
		return err == nil && json.Unmarshal(text, &real) == nil
	})
	p.client, p.worker, p.url = real.Listen[0], real.Worker, real.Admin
	return p
}

// stop sends SIGTERM and wants exit code 0 within a time. It returns how long it took.
func (p *process) stop(t *testing.T, within time.Duration) time.Duration {
	t.Helper()
	if p.stopped {
		return 0
	}
	p.stopped = true
	begun := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case <-p.ended:
	case <-time.After(within):
		t.Errorf("the gateway has not ended within %v\n%s", within, p.log)
		_ = p.cmd.Process.Kill()
		<-p.ended
		return time.Since(begun)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	return time.Since(begun)
}

// await polls until ok, for what no event tells.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// ask sends a GET to the admin listener.
func (p *process) ask(t *testing.T, path, token string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

// write makes a file for a test.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// operatorFile makes a file for --admin-token.
func operatorFile(t *testing.T) string {
	return write(t, "operators", fmt.Sprintf("full %s\n", operator))
}

// serveWorker attaches a worker that answers each request with its payload after a time.
func serveWorker(t *testing.T, p *process, c worker.Config, after time.Duration) *worker.Worker {
	t.Helper()
	c.Gateways = []string{p.worker}
	c.Concurrency = 1024
	w, err := worker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.Handle("*", func(_ context.Context, r *worker.Request) ([]byte, error) {
		time.Sleep(after)
		return append([]byte(nil), r.Payload...), nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	ready, cancelReady := context.WithTimeout(t.Context(), patience)
	defer cancelReady()
	if err := w.Ready(ready); err != nil {
		t.Fatalf("the worker: %v\n%s", err, p.log)
	}
	return w
}

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/workerclient"
)

// workerProcessEnv makes a worker of the test's binary: it names the gateway's address.
const workerProcessEnv = "SLUICE_E2E_WORKER"

// workerProcessMain answers requests with its process id and their payload, until it is killed.
func workerProcessMain(addr string) int {
	w, err := workerclient.New(workerclient.Config{Gateways: []string{addr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	w.Handle("*", func(_ context.Context, r *workerclient.Request) ([]byte, error) {
		return fmt.Appendf(nil, "%d %s", os.Getpid(), r.Payload), nil
	})
	go func() {
		if w.Ready(context.Background()) == nil {
			fmt.Fprintln(os.Stderr, "ready")
		}
	}()
	if err := w.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// startWorkerProcess starts a worker and waits until it is registered.
func startWorkerProcess(t *testing.T, p *process) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, stderr := exec.Command(self), new(output)
	cmd.Env = append(os.Environ(), workerProcessEnv+"="+p.workerAddr())
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if !p.await(func() bool { return strings.Contains(stderr.String(), "ready") }, "the worker to be registered") {
		t.Fatal(stderr)
	}
	return cmd
}

// A workerLoad is clients that ask all the time, each with several requests under way.
type workerLoad struct {
	stop atomic.Bool
	done sync.WaitGroup

	mu      sync.Mutex
	served  map[int]int // requests, by the process id of who answered
	errors  map[string]int
	slowest time.Duration // of those that were served
}

func (w *workerLoad) start(t *testing.T, p *process, clients, window int) {
	w.reset()
	for i := range clients {
		m := plainModes[i%2]
		c := p.login(t, m, "")
		type asked struct {
			text string
			at   time.Time
		}
		under := make(chan asked, window-1) // one more is on its way to be read
		w.done.Go(func() {
			defer close(under)
			for n := 0; !w.stop.Load(); n++ {
				text := fmt.Sprint(i, " ", n)
				under <- asked{text, time.Now()}
				if err := c.send(m.ask(uint16(n), "x", text)); err != nil {
					t.Errorf("client %d, request %d: %v", i, n, err)
					return
				}
			}
		})
		w.done.Go(func() {
			n := 0
			for a := range under { // every request is answered, once and in order
				pk, err := c.next()
				if err != nil {
					t.Errorf("client %d, reply %d: %v", i, n, err)
					w.stop.Store(true)
					for range under {
					}
					return
				}
				msg, err := m.message(pk)
				if err != nil || pk.typ != sendResp || msg.id != uint16(n) {
					t.Errorf("client %d: reply %d is %v, %v", i, n, pk, err)
				}
				w.note(t, a.text, msg.payload, time.Since(a.at))
				n++
			}
			c.write(m.ping())
			if pk, err := c.next(); err != nil || pk.typ != pingResp {
				t.Errorf("client %d: behind the last reply comes %v, %v", i, pk, err)
			}
		})
	}
}

func (w *workerLoad) note(t *testing.T, asked, got string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pid, text, _ := strings.Cut(got, " ")
	if n, err := strconv.Atoi(pid); err == nil {
		if text != asked {
			t.Errorf("%q was answered with %q", asked, got)
		}
		w.served[n]++
		w.slowest = max(w.slowest, took)
		return
	}
	for _, known := range []string{"lost", "time", "busy", "no worker"} {
		if strings.Contains(got, known) {
			w.errors[known]++
			return
		}
	}
	t.Errorf("%q was answered with %q", asked, got)
}

// reset begins the counts anew and returns the old ones.
func (w *workerLoad) reset() (served map[int]int, errors map[string]int, slowest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	served, errors, slowest = w.served, w.errors, w.slowest
	w.served, w.errors, w.slowest = make(map[int]int), make(map[string]int), 0
	return served, errors, slowest
}

// Two worker processes serve 200 clients; one is killed, and later one is stopped. No client is
// disconnected and every request is answered.
func TestWorkerProcesses(t *testing.T) {
	p := startNetsvr(t, "--request-timeout", "1s")
	first, second := startWorkerProcess(t, p), startWorkerProcess(t, p)
	const clients, window = 200, 4
	var load workerLoad
	load.start(t, p, clients, window)
	time.Sleep(500 * time.Millisecond)
	served, errors, _ := load.reset()
	if len(served) != 2 || len(errors) > 0 {
		t.Errorf("two workers: served %v, errors %v", served, errors)
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	time.Sleep(300 * time.Millisecond)
	served, errors, _ = load.reset()
	t.Logf("around the kill: served %v, errors %v", served, errors)
	if n := errors["lost"]; n > clients*window || len(errors) > 1 || len(errors) == 1 && n == 0 {
		t.Errorf("errors %v, want at most %d requests lost with their worker", errors, clients*window)
	}
	time.Sleep(500 * time.Millisecond)
	served, errors, slowest := load.reset()
	if len(errors) > 0 || served[second.Process.Pid] < 100 || len(served) != 1 {
		t.Errorf("after the kill: served %v, errors %v", served, errors)
	}
	t.Logf("after the kill: served %v, the slowest in %v", served, slowest)

	// One that is stopped keeps its link: what it is asked is answered by the clock.
	third := startWorkerProcess(t, p)
	if err := third.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond)
	served, errors, _ = load.reset()
	t.Logf("with one stopped: served %v, errors %v", served, errors)
	if served[second.Process.Pid] == 0 || errors["time"] == 0 || errors["lost"] > 0 {
		t.Errorf("with one stopped: served %v, errors %v", served, errors)
	}
	other := p.login(t, modes[0], "")
	other.write(other.mode.ping())
	other.wantPong()
	// It goes on: what it answers late reaches nobody, what it is asked now is answered.
	if err := third.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond)
	load.reset()
	time.Sleep(300 * time.Millisecond)
	served, errors, _ = load.reset()
	if len(served) != 2 || len(errors) > 0 {
		t.Errorf("both again: served %v, errors %v", served, errors)
	}
	// None at all: an error at once, and the connection stays.
	for _, w := range []*exec.Cmd{second, third} {
		_ = w.Process.Kill()
		_ = w.Wait()
	}
	p.await(func() bool { _, errors, _ := load.reset(); return errors["no worker"] > 1000 }, "errors at once")
	startWorkerProcess(t, p)
	p.await(func() bool { served, errors, _ := load.reset(); return len(errors) == 0 && len(served) == 1 }, "the next worker")
	load.stop.Store(true)
	load.done.Wait()
	p.wantPeakBelow(200 << 20)
}

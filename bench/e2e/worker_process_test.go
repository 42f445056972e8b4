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

	workerlib "github.com/sluicenet/sluice/engine/worker"
	"github.com/sluicenet/sluice/internal/syncbuf"
)

// workerProcessEnv makes a worker of the test's binary: it names the gateway's address.
const workerProcessEnv = "SLUICE_E2E_WORKER"

// workerProcessMain answers requests with its process id and their payload, until it is killed.
func workerProcessMain(addr string) int {
	w, err := workerlib.New(workerlib.Config{Gateways: []string{addr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	w.Handle("*", func(_ context.Context, r *workerlib.Request) ([]byte, error) {
		return fmt.Appendf(nil, "%d %s", os.Getpid(), r.Payload), nil
	})
	w.OnMessage(func(_ context.Context, m *workerlib.Message) {
		fmt.Fprintf(os.Stderr, "message %s\n", m.Data)
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
	cmd, _ := startTellingWorker(t, p)
	return cmd
}

// startTellingWorker is startWorkerProcess for one whose messages are of interest: it writes each.
func startTellingWorker(t *testing.T, p *process) (*exec.Cmd, *syncbuf.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, stderr := exec.Command(self), new(syncbuf.Buffer)
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
	return cmd, stderr
}

// A workerLoad is clients that ask all the time, each with several requests under way.
type workerLoad struct {
	stop atomic.Bool
	done sync.WaitGroup

	mu     sync.Mutex
	served map[string]int // requests, by the process id of who answered
	errors map[string]int
}

func (w *workerLoad) start(t *testing.T, p *process, clients, window int) {
	w.reset()
	for i := range clients {
		m := plainModes[i%2]
		c := p.login(t, m, "")
		under := make(chan string, window-1) // one more is on its way to be read
		w.done.Go(func() {
			defer close(under)
			for n := 0; !w.stop.Load(); n++ {
				text := fmt.Sprint(i, " ", n)
				under <- text
				if err := c.send(m.ask(uint16(n), "x", text)); err != nil {
					t.Errorf("client %d, request %d: %v", i, n, err)
					return
				}
			}
		})
		w.done.Go(func() {
			n := 0
			for text := range under { // every request is answered, once and in order
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
				w.note(t, text, msg.payload)
				n++
			}
			c.write(m.ping())
			if pk, err := c.next(); err != nil || pk.typ != pingResp {
				t.Errorf("client %d: behind the last reply comes %v, %v", i, pk, err)
			}
		})
	}
}

func (w *workerLoad) note(t *testing.T, asked, got string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pid, text, _ := strings.Cut(got, " ")
	if _, err := strconv.Atoi(pid); err == nil {
		if text != asked {
			t.Errorf("%q was answered with %q", asked, got)
		}
		w.served[pid]++
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
func (w *workerLoad) reset() (served, errors map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	served, errors = w.served, w.errors
	w.served, w.errors = make(map[string]int), make(map[string]int)
	return served, errors
}

// until waits until the counts are as they should be, begins them anew and returns the old ones.
func (w *workerLoad) until(p *process, what string, ok func(served, errors map[string]int) bool) (served, errors map[string]int) {
	p.tb.Helper()
	p.await(func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return ok(w.served, w.errors)
	}, what)
	return w.reset()
}

// worker is a worker's name in the counts.
func worker(cmd *exec.Cmd) string { return strconv.Itoa(cmd.Process.Pid) }

// Two worker processes serve 200 clients, and one is killed; later the other is, too. No client is
// disconnected and every request is answered. None is late: the time-out is longer than the test.
func TestWorkerProcesses(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "3m", "--wait-workers", "0s")
	first, second := startWorkerProcess(t, p), startWorkerProcess(t, p)
	const clients, window = 200, 4
	var load workerLoad
	load.start(t, p, clients, window)
	if served, errors := load.until(p, "both to serve", func(served, errors map[string]int) bool {
		return served[worker(first)] > 100 && served[worker(second)] > 100
	}); len(served) != 2 || len(errors) > 0 {
		t.Errorf("two workers: served %v, errors %v", served, errors)
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	// The gateway knows when requests are lost, and at the latest when all that were under way then
	// have been answered.
	served, errors := load.until(p, "requests under way", func(served, errors map[string]int) bool {
		return served[worker(second)] > 10*clients*window
	})
	t.Logf("around the kill: served %v, errors %v", served, errors)
	if n := errors["lost"]; n > clients*window || len(errors) > 1 || len(errors) == 1 && n == 0 {
		t.Errorf("errors %v, want at most %d requests lost with their worker", errors, clients*window)
	}
	served, errors = load.until(p, "the other to serve alone", func(served, errors map[string]int) bool {
		return served[worker(second)] > 1000
	})
	if len(errors) > 0 || len(served) != 1 {
		t.Errorf("after the kill: served %v, errors %v", served, errors)
	}
	// None at all: an error at once, and the connection stays.
	_ = second.Process.Kill()
	_ = second.Wait()
	load.until(p, "errors at once", func(served, errors map[string]int) bool { return errors["no worker"] > 1000 })
	third := startWorkerProcess(t, p)
	p.await(func() bool {
		time.Sleep(10 * time.Millisecond)
		served, errors := load.reset()
		return len(errors) == 0 && served[worker(third)] > 0
	}, "the next worker")
	load.stop.Store(true)
	load.done.Wait()
	p.wantPeakBelow(200 << 20)
}

// Of two worker processes one is stopped, and goes on later. Its link stays: what it is asked is
// answered by the clock, and no client is disconnected.
func TestWorkerProcessStopped(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "1s")
	first, second := startWorkerProcess(t, p), startWorkerProcess(t, p)
	var load workerLoad
	load.start(t, p, 200, 4)
	served, errors := load.until(p, "requests to time out", func(served, errors map[string]int) bool {
		_ = second.Process.Signal(syscall.SIGSTOP) // again and again: others may let it go on
		return served[worker(first)] > 0 && errors["time"] > 0
	})
	t.Logf("with one stopped: served %v, errors %v", served, errors)
	if errors["time"] == 0 || len(errors) > 1 {
		t.Errorf("with one stopped: served %v, errors %v", served, errors)
	}
	other := p.login(t, modes[0], "")
	other.write(other.mode.ping())
	other.wantPong()
	// It goes on: what it answers late reaches nobody, what it is asked now is answered.
	if err := second.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.await(func() bool {
		time.Sleep(300 * time.Millisecond)
		served, errors := load.reset()
		return len(served) == 2 && len(errors) == 0
	}, "both to serve again")
	load.stop.Store(true)
	load.done.Wait()
}

// Of two worker processes one is stopped under load, and its share goes to the other within a second:
// of requests, and of messages, which nobody answers.
func TestWorkerProcessShare(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--request-timeout", "20s")
	first, firstSays := startTellingWorker(t, p)
	second, secondSays := startTellingWorker(t, p)
	c, customer := p.login(t, modes[0], ""), p.netsvrOpen(t, "/netsvr")
	answered := make(chan string, 4096)
	go func() {
		for {
			pk, err := c.next()
			if err != nil {
				close(answered)
				return
			}
			if msg, err := c.mode.message(pk); err == nil {
				answered <- msg.payload
			}
		}
	}()
	// send asks and says something every 5 ms for a while, and returns how many of each.
	sent := 0
	send := func(d time.Duration) {
		for begun := time.Now(); time.Since(begun) < d; time.Sleep(5 * time.Millisecond) {
			c.write(c.mode.ask(uint16(sent), "x", fmt.Sprint(sent)))
			customer.write(netsvrFrame(0x80|netsvrText, fmt.Appendf(nil, "001%d", sent)))
			sent++
		}
	}
	count := func(o *syncbuf.Buffer) int { return strings.Count(o.String(), "message ") }
	send(time.Second)
	if count(firstSays) == 0 || count(secondSays) == 0 {
		t.Fatalf("messages: %d and %d", count(firstSays), count(secondSays))
	}
	if err := second.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Process.Signal(syscall.SIGCONT) }()
	send(time.Second)
	from := sent
	send(2 * time.Second)
	// All that was sent a second after the stop has reached the first one.
	p.await(func() bool { return strings.Contains(firstSays.String(), fmt.Sprintf("message %d\n", sent-1)) }, "the last message")
	text := firstSays.String()
	for i := from; i < sent; i++ {
		if !strings.Contains(text, fmt.Sprintf("message %d\n", i)) {
			t.Errorf("message %d of %d to %d went to the worker that is stopped", i, from, sent)
		}
	}
	waits := make(map[string]bool)
	for i := from; i < sent; i++ {
		waits[fmt.Sprintf("%s %d", worker(first), i)] = true
	}
	for deadline := time.After(patience); len(waits) > 0; {
		select {
		case payload, ok := <-answered:
			if !ok {
				t.Fatal("the client is gone")
			}
			delete(waits, payload)
		case <-deadline:
			t.Fatalf("%d of %d requests are not answered", len(waits), sent-from)
		}
	}
}

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestOutOfDescriptors: a gateway that may have 512 files open meets 5,000 clients. It lives, operators
// are answered at once, and when the clients have gone it takes new ones, workers too, and reads its
// files again. That holds as well when its limits say more than 512. It measures, and so has the
// machine for itself.
func TestOutOfDescriptors(t *testing.T) {
	const clients, atOnce = 5000, 250
	for name, args := range map[string][]string{
		"shared":              nil,
		"more than there are": {"--max-connections", "20000"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tokens, logName := filepath.Join(dir, "tokens"), filepath.Join(dir, "log")
			if err := os.WriteFile(tokens, []byte("t ann\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			log, err := os.Create(logName)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			b := startBare(t, log, 512, append(args, "--login", "tokens:"+tokens, "--log-level", "info")...)
			says := func(text string) func() bool {
				return func() bool {
					all, err := os.ReadFile(logName)
					return err == nil && bytes.Contains(all, []byte(text))
				}
			}

			// In each round they come and go. It returns how long /livez has taken, but for one of ten, and
			// how long it was until a new client was taken.
			round := func() (livez, taken time.Duration) {
				var took []time.Duration
				live := func() {
					begun := time.Now()
					if status, body := b.get("/livez"); status != http.StatusOK {
						t.Errorf("/livez: %d %s", status, body)
					}
					took = append(took, time.Since(begun))
				}
				var mu sync.Mutex
				var conns []net.Conn
				for range clients / atOnce {
					var dialing sync.WaitGroup
					for range atOnce {
						dialing.Go(func() {
							if c, err := net.DialTimeout("tcp", b.addr, patience); err == nil {
								mu.Lock()
								conns = append(conns, c)
								mu.Unlock()
							}
						})
					}
					live()
					dialing.Wait()
				}
				live()
				_, page := b.get("/metrics")
				if n := metric(page, `sluice_connections_refused_total{reason="too-many-clients"}`); n == "0" {
					t.Error("nobody was refused")
				}
				for _, c := range conns {
					c.Close()
				}
				released := time.Now()
				for !b.serves() {
					if time.Since(released) > patience {
						t.Fatal("no new client was taken")
					}
					time.Sleep(5 * time.Millisecond)
				}
				slices.Sort(took)
				return took[len(took)*9/10], time.Since(released)
			}
			const rounds = 3 // in the others the machine may have stood still
			for i := 1; ; i++ {
				livez, taken := round()
				if livez <= 100*time.Millisecond && taken <= time.Second || slowBuild {
					break
				}
				if i == rounds {
					t.Errorf("/livez took %v, a new client was taken after %v", livez, taken)
					break
				}
			}
			_, page := b.get("/metrics")
			for _, n := range []string{"sluice_accept_retries_total", "sluice_admin_accept_retries_total"} {
				if v := metric(page, n); v != "0" {
					t.Errorf("%s is %s", n, v)
				}
			}
			if c, err := net.DialTimeout("tcp", b.worker, patience); err != nil {
				t.Error(err)
			} else {
				defer c.Close()
				eventually(t, "the worker's link", func() bool {
					_, page := b.get("/metrics")
					return metric(page, "sluice_worker_links") == "1"
				})
			}
			if err := os.WriteFile(tokens, []byte("t ann\nu ben\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the reload", says("msg=reloaded"))
			b.wantEnd(patience)
		})
	}
}

// TestStopWithFewDescriptors: more clients wait to be accepted at a shutdown than there are descriptors.
// They are taken one after the other, and each is served or refused.
func TestStopWithFewDescriptors(t *testing.T) {
	t.Parallel()
	logName := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(logName)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	b := startBare(t, log, 512, "--max-connections", "100", "--log-level", "info", "--drain", "20s")
	if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const clients = 1000
	var conns []net.Conn
	for range clients {
		c, err := net.DialTimeout("tcp", b.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write(mode{}.connect(0, ""))
		conns = append(conns, c)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := b.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	var answered atomic.Int64
	var reading sync.WaitGroup
	for _, c := range conns {
		reading.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if n, _ := io.ReadFull(c, make([]byte, 4)); n == 4 {
				answered.Add(1)
			}
			c.Close()
		})
	}
	reading.Wait()
	b.wantEnd(patience)
	text, err := os.ReadFile(logName)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"are reset", "no descriptors", "not enrolled"} {
		if bytes.Contains(text, []byte(line)) {
			t.Errorf("the log says %q:\n%s", line, text)
		}
	}
	if n := answered.Load(); n < 50 {
		t.Errorf("%d of %d have heard something", n, clients)
	}
}

// serves reports whether a client can log in.
func (b *bare) serves() bool {
	c, err := net.DialTimeout("tcp", b.addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(mode{}.connect(0, token("t")))
	ack := make([]byte, 4)
	_, err = io.ReadFull(c, ack)
	return err == nil && string(ack) == "\x20\x02\x00\x00"
}

// metric returns a series' value on a metrics page, empty if it is not there.
func metric(page, series string) string {
	_, after, _ := strings.Cut(page, fmt.Sprint("\n", series, " "))
	value, _, _ := strings.Cut(after, "\n")
	return value
}

func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

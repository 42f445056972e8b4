package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/bench"
)

// TestReloadsUnderLoad: some twenty reloads, some of which are refused, disconnect nobody and lose nothing.
// SLUICE_RELOADS=full has 10,000 connections, for which the open-file limit must be 20,000.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	const reloads = 20
	connections, asking, rate, span := 300, 20, 30.0, 4*time.Second
	if os.Getenv("SLUICE_RELOADS") == "full" {
		connections, asking, rate, span = 10_000, 200, 2.0, 40*time.Second
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	cert, key := certificate(t, dir)
	other, otherKey := certificate(t, t.TempDir())
	tokens := write("operators", "full "+operatorToken+"\n")
	base := fmt.Sprintf("dev = true\nadmin-token = %q\nlisten = [\"tcp://127.0.0.1:0\", \"tls://127.0.0.1:0\"]\n", tokens)
	pair := func(cert, key string) string { return fmt.Sprintf("tls-cert = %q\ntls-key = %q\n", cert, key) }
	config := write("sluice.toml", base+pair(cert, key))
	p := startServe(t, "--config", config)

	// Subscribers of one topic, and clients that ask and are answered.
	var load sync.WaitGroup
	run := func(c bench.Config) (r *bench.Result, up <-chan struct{}) {
		r, begun := new(bench.Result), make(chan struct{})
		c.Target, c.Duration, c.Drain = "tcp://"+p.addr, span, patience
		load.Go(func() {
			got, err := bench.Run(t.Context(), c, bench.Observer{Phase: func(name string) {
				if name == "measure" {
					close(begun)
				}
			}})
			if err != nil {
				t.Errorf("%s: %v", c.Scenario, err)
				return
			}
			*r = *got
		})
		return r, begun
	}
	heard, up := run(bench.Config{Scenario: "fanout", Connections: connections, Rate: rate, TokenPrefix: "hears-"})
	answered, upToo := run(bench.Config{Scenario: "echo", Connections: asking, Rate: 5 * float64(asking), TokenPrefix: "asks-"})
	for _, begun := range []<-chan struct{}{up, upToo} {
		select {
		case <-begun:
		case <-time.After(2 * patience):
			t.Fatal("the clients do not come up")
		}
	}
	over := make(chan struct{})
	go func() { load.Wait(); close(over) }()
	pace := time.NewTicker(span / (2 * reloads))
	defer pace.Stop()
	taken, refused, n := 0, 0, 0
	for done := false; !done; n++ {
		text := base + pair(cert, key)
		switch n % 5 { // what is in force changes with every reload
		case 0:
			text = base + pair(other, otherKey) + fmt.Sprintf("user-limit = %d\nmax-topics = %d\n", 50+n, 5000+n)
		case 1:
			text += fmt.Sprintf("route = [\"a%d.*=2\"]\nallow-origin = [\"example%d.com\"]\n", n, n)
		case 2:
			text += fmt.Sprintf("backlog = \"%dMiB\"\nlag = \"%dMiB\"\nlog-level = \"warn\"\n", 2+n, 20+n)
		case 3:
			write("operators", fmt.Sprintf("full %s\nread another-token-of-step-%d\n", operatorToken, n))
		case 4:
			text += "user-limit = \"many\"\n"
		}
		write("sluice.toml", text)
		if n%2 == 0 {
			status, body := p.reload(t)
			if bad := n%5 == 4; bad != (status == http.StatusUnprocessableEntity) || !bad && status != http.StatusOK {
				t.Fatalf("reload %d: %d %s", n, status, body)
			} else if bad {
				refused++
			} else {
				taken++
			}
		} else {
			p.signal(syscall.SIGHUP)
		}
		select {
		case <-pace.C:
		case <-over:
			done = true
		}
	}
	if n < reloads/2 || taken == 0 || refused == 0 { // a slow machine has time for half of them
		t.Errorf("%d reloads while the clients were there, want %d; of those by the API %d were taken, %d refused", n, reloads, taken, refused)
	}
	<-over
	for name, r := range map[string]*bench.Result{"fan-out": heard, "requests": answered} {
		a := r.Accounting
		if a.Closed+a.Failed+a.Lost+a.InFlight+a.Late+a.Refused+a.Mismatch > 0 || !a.Balanced || a.Delivered == 0 {
			t.Errorf("%s: %+v, %v", name, a, r.Errors)
		}
		t.Logf("%s: %d connections, %d delivered, %d lost, %d closed", name, r.Live, a.Delivered, a.Lost, a.Closed)
	}
	if heard.Live != connections+1 || answered.Live != asking {
		t.Errorf("%d and %d are there at the end, want %d and %d", heard.Live, answered.Live, connections+1, asking)
	}
	// All was in force at some time: SIGHUP leaves a line.
	write("sluice.toml", base+pair(cert, key)+"log-level = \"info\"\nuser-limit = 77\n")
	p.signal(syscall.SIGHUP)
	p.await(func() bool { return strings.Contains(p.stderr.String(), "user-limit") }, "the last reload")
}

// adminURL is where operators are served.
func (p *process) adminURL(tb testing.TB) string {
	tb.Helper()
	var real struct{ Admin string }
	if err := json.Unmarshal(p.ports, &real); err != nil {
		tb.Fatal(err)
	}
	return real.Admin
}

// reload has the gateway read its configuration again, by the API.
func (p *process) reload(tb testing.TB) (status int, body string) {
	tb.Helper()
	r, err := http.NewRequest(http.MethodPost, p.adminURL(tb)+"/api/v1/reload", strings.NewReader("{}"))
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	return answerTo(tb, r)
}

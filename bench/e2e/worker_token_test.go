package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	workerlib "github.com/sluicenet/sluice/engine/worker"
)

// With --worker-token a worker is who shows one of the file's tokens. The file is replaced while
// workers are there, and they stay.
func TestWorkerToken(t *testing.T) {
	t.Parallel()
	const old, next = "the-first-token-of-them", "the-second-token-of-them"
	dir := t.TempDir()
	file := filepath.Join(dir, "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("# ours\n" + old + "\n")
	p := startNetsvr(t, "--worker-token", file)
	if !strings.Contains(p.stderr.String(), "chmod o=") {
		t.Error("the log says nothing of a file that everybody can read")
	}

	// start runs a worker with two links until the test ends.
	start := func(config workerlib.Config) *workerlib.Worker {
		t.Helper()
		config.Gateways, config.Links = []string{p.workerAddr()}, 2
		w, err := workerlib.New(config)
		if err != nil {
			t.Fatal(err)
		}
		w.Handle("*", func(_ context.Context, r *workerlib.Request) ([]byte, error) { return r.Payload, nil })
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			<-ended
		})
		return w
	}
	ready := func(w *workerlib.Worker) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return w.Ready(ctx)
	}
	first := start(workerlib.Config{Token: old})
	if err := ready(first); err != nil {
		t.Fatal(err)
	}
	c := p.login(t, modes[0], "")
	asks := func() {
		t.Helper()
		c.write(modes[0].ask(1, "x", `"hello"`))
		if pk, err := c.next(); err != nil {
			t.Fatal(err)
		} else if msg, err := modes[0].message(pk); err != nil || msg.payload != `"hello"` {
			t.Fatalf("%v, %v", msg, err)
		}
	}
	asks()

	// Without the token, and with another, nothing is done for them.
	for _, tt := range []struct{ name, token, reason string }{
		{"none", "", "command-before-token"}, {"a wrong one", next, "wrong-token"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		w := start(workerlib.Config{Token: tt.token})
		err := w.Ready(ctx)
		cancel()
		if err == nil {
			t.Errorf("%s: ready", tt.name)
		}
		var refused *workerlib.RegisterError
		if tt.token != "" && (!errors.As(err, &refused) || refused.Message != "TokenWrong") {
			t.Errorf("%s: %v", tt.name, err)
		}
		p.await(func() bool { return p.metrics()[`sluice_worker_unproven_closed_total{reason="`+tt.reason+`"}`] > 0 }, tt.reason)
		p.await(func() bool { return strings.Contains(p.stderr.String(), `"worker refused" reason=`+tt.reason) }, tt.reason)
	}
	raw := p.workerConn(t)
	if _, err := raw.Write(workerCommand(workerRegister, workerMsg(nil).num(1, 1).num(100, 1))); err != nil {
		t.Fatal(err)
	}
	if a, err := workerReadFrame(raw); err != nil || a.fields.num(1) != 100 || a.fields.text(2) != "TokenMissing" {
		t.Errorf("without a token: %v, %v", a, err)
	}

	// Both, then the new one alone.
	reload := func() {
		t.Helper()
		seen := len(p.stderr.String())
		p.signal(syscall.SIGHUP)
		p.await(func() bool { return strings.Contains(p.stderr.String()[seen:], "changed=[worker-token]") }, "a reload")
	}
	write(old + "\n" + next + "\n")
	reload()
	for _, token := range []string{old, next} {
		raw := p.workerConn(t)
		if _, err := raw.Write(workerCommand(workerRegister, workerMsg(nil).num(1, 2).text(102, token))); err != nil {
			t.Fatal(err)
		}
		if a, err := workerReadFrame(raw); err != nil || a.fields.num(1) != 0 {
			t.Errorf("%s: %v, %v", token, a, err)
		}
	}
	write(next + "\n")
	reload()
	raw = p.workerConn(t)
	if _, err := raw.Write(workerCommand(workerRegister, workerMsg(nil).num(1, 2).text(102, old))); err != nil {
		t.Fatal(err)
	}
	if a, err := workerReadFrame(raw); err != nil || a.fields.text(2) != "TokenWrong" {
		t.Errorf("the old token: %v, %v", a, err)
	}
	asks() // its worker has the old token

	// A file of one's own, and what a bad one does to a running gateway: nothing.
	if err := ready(start(workerlib.Config{TokenFile: file})); err != nil {
		t.Error(err)
	}
	write("short\n")
	p.signal(syscall.SIGHUP)
	p.await(func() bool { return strings.Contains(p.stderr.String(), "line 1: a token of 5 bytes, want 16 to 1024") }, "a refusal")
	asks()
	for _, secret := range []string{old, next} {
		if strings.Contains(p.stderr.String(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// An open worker port is refused at the start, unless something says who is a worker.
func TestWorkerPortOpen(t *testing.T) {
	t.Parallel()
	tokens := file(t, "tokens", "a-token-that-is-long-enough\n")
	for _, tt := range []struct {
		name, says string
		args       []string
	}{
		{"all addresses", "", []string{"--worker", "tcp://0.0.0.0:0"}},
		{"no host", "", []string{"--worker", "tcp://:0"}},
		{"of IPv6", "", []string{"--worker", "tcp://[::]:0"}},
		{"a public one", "", []string{"--worker", "tcp://192.0.2.1:6061"}},
		{"a name", "", []string{"--worker", "tcp://example.com:6061"}},
		{"loopback", "ok", []string{"--worker", "tcp://127.0.0.1:0"}},
		{"of IPv6", "ok", []string{"--worker", "tcp://[::1]:0"}},
		{"its name", "ok", []string{"--worker", "tcp://localhost:0"}},
		{"a token", "ok", []string{"--worker", "tcp://0.0.0.0:0", "--worker-token", tokens}},
		{"a network", "ok", []string{"--worker", "tcp://0.0.0.0:0", "--worker-allow", "10.0.0.0/8"}},
		{"everybody", "ok", []string{"--worker", "tcp://0.0.0.0:0", "--worker-allow", "0.0.0.0/0"}},
	} {
		code, out, errs := run(t, append([]string{"check", "--dev"}, tt.args...)...)
		if tt.says != "" {
			if code != 0 || !strings.Contains(out, tt.says) {
				t.Errorf("%s: exit code %d, %q", tt.name, code, errs)
			}
			continue
		}
		if code != 2 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "--worker: ") ||
			!strings.Contains(errs, "--worker-token") || !strings.Contains(errs, "--worker-allow") {
			t.Errorf("%s: exit code %d, %q", tt.name, code, errs)
		}
		if code, _, _ := run(t, append([]string{"serve", "--dev"}, tt.args...)...); code != 2 {
			t.Errorf("%s: serve ends with %d", tt.name, code)
		}
	}
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/internal/syncbuf"
)

// startReloader starts a gateway, as serve does, for one that changes its settings, and collects its log.
func startReloader(t *testing.T, args []string) (*reloader, *syncbuf.Buffer) {
	t.Helper()
	c, err := parse(args, nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd, log := c.settings(), new(syncbuf.Buffer)
	logger := slog.New(slog.NewTextHandler(log, nil))
	inForce := c.inputs.values()
	o, err := cmd.settle(c.inputs, logger)
	if err != nil {
		t.Fatal(err)
	}
	o.config.TLS.Poll = time.Hour // certificates change by reloads alone, however long a test takes
	operators := new(process)
	if o.config.Admin.Address != "" {
		o.config.Admin.Process = operators.admin()
	}
	srv, err := cmd.start(c.inputs, o.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = srv.Stop(ctx)
	})
	r := &reloader{
		args: args, provider: o.provider, server: srv, level: new(slog.LevelVar), log: logger, inputs: c.inputs, force: inForce,
		tokens: o.config.Worker.Tokens, budget: cmd.budget,
	}
	r.inputs.derive(cmd.shared, inForce)
	operators.reloader.Store(r)
	return r, log
}

// TestReloadIsAllOrNothing: with a mistake in any part of what a reload reads, or a setting that only a
// restart changes, no part changes: not limits, nor certificates, nor tokens.
func TestReloadIsAllOrNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificate := func() string {
		_, _, text := writeSelfSigned(t, dir, "cert", "key")
		return server.CertFingerprint(text)
	}
	write := func(text string) string {
		return writeFile(t, dir, "sluice.toml", "[client]\nlisten = \"tls://127.0.0.1:0\"\n[worker]\nlisten = \"none\"\n"+
			"[tls]\ncert = \""+filepath.Join(dir, "cert")+"\"\nkey = \""+filepath.Join(dir, "key")+"\"\n"+
			"[login]\nprovider = \"tokens:"+filepath.Join(dir, "tokens")+"\"\n[admin]\nlisten = \"none\"\n"+text)
	}
	shown := certificate()
	writeFile(t, dir, "tokens", "old ann\n")
	args := []string{"serve", "--config", write("[limits]\nmax-topics = 10\n")}
	r, log := startReloader(t, args)
	srv := r.server
	// state is what is in force of each kind.
	state := func() (topics int, cert string, drain time.Duration, token string) {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(srv.Addrs()[0], "tls://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, tok := range []string{"old", "new"} {
			if _, err := r.provider.Login(t.Context(), login.Request{Token: tok}); err == nil {
				token += tok
			}
		}
		return srv.Gateway().Config().MaxTopics, server.CertFingerprint(pemOf(conn.ConnectionState().PeerCertificates[0])), r.drain(), token
	}
	unchanged := func(what string) {
		t.Helper()
		if topics, cert, drain, token := state(); topics != 10 || cert != shown || drain != 0 || token != "old" {
			t.Errorf("%s: %d topics, the old certificate %v, drain %v, tokens %s", what, topics, cert == shown, drain, token)
		}
	}
	file := filepath.Join(dir, "sluice.toml")
	for _, step := range []struct{ what, tokens, text, says string }{
		{"a broken file of tokens", "a b c d e\n", "[limits]\nmax-topics = 11\n", file + ":9:12: login.provider: "},
		{"a bad limit", "new bob\n", "[limits]\nmax-topics = 0\n", file + ":13:14: limits.max-topics: 0, want 1 to"},
		{"an unknown key", "new bob\n", "[limits]\nmax-topic = 11\n", `:13:1: unknown key "max-topic" in [limits]; did you mean "max-topics"?`},
		{"a setting of the start", "new bob\n", "[limits]\nmax-topics = 11\n[process]\nloops = 2\n[session]\nserver-id = 3\n",
			"cannot change while the gateway runs, so nothing has changed: loops, server-id"},
	} {
		certificate() // a new one is there, too
		writeFile(t, dir, "tokens", step.tokens)
		write(step.text)
		if _, err := r.reload(); err == nil || !strings.Contains(err.Error(), step.says) {
			t.Errorf("%s: %v, want %q", step.what, err, step.says)
		}
		unchanged(step.what)
	}
	var frozen *notLiveError
	if _, err := r.reload(); !errors.As(err, &frozen) || !slices.Equal(frozen.flags, []string{"loops", "server-id"}) {
		t.Errorf("%v", err)
	}
	next := certificate()
	writeFile(t, dir, "tokens", "new bob\n")
	write("[limits]\nmax-topics = 11\n[process]\ndrain = \"7s\"\n")
	done, err := r.reload()
	if err != nil || !slices.Equal(done.Changed, []string{"drain", "max-topics", "tls-cert"}) || !done.Login {
		t.Errorf("%+v, %v\n%s", done, err, log)
	}
	if topics, cert, drain, token := state(); topics != 11 || cert != next || drain != 7*time.Second || token != "new" {
		t.Errorf("%d topics, the new certificate %v, drain %v, tokens %s", topics, cert == next, drain, token)
	}
	if done, err = r.reload(); err != nil || len(done.Changed) > 0 || done.Login {
		t.Errorf("nothing new: %+v, %v", done, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := r.reload(); err == nil || !strings.Contains(err.Error(), "--config: ") {
		t.Errorf("without the file: %v", err)
	}
}

// A reload, which checks settings with a server that is never started, says nothing of sessions: it does
// not read their key.
func TestReloadInACluster(t *testing.T) {
	t.Parallel()
	const says = "sessions cannot be resumed on other gateways"
	file := writeFile(t, t.TempDir(), "sluice.toml", "dev = true\n[client]\nlisten = \"tcp://127.0.0.1:0\"\n"+
		"[admin]\nlisten = \"none\"\n[cluster]\nservers = [\"nats://127.0.0.1:1\"]\n")
	r, log := startReloader(t, []string{"serve", "--worker=none", "--config", file})
	if n := strings.Count(log.String(), says); n != 1 {
		t.Errorf("the start says %d times that there is no session key, want once", n)
	}
	if _, err := r.reload(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), says); n != 1 {
		t.Errorf("behind a reload it is said %d times, want once", n)
	}
}

// A limit of clients that the open files leave no room for is warned of at the start and at each reload,
// once: the server by which a reload checks its settings says nothing.
func TestReloadWarnsOnce(t *testing.T) {
	t.Parallel()
	const says = "fewer clients are taken than their limit says"
	dir := t.TempDir()
	write := func(level string) string {
		return writeFile(t, dir, "sluice.toml", "dev = true\n[client]\nlisten = \"tcp://127.0.0.1:0\"\n"+
			"[admin]\nlisten = \"none\"\n[limits]\nmax-connections = 100000000\n[log]\nlevel = \""+level+"\"\n")
	}
	r, log := startReloader(t, []string{"serve", "--worker=none", "--config", write("info")})
	for want := 1; want <= 2; want++ {
		if n := strings.Count(log.String(), says); n != want {
			t.Errorf("it was said %d times, want %d:\n%s", n, want, log)
		}
		write("debug")
		if _, err := r.reload(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReloadOfDerivedLimits: limits that --memory sets are shown as they are in force. One that is then
// given its default has changed, and again when it is left to --memory; of one that only a restart
// changes neither is taken.
func TestReloadOfDerivedLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) string {
		return writeFile(t, dir, "sluice.toml", "dev = true\n[client]\nlisten = \"tcp://127.0.0.1:0\"\n"+
			"[admin]\nlisten = \"127.0.0.1:0\"\n[memory]\nsize = \"2GiB\"\n"+text)
	}
	r, _ := startReloader(t, []string{"serve", "--worker=none", "--config", write("")})
	operators := new(process)
	operators.reloader.Store(r)
	inForce := func(what, value, source string) {
		t.Helper()
		var want byteSize
		if err := want.UnmarshalText([]byte(value)); err != nil {
			t.Fatal(err)
		}
		answer, err := http.Get(r.server.AdminURL() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		metrics, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("\nsluice_memory_clients_limit_bytes %v\n", float64(want))
		if !strings.Contains(string(metrics), line) {
			t.Errorf("%s: not in the metrics: %q", what, line)
		}
		for _, s := range operators.settings().([]setting) {
			if s.Name == "backlog-total" && (s.Value != value || s.Source != source) {
				t.Errorf("%s: shown are %v of %s, want %s of %s", what, s.Value, s.Source, value, source)
			}
		}
	}
	inForce("at the start", "512MiB", "memory")
	for _, step := range []struct{ text, value, source string }{
		{"backlog-total = \"256MiB\"\n", "256MiB", "file"}, // the default
		{"", "512MiB", "memory"},
		{"backlog-total = \"512MiB\"\n", "512MiB", "file"},
	} {
		write(step.text)
		if _, err := r.reload(); err != nil {
			t.Errorf("%q: %v", step.text, err)
		}
		inForce(step.text, step.value, step.source)
	}
	done, err := r.change(map[string]any{"backlog-total": "256MiB"})
	if err != nil || !slices.Equal(done.Changed, []string{"backlog-total"}) {
		t.Errorf("set: %+v, %v", done, err)
	}
	inForce("set", "256MiB", "api")
	write("[worker]\nqueue = \"16MiB\"\n") // its default
	var frozen *notLiveError
	if _, err := r.reload(); !errors.As(err, &frozen) || !slices.Equal(frozen.flags, []string{"worker-queue"}) {
		t.Errorf("a worker's queue of another size: %v", err)
	}
}

// What a reload, or a change, is refused for, /readyz?verbose knows when the refusal has been
// answered.
func TestReadyzAfterARefusedReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, certText := writeSelfSigned(t, dir, "cert", "key")
	r, log := startReloader(t, []string{
		"serve", "--listen", "tls://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
		"--login", "open", "--worker", "none", "--admin", "127.0.0.1:0",
	})
	readyz := func() string { return readyzOf(t, r.server) }
	if text := readyz(); strings.Contains(text, "certificates: ") {
		t.Errorf("at the start:\n%s", text)
	}
	writeFile(t, dir, "cert", string(certText[:len(certText)/2]))
	if _, err := r.reload(); err == nil || !strings.Contains(err.Error(), cert) {
		t.Errorf("reload with half a certificate: %v", err)
	}
	if text := readyz(); !strings.Contains(text, "certificates: "+cert+": ") {
		t.Errorf("refused, and /readyz?verbose says\n%s%s", text, log)
	}
	writeFile(t, dir, "cert", string(certText))
	if _, err := r.reload(); err != nil {
		t.Error(err)
	}
	if text := readyz(); strings.Contains(text, "certificates: ") {
		t.Errorf("reloaded, and /readyz?verbose says\n%s", text)
	}
}

// readyzOf is what /readyz?verbose says.
func readyzOf(t *testing.T, srv *server.Server) string {
	t.Helper()
	resp, err := http.Get(srv.AdminURL() + "/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Who was answered that the gateway drains finds that in /readyz, however busy its main goroutine
// is.
func TestReadyzAfterDrain(t *testing.T) {
	t.Parallel()
	r, _ := startReloader(t, []string{
		"serve", "--listen", "tcp://127.0.0.1:0", "--login", "open", "--worker", "none", "--admin", "127.0.0.1:0",
	})
	p := &process{stop: make(chan os.Signal, 1)} // nobody reads it
	p.reloader.Store(r)
	if text := readyzOf(t, r.server); !strings.HasPrefix(text, "ok\n") {
		t.Error(text)
	}
	p.drain()
	if text := readyzOf(t, r.server); !strings.HasPrefix(text, "draining\n") {
		t.Error(text)
	}
}

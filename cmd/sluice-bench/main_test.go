package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/internal/buildinfo"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	bench.ServeIfWorker()
	os.Exit(m.Run())
}

func startGateway(t *testing.T) (s *server.Server, target string) {
	s, err := server.New(server.Config{
		Listen: []string{"tcp://127.0.0.1:0"}, Dev: true, Engine: engine.Config{Loops: 1}, Gateway: server.GatewayConfig{Login: login.Open{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s.Stop(ctx)
	})
	return s, s.Addrs()[0]
}

// command runs the tool and returns its exit code and what it wrote. Its runs are short: those that
// say that the process stood still meanwhile are done again, more often if there is no result.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	for try := range 50 {
		code, stdout, stderr = once(t, args...)
		if !strings.Contains(stdout+stderr, "stood still") || code != exitFailed && try >= 10 {
			break
		}
	}
	return code, stdout, stderr
}

func once(t *testing.T, args ...string) (code int, stdout, stderr string) {
	read := func(f *os.File) string {
		f.Seek(0, io.SeekStart)
		b, _ := io.ReadAll(f)
		f.Close()
		return string(b)
	}
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	errs, err := os.CreateTemp(t.TempDir(), "err")
	if err != nil {
		t.Fatal(err)
	}
	code = run(t.Context(), args, out, errs)
	return code, read(out), read(errs)
}

func TestExitCodes(t *testing.T) {
	_, target := startGateway(t)
	short := func(args ...string) []string {
		return append(args, "--target", target, "-c", "5", "-d", "100ms", "--warmup", "10ms", "--drain", "30s")
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		says string // on standard error
	}{
		"good":             {short("echo", "--expect", "lost=0,p99<10s"), exitOK, ""},
		"help":             {[]string{"--help"}, exitOK, ""},
		"breach":           {short("fanout", "-r", "100", "--expect", "p50<1ns"), exitBreach, "expectations not met"},
		"nobody there":     {[]string{"idle", "--target", "tcp://127.0.0.1:1", "-c", "1"}, exitFailed, "did not come up: number 0, to 127.0.0.1:1: connect: connection refused"},
		"no netsvr by TCP": {[]string{"echo", "--target", "tcp://127.0.0.1:1", "-p", "netsvr"}, exitUsage, "want a target ws://"},
		"no command":       {nil, exitUsage, "which scenario? sluice-bench --help"},
		"no such command":  {[]string{"dance"}, exitUsage, `unknown scenario "dance"; sluice-bench --help`},
		"no such flag":     {[]string{"echo", "--colour"}, exitUsage, "echo: unknown flag --colour; sluice-bench echo --help"},
		"a flag alone":     {[]string{"--colour"}, exitUsage, "unknown flag --colour; sluice-bench --help"},
		"version and more": {[]string{"--version", "x"}, exitUsage, "version: unexpected argument x"},
		"no such metric":   {short("echo", "--expect", "speed>5"), exitUsage, "speed"},
		"bad stages":       {short("echo", "--stages", "5"), exitUsage, "stage"},
		"too many":         {[]string{"idle", "-c", "100000"}, exitUsage, "processes"},
		"worker, no route": {short("worker"), exitUsage, "; sluice-bench worker --help"},
		"bad pid":          {short("echo", "--pid", "x"), exitUsage, "pid"},
		"no such file":     {[]string{"compare", "/nowhere/a", "/nowhere/b"}, exitUsage, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := command(t, tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.says) {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, stderr)
			}
			if tt.code == exitUsage && strings.Count(strings.TrimSpace(stderr), "\n") > 0 {
				t.Errorf("more than a line:\n%s", stderr)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"version", "--version"} {
		if code, stdout, stderr := once(t, arg); code != exitOK || !strings.HasPrefix(stdout, "sluice-bench "+buildinfo.Version("")+" go") || stderr != "" {
			t.Errorf("%s: exit code %d, %q, %q", arg, code, stdout, stderr)
		}
	}
}

func TestOutputsAndCompare(t *testing.T) {
	_, target := startGateway(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	args := []string{"fanout", "--target", target, "-c", "10", "-r", "200", "-d", "600ms", "--warmup", "20ms", "--repeat", "2"}
	code, stdout, stderr := command(t, append(args, "--json", file("a.json"), "--csv", file("a.csv"), "--hlog", file("a.hlog"), "--html", file("a.html"))...)
	if code != exitOK || !strings.Contains(stdout, "deliveries/s") || !strings.Contains(stdout, "run 2 of 2") {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	if strings.ContainsAny(stderr, "\r\x1b") {
		t.Errorf("a terminal's codes in a file: %q", stderr)
	}
	for name, want := range map[string]string{"a.json": `"accounting"`, "a.csv": "run,second", "a.hlog": "HISTFAAA", "a.html": "<svg"} {
		if b, err := os.ReadFile(file(name)); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v, %d bytes without %q", name, err, len(b), want)
		}
	}
	code, stdout, stderr = command(t, append(args, "-q", "--json", "-")...)
	if code != exitOK || !strings.HasPrefix(stdout, "{") || !strings.Contains(stderr, "deliveries/s") {
		t.Errorf("JSON to standard output: exit code %d, %.100q\n%s", code, stdout, stderr)
	}
	if err := os.WriteFile(file("b.json"), []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = command(t, "compare", file("a.json"), file("b.json"))
	if code != exitOK || !strings.Contains(stdout, "verdict") || !strings.Contains(stdout, "p99") {
		t.Errorf("compare: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	os.WriteFile(file("c.json"), []byte("{}"), 0o600)
	if code, _, _ := command(t, "compare", file("a.json"), file("c.json")); code != exitUsage {
		t.Errorf("compare with something else: exit code %d", code)
	}
}

// An interrupt ends the run, not the report.
func TestInterrupt(t *testing.T) {
	s, target := startGateway(t)
	file := filepath.Join(t.TempDir(), "a.json")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // when something has been measured
		for ctx.Err() == nil && s.Engine().Stats().Deliveries < 100 {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	code := run(ctx, []string{"fanout", "--target", target, "-c", "10", "-r", "100", "-d", "1h", "--warmup", "0s", "--repeat", "3", "--json", file}, out, out)
	text, _ := os.ReadFile(out.Name())
	if code != exitInterrupted || !strings.Contains(string(text), "INCOMPLETE") || !strings.Contains(string(text), "deliveries/s") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), `"incomplete": "interrupted"`) {
		t.Errorf("%v, %d bytes", err, len(b))
	}
}

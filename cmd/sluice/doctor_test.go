package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/cmd/sluice/internal/doctor"
	"github.com/sluicenet/sluice/engine/server"
)

// examined runs the doctor, one look, and returns his report.
func examined(t *testing.T, want int, args ...string) (r struct {
	doctor.Report
	found map[string]string // the severities of a check, one behind the other
}) {
	t.Helper()
	code, out, errs := sluice(append([]string{"doctor", "--json", "--sample", "0s"}, args...)...)
	var list struct {
		Findings []struct{ Check, Severity string }
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%q: exit code %d, %q, %q: %v", args, code, out, errs, err)
	}
	r.found = make(map[string]string)
	serious := 0
	for _, f := range list.Findings {
		r.found[f.Check] += f.Severity
		if f.Severity == "error" {
			serious++
		}
	}
	var top struct {
		Errors         int
		Gateway, Flags string
	}
	if err := json.Unmarshal([]byte(out), &top); err != nil {
		t.Fatal(err)
	}
	r.Errors, r.Gateway, r.Flags = top.Errors, top.Gateway, top.Flags
	if wantCode := min(serious, 1); code != wantCode || r.Errors != serious || (errs == "") != (serious == 0) {
		t.Errorf("%q: exit code %d, %d errors, %q", args, code, serious, errs)
	}
	if want >= 0 && code != want {
		t.Errorf("%q: exit code %d, want %d: %s", args, code, want, out)
	}
	return r
}

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	tokens := write("tokens", "full a-token-for-everything\n", 0o600)
	open := write("open", "0123456789abcdef0123\n", 0o644)
	good := write("good.toml", "[login]\nprovider = \"tokens:"+write("users", "s3cret ann\n", 0o600)+"\"\n[admin]\ntoken = \""+tokens+"\"\n", 0o600)
	nowhere := []string{"--admin", "127.0.0.1:1"}
	for _, tc := range []struct {
		what string
		args []string
		code int
		want map[string]string
	}{
		{"a safe file", []string{"--config", good}, -1, map[string]string{"flags": "ok", "login": "ok", "client-tls": "ok", "worker-port": "ok", "gateway": "note"}},
		{"open to all", []string{"--login", "open", "--listen", "tcp://0.0.0.0:7000"}, 1, map[string]string{"login": "error", "client-tls": "warning"}},
		{"a worker port for all", []string{"--dev", "--worker", "tcp://0.0.0.0:6061"}, 1, map[string]string{"flags": "error", "worker-port": "error"}},
		{"a file that all can read", []string{"--dev", "--worker-token", open}, -1, map[string]string{"secrets": "warning"}},
		{"tokens of users that all can read", []string{"--login", "tokens:" + write("all", "s3cret ann\n", 0o644)}, -1, map[string]string{"secrets": "warning"}},
		{"all are proxies", []string{"--dev", "--listen", "tcp://127.0.0.1:7000?proxy=on", "--proxy-trust", "0.0.0.0/0"}, 1, map[string]string{"proxy-trust": "error"}},
		{"more memory than there is", []string{"--dev", "--memory", "1000GiB"}, 1, map[string]string{"memory-limit": "error"}},
		{"more than there are files", []string{"--dev", "--connections", "1000000000"}, 1, map[string]string{"open-files": "error"}},
		{"few", []string{"--dev", "--connections", "10"}, -1, map[string]string{"listen-queue": "ok", "open-files": "ok"}},
		{"a mistake in the file", []string{"--config", write("bad.toml", "login = \"open\"\nlissten = \"x\"\n", 0o600)}, 1, map[string]string{"flags": "error"}},
	} {
		r := examined(t, tc.code, append(tc.args, nowhere...)...)
		for check, severity := range tc.want {
			if r.found[check] != severity {
				t.Errorf("%s: %s is %q, want %s", tc.what, check, r.found[check], severity)
			}
		}
	}
	for _, args := range [][]string{{"--connections=-1"}, {"--sample=-1s"}, {"--nope"}, {"--admin", "ftp://x"}, {"--admin-token-file", filepath.Join(dir, "none")}, {"--lag", "much"}} {
		code, out, errs := sluice(append([]string{"doctor"}, args...)...)
		wantLine(t, code, exitUsage, out, errs, strings.TrimLeft(strings.Split(args[0], "=")[0], "-"))
	}
}

// TestDoctorOfGateway: he asks the one that runs, with a token, and finds it as the other verbs do.
func TestDoctorOfGateway(t *testing.T) {
	var flags any
	o := startOperated(t, func(c *server.Config) { c.Admin.Process.Settings = func() any { return flags } })
	flags = []map[string]any{{"name": "login", "value": "open", "source": "default"}, {"name": "listen", "value": []string{"tcp://0.0.0.0:7000"}}}
	t.Setenv("SLUICE_ADMIN", o.AdminURL())
	r := examined(t, exitFailed, "--admin-token-file", o.read)
	if !strings.HasPrefix(r.Gateway, o.AdminURL()+", ") || r.Flags != "the gateway" || r.found["login"] != "error" || r.found["ready"] != "ok" || r.found["gateway"] != "ok" {
		t.Errorf("%+v", r)
	}
	flags = []map[string]any{{"name": "login", "value": "open"}, {"name": "listen", "value": []string{"tcp://127.0.0.1:7000"}}}
	o.Gateway().Drain()
	if r := examined(t, -1, "--admin-token-file", o.read); r.found["ready"] != "warning" || r.found["login"] != "ok" {
		t.Errorf("%+v", r)
	}
	// Without a token: what the flags say is known, if they are given, and that a token is missing.
	if r := examined(t, -1); r.Gateway != "" || r.found["gateway"] != "note" || r.found["login"] != "" {
		t.Errorf("without a token: %+v", r)
	}
	// The token file of the gateway's own flags will do.
	if r := examined(t, -1, "--dev", "--admin-token", o.full); r.Gateway == "" || r.Flags != "the command line" {
		t.Errorf("with the gateway's tokens: %+v", r)
	}
	t.Setenv("SLUICE_LOGIN", "open")
	if r := examined(t, -1); r.Flags != "the environment" || r.found["login"] != "ok" {
		t.Errorf("by the environment: %+v", r)
	}
}

// TestDoctorPrints: text for people, whose last line counts what was found.
func TestDoctorPrints(t *testing.T) {
	code, out, errs := sluice("doctor", "--login", "open", "--listen", "tcp://0.0.0.0:7000", "--admin", "127.0.0.1:1", "--sample", "0s")
	for _, want := range []string{"machine  ", "\ngateway  none\n", "\nflags    the command line\n", "\nERROR    login: ", "\n         why: ", "\n         fix: --login tokens:FILE", "in order, which --all shows\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != exitFailed || !strings.Contains(errs, "something serious") {
		t.Errorf("exit code %d, %q", code, errs)
	}
	if _, out, _ := sluice("doctor", "--help"); strings.Contains(out, "--slow-consumer") || !strings.Contains(out, "--connections") {
		t.Errorf("the help is\n%s", out)
	}
}

func TestIsHere(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:6070": true, "http://127.0.0.1:6070": true, "https://localhost:1": true, "unix:///run/a": true, "unix:@a": true, "http://[::1]:1": true,
		"10.0.0.1:6070": false, "http://gateway:6070": false, "https://127.example:1": false,
	} {
		if got := isHere(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

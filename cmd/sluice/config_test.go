package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestExampleFile: the file in docs/configuration.md would do, with files where it names them, and
// doctor finds nothing wrong with what it opens to others.
func TestExampleFile(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```toml\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("there is no example")
	}
	dir := t.TempDir()
	writeSelfSigned(t, dir, "gateway.crt", "gateway.key")
	writeFile(t, dir, "users.txt", "s3cret ann\n")
	writeFile(t, dir, "operators", "full 0123456789abcdef\n")
	file := writeFile(t, dir, "sluice.toml", strings.NewReplacer("/etc/sluice", dir, "/var/lib/sluice", dir).Replace(string(m[1])))
	if code, lines := checked(file); code != exitOK || len(lines) > 0 {
		t.Errorf("exit code %d:\n%s", code, strings.Join(lines, "\n"))
	}
	_, out, errs := sluice("doctor", "--json", "--sample", "0s", "--admin", "127.0.0.1:1", "--config", file)
	var list struct{ Findings []map[string]any }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("doctor: %q, %q: %v", out, errs, err)
	}
	looked := 0
	for _, f := range list.Findings {
		switch f["check"] { // the others are about this machine
		case "flags", "login", "client-tls", "worker-port", "admin-port", "proxy-trust", "abuse-limits", "secrets", "session-key":
			looked++
			if f["severity"] != "ok" {
				t.Errorf("doctor: %v", f)
			}
		}
	}
	if looked < 8 {
		t.Errorf("doctor has looked at %d of the file's settings", looked)
	}
}

// settingsShown are what sluice config --json prints, by flag.
func settingsShown(t *testing.T, args ...string) map[string]setting {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(append([]string{"config", "--json"}, args...), &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var have struct{ Config []setting }
	if err := json.Unmarshal(out.Bytes(), &have); err != nil {
		t.Fatal(err)
	}
	by := make(map[string]setting)
	for _, s := range have.Config {
		by[s.Name] = s
	}
	return by
}

// TestConfigSources: config says of each setting its value and where it comes from.
func TestConfigSources(t *testing.T) {
	file := writeFile(t, t.TempDir(), "sluice.toml", "dev = true\n[limits]\nmax-topics = 7\n[log]\nformat = \"json\"\n")
	t.Setenv("SLUICE_LOG_FORMAT", "text")
	t.Setenv("SLUICE_API_KEY", "planted-0123456789")
	args := []string{"--config", file, "--memory=512MiB", "--lag=1MiB", "--route", "a=1", "--route=b=2"}
	got := settingsShown(t, args...)
	for name, want := range map[string][3]string{
		"dev":           {"true", "file", file + ":1"},
		"max-topics":    {"7", "file", file + ":3"},
		"log-format":    {"text", "env", "SLUICE_LOG_FORMAT"},
		"lag":           {"1MiB", "flag", "--lag"},
		"route":         {"a=1 b=2", "flag", "--route"},
		"backlog-total": {"128MiB", "memory", "--memory"},
		"session-ttl":   {"30m", "default", ""},
		"api-key":       {"(not shown)", "env", "SLUICE_API_KEY"},
	} {
		if s := got[name]; valueText(s.Value) != want[0] || s.Source != want[1] || s.Where != want[2] {
			t.Errorf("%s: %+v, want %q", name, s, want)
		}
	}
	if given := settingsShown(t, append(args, "--given")...); len(given) >= len(got) || given["session-ttl"].Name != "" || given["lag"].Name == "" {
		t.Errorf("given are %d of %d", len(given), len(got))
	}
	var out, errs bytes.Buffer
	if code := run(append([]string{"config"}, args...), &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	text := regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	for _, want := range []string{"SETTING VALUE SOURCE\n", "\nmemory.backlog-total 128MiB derived from --memory\n", "\nlimits.max-topics 7 " + file + ":3\n",
		"\nlog.format text SLUICE_LOG_FORMAT\n", "\nmemory.lag 1MiB flag\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(out.String(), "planted") {
		t.Error("the key is shown")
	}
	if code := run([]string{"config", "--login", "magic"}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), "unknown kind: want open") {
		t.Errorf("with a mistake: exit code %d: %s", code, errs.String())
	}
}

// TestConfigAsTOML: the file that config writes says what was given, and nothing else.
func TestConfigAsTOML(t *testing.T) {
	args := []string{"--dev", "--lag=2MiB", "--max-topics=9", "--drain=90s", "--allow-origin=a.example", "--allow-origin=b.example", "--no-ws-deflate",
		"--memory=off", "--tls-min=1.3", "--login-failures=0", "--api-key=planted-0123456789"}
	var out, errs bytes.Buffer
	if code := run(append([]string{"config", "--toml"}, args...), &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	if strings.Contains(out.String(), "planted") {
		t.Error("the key is in the file")
	}
	if !strings.Contains(errs.String(), "--api-key on the command line") {
		t.Errorf("no warning of the key: %s", errs.String())
	}
	file := writeFile(t, t.TempDir(), "sluice.toml", out.String())
	want, got := settingsShown(t, args...), settingsShown(t, "--config", file)
	for name, w := range want {
		if g := got[name]; name != "api-key" && name != "config" && valueText(g.Value) != valueText(w.Value) {
			t.Errorf("%s is %v, want %v", name, g.Value, w.Value)
		}
	}
	// A file to begin with is one with everything in comments.
	out.Reset()
	if code := run([]string{"config", "--toml"}, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	for line := range strings.Lines(out.String()) {
		if line != "\n" && line[0] != '#' && line[0] != '[' {
			t.Errorf("not a comment: %s", line)
		}
	}
	uncommented := regexp.MustCompile(`(?m)^# ([a-z-]+ = )`).ReplaceAllString(out.String(), "$1")
	uncommented = strings.Replace(uncommented, "\ndev = false", "\ndev = true", 1)
	if code, lines := checked(writeFile(t, t.TempDir(), "all.toml", uncommented)); code != exitOK || len(lines) > 0 {
		t.Errorf("with all defaults: exit code %d: %q", code, lines)
	}
}

// TestSecretsAreWarnedOf: a secret on the command line, and a file with one that others may read.
func TestSecretsAreWarnedOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := writeFile(t, dir, "sluice.toml", "dev = true\napi-key = \"0123456789abcdef\"\n")
	if code, lines := checked(file); code != exitOK || len(lines) > 0 {
		t.Errorf("exit code %d: %q", code, lines)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, lines := checked(file); code != exitOK || len(lines) != 1 || !strings.Contains(lines[0], "chmod o=") {
		t.Errorf("exit code %d: %q", code, lines)
	}
	if code, lines := checked("", "--login=http://ann:secret@127.0.0.1:1/"); code != exitOK || len(lines) != 1 ||
		!strings.Contains(lines[0], "--login on the command line") || strings.Contains(lines[0], "ann") {
		t.Errorf("exit code %d: %q", code, lines)
	}
	plain := writeFile(t, dir, "plain.toml", "dev = true\n")
	if err := os.Chmod(plain, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, lines := checked(plain); code != exitOK || len(lines) > 0 {
		t.Errorf("exit code %d: %q", code, lines)
	}
}

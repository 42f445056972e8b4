package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sourceNow is where a running gateway says that a setting comes from, and its value.
func sourceNow(r *reloader, flag string) string {
	p := new(process)
	p.reloader.Store(r)
	for _, s := range p.settings().([]setting) {
		if s.Name == flag {
			return fmt.Sprintf("%v %s", valueText(s.Value), s.Source)
		}
	}
	return ""
}

// TestChange: what operators ask for holds until the next reload, all of it or nothing, and changes
// nothing else: a file that was written meanwhile is not read.
func TestChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) string {
		return writeFile(t, dir, "sluice.toml", "dev = true\n[client]\nlisten = \"tcp://127.0.0.1:0\"\n[worker]\nlisten = \"none\"\n"+
			"allow = [\"10.0.0.0/8\"]\n[admin]\nlisten = \"none\"\n[limits]\n"+text)
	}
	r, log := startReloader(t, []string{"serve", "--memory", "off", "--max-connections", "1000", "--config", write("max-topics = 10\n")})
	file := filepath.Join(dir, "sluice.toml")
	g := r.server.Gateway()
	write("max-topics = 11\nmax-request-rate = 7\n")
	for _, step := range []struct {
		ask     string
		changed string // or what the error says
		topics  int
		source  string // of max-topics
	}{
		{`{"max-topics":20,"log":{"level":"debug"}}`, "log-level max-topics", 20, "20 api"},
		{`{"max-topics":20}`, "", 20, "20 api"},
		{`{"limits.max-topics":"21"}`, "max-topics", 21, "21 api"},
		{`{"max-topics":22,"max-topic":5}`, `error: unknown key "max-topic"; did you mean "max-topics"?`, 21, "21 api"},
		{`{"max-topics":22,"limits":{"max-topics":23}}`, `error: max-topics: given twice, also as limits.max-topics`, 21, "21 api"},
		{`{"max-topics":0}`, `error: max-topics: 0, want 1 to`, 21, "21 api"},
		{`{"max-topics":true}`, `error: max-topics: want a number, not true`, 21, "21 api"},
		{`{"max-topics":[1,2]}`, `error: max-topics: want a number, not a list`, 21, "21 api"},
		{`{"max-topics":{"a":1}}`, `error: max-topics: want a value, a number`, 21, "21 api"},
		{`{"route":[null]}`, `error: route: want PATTERN=ID, not null`, 21, "21 api"},
		{`{"route":["a=1","b"]}`, `error: route: "b": want PATTERN=ID`, 21, "21 api"},
		{`{"max-topics":22,"loops":3,"session":{"server-id":4}}`, `error: cannot change while the gateway runs, so nothing has changed: loops, server-id`, 21, "21 api"},
		{`{"max-topics":22,"config":"other.toml"}`, `error: cannot change while the gateway runs, so nothing has changed: config`, 21, "21 api"},
		{`{"backlog-soft":1}`, `error: backlog-soft: this flag was removed`, 21, "21 api"},
		{`{"loops":0,"max-topics":22}`, "max-topics", 22, "22 api"},
		{`{"worker-allow":[]}`, "worker-allow", 22, "22 api"},
		{`{"max-connections":5}`, "max-connections", 22, "22 api"},
		{`{"max-topics":null}`, "max-topics", 10, "10 file"},
		{`{"max-topics":23}`, "max-topics", 23, "23 api"},
	} {
		settings := make(map[string]any)
		d := json.NewDecoder(strings.NewReader(step.ask))
		d.UseNumber()
		if err := d.Decode(&settings); err != nil {
			t.Fatal(err)
		}
		done, err := r.change(settings)
		got := strings.Join(done.Changed, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if want, isError := strings.CutPrefix(step.changed, "error: "); isError != (err != nil) || !isError && got != want || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", step.ask, got, step.changed)
		}
		if topics, source := g.Config().MaxTopics, sourceNow(r, "max-topics"); topics != step.topics || source != step.source {
			t.Errorf("%s: %d topics, %s, want %d, %s", step.ask, topics, source, step.topics, step.source)
		}
	}
	if got := sourceNow(r, "loops"); got != "0 default" {
		t.Errorf("a setting that was asked for as it is: %s", got)
	}
	if got := sourceNow(r, "worker-allow"); got != " api" {
		t.Errorf("a list without values: %s", got)
	}
	if got := sourceNow(r, "max-connections"); got != "5 api" {
		t.Errorf("a setting of the command line: %s", got)
	}
	if r.level.Level() != slog.LevelDebug {
		t.Errorf("log level %v", r.level.Level())
	}
	if got := g.Config().MaxRequestRate; got != 0 {
		t.Errorf("the file was read: a rate of %d", got)
	}

	// A reload that fails leaves all of it; one that succeeds ends it.
	write("max-topics = 0\n")
	if _, err := r.reload(); err == nil || !strings.Contains(err.Error(), file+":10:14: ") {
		t.Errorf("a wrong file: %v", err)
	}
	if got := sourceNow(r, "max-topics"); got != "23 api" {
		t.Errorf("after a reload that failed: %s", got)
	}
	write("max-topics = 11\nmax-request-rate = 7\n")
	done, err := r.reload()
	if want := []string{"log-level", "max-connections", "max-request-rate", "max-topics", "worker-allow"}; err != nil || !slices.Equal(done.Changed, want) {
		t.Errorf("%v, %v, want %v", done.Changed, err, want)
	}
	for flag, want := range map[string]string{
		"max-topics": "11 file", "max-connections": "1000 flag", "log-level": "info default", "worker-allow": "10.0.0.0/8 file",
	} {
		if got := sourceNow(r, flag); got != want {
			t.Errorf("after a reload: %s is %s, want %s", flag, got, want)
		}
	}
	for _, want := range []string{
		`msg="changed until the next reload" changed="[log-level max-topics]"`,
		`msg="change refused: these settings cannot change while the gateway runs; all stay as they are" flags="[loops server-id]"`,
		`msg="reload: what operators have set over the API counts no more" flags="[log-level max-connections max-topics worker-allow]"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, log)
		}
	}
}

// TestChangeOfFiles: a change reads the files that it names, and of no others what they have by now.
func TestChangeOfFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := writeFile(t, dir, "first", "first-worker-token-0123456789\n")
	other := writeFile(t, dir, "other", "other-worker-token-0123456789\n")
	r, _ := startReloader(t, []string{
		"serve", "--dev", "--memory", "off", "--listen", "tcp://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0", "--admin", "none", "--worker-token", first,
	})
	writeFile(t, dir, "first", "later-worker-token-0123456789\n")
	for _, step := range []struct {
		flag, value, token string
	}{
		{"max-topics", "9", "first-worker-token-0123456789"},
		{"worker-token", other, "other-worker-token-0123456789"},
		{"worker-token", first, "later-worker-token-0123456789"},
	} {
		if _, err := r.change(map[string]any{step.flag: step.value}); err != nil || !slices.Equal(r.tokens, []string{step.token}) {
			t.Errorf("%s=%s: %v, %v", step.flag, step.value, r.tokens, err)
		}
	}
	if _, err := r.change(map[string]any{"worker-token": filepath.Join(dir, "none")}); err == nil || !strings.HasPrefix(err.Error(), "worker-token: open ") {
		t.Errorf("%v", err)
	}
	var frozen *notLiveError
	if _, err := r.change(map[string]any{"tls-client-ca": other}); err == nil || errors.As(err, &frozen) {
		t.Errorf("%v", err) // the file is looked at first
	}
}

// TestChangeBesideBrokenFiles: a change that names no files does not mind what has become of them.
// One that names some does.
func TestChangeBesideBrokenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, certText := writeSelfSigned(t, dir, "cert", "key")
	tokens := writeFile(t, dir, "tokens", "first-worker-token-0123456789\n")
	r, _ := startReloader(t, []string{
		"serve", "--dev", "--memory", "off", "--listen", "tls://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
		"--worker", "tcp://127.0.0.1:0", "--worker-token", tokens, "--admin", "none",
	})
	change := func(flag, value, says string) {
		t.Helper()
		_, err := r.change(map[string]any{flag: value})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s=%s: %v, want %q", flag, value, err, says)
		}
	}
	writeFile(t, dir, "cert", string(certText[:len(certText)/2]))
	if err := os.Remove(tokens); err != nil {
		t.Fatal(err)
	}
	change("max-topics", "9", "")
	change("worker-token-timeout", "5s", "")
	change("max-topics", "0", "max-topics: 0, want 1 to")
	change("tls-min", "1.3", cert+": cut off")
	change("worker-token", filepath.Join(dir, "none"), "worker-token: open ")
	if got := r.server.Gateway().Config().MaxTopics; got != 9 || !slices.Equal(r.tokens, []string{"first-worker-token-0123456789"}) {
		t.Errorf("%d topics, %q", got, r.tokens)
	}
	if _, err := r.reload(); err == nil || !strings.Contains(err.Error(), cert) {
		t.Errorf("a reload: %v", err)
	}
	writeFile(t, dir, "cert", string(certText))
	writeFile(t, dir, "tokens", "later-worker-token-0123456789\n")
	change("tls-min", "1.3", "")
	if _, err := r.reload(); err != nil || !slices.Equal(r.tokens, []string{"later-worker-token-0123456789"}) {
		t.Errorf("a reload: %q, %v", r.tokens, err)
	}
}

// TestSet: the verb, against a gateway that runs.
func TestSet(t *testing.T) {
	t.Parallel()
	r, _ := startReloader(t, []string{
		"serve", "--dev", "--memory", "off", "--listen", "tcp://127.0.0.1:0", "--worker", "none", "--admin", "127.0.0.1:0",
	})
	for _, tc := range []struct {
		args   string
		code   int
		output string
	}{
		{"set log-level=debug --max-topics=7", exitUsage, "unknown flag --max-topics"},
		{"set log-level=debug limits.max-topics=7", exitOK, "changed  log-level max-topics\n"},
		{"config set max-topics=8", exitOK, "changed  max-topics\n"},
		{"set route=a=1 route=b=2 --json", exitOK, `{"changed":["route"],"login":false}` + "\n"},
		{"set route=", exitOK, "changed  route\n"},
		{"set max-topics=8", exitOK, "nothing has changed\n"},
		{"set --unset max-topics", exitOK, "changed  max-topics\n"},
		{"set loops=3", exitFailed, "settings-refused: cannot change while the gateway runs, so nothing has changed: loops"},
		{"set max-topcs=8", exitFailed, `unknown key "max-topcs"; did you mean "max-topics"?`},
		{"set max-topics=8 --unset max-topics", exitUsage, "--unset max-topics: it is set, too"},
		{"set", exitUsage, "which setting?"},
		{"set max-topics", exitUsage, "want KEY=VALUE"},
		{"set =8", exitUsage, "want KEY=VALUE"},
	} {
		args := strings.Fields(tc.args)
		var out, errs bytes.Buffer
		code := run(append(args, "--admin", r.server.AdminURL()), &out, &errs)
		if code != tc.code || !strings.Contains(out.String()+errs.String(), tc.output) {
			t.Errorf("%s: exit code %d, %s%s", tc.args, code, &out, &errs)
		}
	}
	if got := sourceNow(r, "log-level"); got != "debug api" {
		t.Error(got)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"config", "--running", "--given", "--admin", r.server.AdminURL()}, &out, &errs); code != exitOK ||
		!strings.Contains(out.String(), "the API, until the next reload") {
		t.Errorf("%d: %s%s", code, &out, &errs)
	}
}

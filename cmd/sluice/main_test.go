package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestByteSize(t *testing.T) {
	for _, tc := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"65536", 65536, true}, {"1B", 1, true}, {"64KiB", 64 << 10, true}, {"1MiB", 1 << 20, true},
		{"2GiB", 2 << 30, true}, {"1024GiB", 1 << 40, true},
		{"", 0, false}, {"x", 0, false}, {"-1", 0, false}, {"1.5MiB", 0, false}, {"1MB", 0, false}, {"1025GiB", 0, false},
		{"9223372036854775807GiB", 0, false},
	} {
		var s byteSize
		if err := s.UnmarshalText([]byte(tc.text)); (err == nil) != tc.ok || err == nil && int64(s) != tc.want {
			t.Errorf("%q: %d, %v", tc.text, s, err)
		}
	}
}

func TestFailureRate(t *testing.T) {
	for _, tc := range []struct {
		text string
		want failureRate
		ok   bool
	}{
		{"100/10s", failureRate{100, 10 * time.Second}, true},
		{"5/500ms", failureRate{5, 500 * time.Millisecond}, true},
		{"0", failureRate{Count: -1}, true},
		{"0/1s", failureRate{-1, time.Second}, true},
		{"5", failureRate{}, false}, {"x/1s", failureRate{}, false}, {"5/0s", failureRate{}, false}, {"-5/1s", failureRate{}, false},
	} {
		var r failureRate
		if err := r.UnmarshalText([]byte(tc.text)); (err == nil) != tc.ok || err == nil && r != tc.want {
			t.Errorf("%q: %+v, %v", tc.text, r, err)
		}
	}
}

func TestAutoLimit(t *testing.T) {
	for _, tc := range []struct {
		text string
		want autoLimit
		ok   bool
	}{
		{"auto", 0, true}, {"0", -1, true}, {"1", 1, true}, {"2147483647", 1<<31 - 1, true},
		{"2147483648", 0, false}, {"-1", 0, false}, {"", 0, false}, {"none", 0, false},
	} {
		var l autoLimit
		if err := l.UnmarshalText([]byte(tc.text)); (err == nil) != tc.ok || err == nil && l != tc.want {
			t.Errorf("%q: %d, %v", tc.text, l, err)
		}
	}
}

// TestUsage: what is wrong with flags or files is one line that says what and where, and exit code 2.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		name string
		args []string
		says string
	}{
		{"no command", nil, "sluice serve --dev"},
		{"unknown command", []string{"swerve"}, `unknown command "swerve"; did you mean serve? sluice --help`},
		{"unknown flag", []string{"check", "--dev", "--nope"}, "--nope"},
		{"removed flag", []string{"check", "--dev", "--backlog-soft", "1MiB"}, "--backlog-total"},
		{"removed flag, joined", []string{"serve", "--dev", "--backlog-soft=1MiB"}, "--backlog-soft: this flag was removed"},
		{"removed flag in the config", []string{"check", "--config", file("soft.toml", "dev = true\nbacklog-soft = \"1MiB\"\n")},
			"backlog-soft: this flag was removed"},
		{"bad policy", []string{"check", "--dev", "--slow-consumer", "drop"}, "drop-newest"},
		{"no login", []string{"check"}, "--login"},
		{"unknown login", []string{"check", "--login", "magic"}, "unknown kind: want open"},
		{"token file missing", []string{"check", "--login", "tokens:" + filepath.Join(dir, "none")}, "none"},
		{"token file broken", []string{"check", "--login", "tokens:" + file("tokens", "a b\nonly\n")}, "2"},
		{"bad listen", []string{"check", "--dev", "--listen", "udp://127.0.0.1:1"}, "udp"},
		{"listen without port", []string{"check", "--dev", "--listen", "tcp://127.0.0.1"}, "port"},
		{"listen option", []string{"check", "--dev", "--listen", "tcp://127.0.0.1:0?x=1"}, `"x"`},
		{"listen protocol", []string{"check", "--dev", "--listen", "tcp://127.0.0.1:0?protocol=smtp"}, "smtp"},
		{"bad worker", []string{"check", "--dev", "--worker", "127.0.0.1:6061"}, `--worker: worker "127.0.0.1:6061": want tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH; did you mean tcp://127.0.0.1:6061?`},
		{"listen without a scheme", []string{"check", "--dev", "--listen", "0.0.0.0:7000"}, `--listen: listen "0.0.0.0:7000": want SCHEME://HOST:PORT; did you mean tcp://0.0.0.0:7000?`},
		{"operators over tcp", []string{"check", "--dev", "--admin", "tcp://127.0.0.1:6070"}, `; did you mean http://127.0.0.1:6070?`},
		{"version, and more", []string{"--version", "--nope"}, "unknown flag --nope"},
		{"help on nothing", []string{"help", "nope"}, `unknown command "nope"; sluice --help lists them`},
		{"help, almost", []string{"hlep"}, "did you mean help?"},
		{"another's word", []string{"disconnect", "--user", "ann"}, "did you mean kick?"},
		{"no number", []string{"watch", "news", "--last", "x"}, `watch: --last: want a whole number, not "x"; sluice watch --help`},
		{"no number for an argument", []string{"workers", "x"}, `workers: id: want a whole number, not "x"; sluice workers --help`},
		{"none of the words", []string{"completion", "tcsh"}, `completion: shell: want bash, zsh or fish, not "tcsh"; sluice`},
		{"none of the words of a flag", []string{"conns", "--sort", "nope"}, `conns: --sort: want one of user, since, bytesIn, `},
		{"a word that nobody knows, or a - before it", []string{"topics", "--sort", "nope"}, `topics: --sort: want one of name, subscribers, messages, deliveries or messagesPerSecond, a - before it or not, not "nope"; sluice`},
		{"nothing is a choice, and not said", []string{"conns", "--state", "nope"}, `conns: --state: want opening, login, online or attached, not "nope"; sluice`},
		{"a time without a unit", []string{"drain", "--wait", "5"}, `drain: --wait: "5" is no duration: want a duration such as 500ms, 10s or 20m; sluice drain --help`},
		{"no topic", []string{"publish"}, `publish: want <topic>; sluice publish --help has examples`},
		{"an ID and a user", []string{"kick", "x", "--user", "ann"}, "kick: an ID and --user ID: choose one"},
		{"a session and a user", []string{"session", "x", "--user", "ann"}, "session: an ID and --user ID: choose one"},
		{"a certificate in earnest", []string{"cert", "a.example"}, "cert: want --dev: no certificates are made but self-signed ones"},
		{"bad size", []string{"check", "--dev", "--backlog", "1MB"}, "--backlog"},
		{"bad limit", []string{"check", "--dev", "--limit", "a=1"}, "--limit"},
		{"limit twice", []string{"check", "--dev", "--limit", "a=1@5", "--limit", "a=2@5"}, "--limit: a: given twice"},
		{"limits of one worker", []string{"check", "--dev", "--limit", "a=1@5", "--limit", "b=1@5"}, "--limit: b: worker 1"},
		{"bad route", []string{"check", "--dev", "--route", "chat.*"}, "--route"},
		{"bad metrics", []string{"check", "--dev", "--netsvr-metrics", "0-7"}, "--netsvr-metrics"},
		{"server id", []string{"check", "--dev", "--server-id", "256"}, "server-id"},
		{"session key", []string{"check", "--dev", "--session-key", file("key", "abc")}, "--session-key"},
		{"session key nowhere", []string{"check", "--dev", "--session-key", filepath.Join(dir, "none", "key")}, "--session-key"},
		{"session key below a file", []string{"check", "--dev", "--session-key", file("plain", "") + "/key"}, "--session-key"},
		{"listen proxy", []string{"check", "--dev", "--listen", "tcp://127.0.0.1:0?proxy=yes", "--proxy-trust", "::1"}, "want on or off"},
		{"proxy twice", []string{"check", "--dev", "--listen", "tcp://127.0.0.1:0?proxy=on&proxy=on", "--proxy-trust", "::1"}, "twice"},
		{"proxies untrusted", []string{"check", "--dev", "--listen", "tcp://127.0.0.1:0?proxy=on"}, "--proxy-trust"},
		{"listen protocol twice", []string{"check", "--dev", "--listen", "tcp://127.0.0.1:0?protocol=gosoc&protocol=netsvr"}, "twice"},
		{"custom id in the token", []string{"check", "--dev", "--custom-id-key", "token"}, "--custom-id-key"},
		{"custom id that nobody can say", []string{"check", "--dev", "--custom-id-key", "a=b"}, "--custom-id-key"},
		{"config in a config", []string{"check", "--config", file("in.toml", "dev = true\nconfig = \"x\"\n")}, "config"},
		{"config missing", []string{"check", "--config", filepath.Join(dir, "none.toml")}, "none.toml"},
		{"config syntax", []string{"check", "--config", file("syntax.toml", "dev = \n")}, "syntax.toml:1:6: there is no value behind ="},
		{"config unknown key", []string{"check", "--config", file("key.toml", "dev = true\nlissten = \"x\"\n")}, "lissten"},
		{"config key of another command", []string{"check", "--config", file("other.toml", "dev = true\nquiet = true\n")}, "quiet"},
		{"config table", []string{"check", "--config", file("table.toml", "dev = true\n[listen]\na = 1\n")}, "listen"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(tc.args, &out, &errs); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			text := strings.TrimSuffix(errs.String(), "\n")
			if !strings.Contains(text, tc.says) || strings.Contains(text, "\n") {
				t.Errorf("stderr %q: want one line that says %q", text, tc.says)
			}
		})
	}
}

func TestCheckGood(t *testing.T) {
	config := filepath.Join(t.TempDir(), "sluice.toml")
	text := "dev = true\nlisten = [\"tcp://127.0.0.1:0\", \"ws://127.0.0.1:0\"]\nbacklog = \"2MiB\"\nserver-id = 7\nlogin-failures = \"5/2s\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"check", "--memory", "off", "--config", config}, &out, &errs); code != exitOK || out.String() != "ok\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out.String(), errs.String())
	}
}

func TestVersion(t *testing.T) {
	_, want, _ := sluice("version")
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if code, out, errs := sluice(args...); code != exitOK || !strings.HasPrefix(out, "sluice ") || out != want {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", args, code, out, errs)
		}
	}
}

// TestHelp: help before a command is --help behind it.
func TestHelp(t *testing.T) {
	for _, tc := range [][2][]string{
		{{"help"}, {"--help"}}, {{"help", "help"}, {"--help"}}, {{"help", "set"}, {"set", "--help"}}, {{"help", "serve"}, {"serve", "--help"}},
	} {
		_, want, _ := sluice(tc[1]...)
		if code, out, errs := sluice(tc[0]...); code != exitOK || out != want || len(out) < 200 {
			t.Errorf("%q: exit code %d, stdout %.100q, stderr %q", tc[0], code, out, errs)
		}
	}
}

// TestConfigOfNothing: who has given nothing yet is shown what there is.
func TestConfigOfNothing(t *testing.T) {
	code, out, errs := sluice("config")
	if code != exitOK || !strings.Contains(out, "\nadmin.listen ") || !strings.Contains(errs, "--login is not there") {
		t.Errorf("exit code %d, stdout %.100q, stderr %q", code, out, errs)
	}
	if code, out, _ := sluice("config", "--json"); code != exitOK || !strings.HasPrefix(out, `{"config":[{"name":"config"`) {
		t.Errorf("exit code %d, %.100q", code, out)
	}
}

// TestHelpSaysDefaults: where a word stands for a flag's value, its help says the default.
func TestHelpSaysDefaults(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"conns":  "How many at most, 0 for all. Default: 100.",
		"health": "Default: http://127.0.0.1:6070 ($SLUICE_ADMIN).",
		"cert":   "File to write the certificate to. Default: cert.pem.",
		"kick":   "Default: forced-offline.",
		"serve":  "Default: auto.", // of --memory
	} {
		code, out, errs := sluice(args, "--help")
		if text := strings.Join(strings.Fields(out), " "); code != 0 || errs != "" || !strings.Contains(text, want) {
			t.Errorf("%s --help: exit code %d, stderr %q, and not %q", args, code, errs, want)
		}
	}
}

// TestBusyPort: what cannot be listened on is told with the flag, wherever it was given.
func TestBusyPort(t *testing.T) {
	t.Setenv("GOMAXPROCS", "2") // which serve leaves alone then
	t.Setenv("GOGC", "100")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := l.Addr().String()
	file := writeFile(t, t.TempDir(), "sluice.toml", "dev = true\nlisten = [\"tcp://127.0.0.1:0\", \"tcp://"+busy+"\"]\nworker = \"none\"\nadmin = \"none\"\n")
	free := []string{"serve", "--dev", "--listen", "tcp://127.0.0.1:0", "--worker", "none", "--admin", "none", "--memory", "off"}
	for at, args := range map[string][]string{
		"--worker: ":             append(free, "--worker", "tcp://"+busy),
		"--admin: ":              append(free, "--admin", busy),
		file + ":2:32: listen: ": {"serve", "--config", file, "--memory", "off"},
		"--listen: ":             append(free, "--listen", "tcp://"+busy),
	} {
		code, out, errs := sluice(args...)
		if want := "sluice: " + at + "listen tcp " + busy + ": bind: address already in use: another process has it, perhaps another gateway; port 0 is one that is free\n"; code != exitFailed || out != "" || !strings.HasSuffix(errs, want) {
			t.Errorf("exit code %d, %q, %q, want %q", code, out, errs, want)
		}
	}
}

// TestOpenToAll: an open login that other machines reach is warned of, and only that.
func TestOpenToAll(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		warn string
	}{
		{[]string{"--dev", "--listen", "tcp://0.0.0.0:17777"}, "tcp://0.0.0.0:17777"},
		{[]string{"--login", "open", "--listen", "tcp://127.0.0.1:1", "--listen", "ws://[::]:17777?protocol=gosoc"}, "ws://[::]:17777"},
		{[]string{"--login", "open", "--listen", "tcp://:17777"}, "tcp://:17777"},
		{[]string{"--dev"}, ""},
		{[]string{"--dev", "--listen", "tcp://localhost:1", "--listen", "tcp://[::1]:1", "--listen", "unix:///run/s"}, ""},
		{[]string{"--dev", "--login", "otp", "--listen", "tcp://0.0.0.0:17777"}, ""},
	} {
		code, lines := checked("", tc.args...)
		switch {
		case code != exitOK:
			t.Errorf("%q: exit code %d, %q", tc.args, code, lines)
		case tc.warn == "" && len(lines) > 0:
			t.Errorf("%q: %q", tc.args, lines)
		case tc.warn != "" && (len(lines) != 1 || !strings.HasPrefix(lines[0], "warning: login is open, and other machines reach --listen "+tc.warn)):
			t.Errorf("%q: %q", tc.args, lines)
		}
	}
}

// TestPlainLogin: a login provider that asks another machine without TLS is warned of, and only
// that; the host is told, and no secret of the URL.
func TestPlainLogin(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ login, warn string }{
		{"http://me:hunter22@auth.example/x?key=hunter22", "--login http: tokens go to auth.example without TLS, and verdicts come back: "},
		{"http:http://192.0.2.1:81/x", "--login http: tokens go to 192.0.2.1:81 without TLS"},
		{"jwt:aud=chat,jwks=http://192.0.2.1/keys", "--login jwt: the keys come from 192.0.2.1 without TLS: "},
		{"https://auth.example/x", ""},
		{"http://127.0.0.1:1/x", ""},
		{"http://localhost:1/x", ""},
		{"jwt:jwks=http://[::1]:1/keys", ""},
		{"otp", ""},
	} {
		code, lines := checked("", "--login", tc.login)
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "on the command line") })
		switch {
		case code != exitOK:
			t.Errorf("%q: exit code %d, %q", tc.login, code, lines)
		case tc.warn == "" && len(lines) > 0:
			t.Errorf("%q: %q", tc.login, lines)
		case tc.warn != "" && (len(lines) != 1 || !strings.HasPrefix(lines[0], "warning: "+tc.warn) || strings.Contains(lines[0], "hunter22")):
			t.Errorf("%q: %q", tc.login, lines)
		}
	}
}

// socketFile makes a file that no file may take the place of.
func socketFile(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return name
}

// TestBadValues: each flag refuses what it cannot take, on one line that has its name and what it
// wants. A flag that takes anything is in the list with no bad value.
func TestBadValues(t *testing.T) {
	dir := t.TempDir()
	sock := socketFile(t, filepath.Join(dir, "sock"))
	tested := make(map[string]bool)
	size := []string{"0 want 1 to", "-1 not a size", "1MB not a size", "1.5MiB not a size", "9999999GiB not a size"}
	big := append(size, "3GiB want 1 to 2147483647")
	auto := []string{"-1 want auto, or 0 to 2147483647", "x want auto", "3000000000 want auto"}
	count := []string{"-1 want 0 to", "3000000000 want 0 to 2147483647", "x whole number"}
	least1 := []string{"0 want 1 to 1073741824", "-1 want 1 to", "2000000000 want 1 to 1073741824"}
	times := []string{"0s want 1ms to 8760h0m0s", "-1s want 1ms to", "9000h want 1ms to", "5 duration", "x duration"}
	orNone := []string{"-1s want 0s to 8760h0m0s", "9000h want 0s to", "5 duration"}
	port := []string{"127.0.0.1:70000 want 0 to 65535", "localhost want HOST:PORT", "127.0.0.1:x want 0 to"}
	for flag, values := range map[string][]string{
		"config":  {dir + " is a directory", filepath.Join(dir, "none") + " no such file", "/dev/zero device"},
		"dev":     {"maybe neither true nor false"},
		"listen":  {"tcp://127.0.0.1:70000 want 0 to 65535", "udp://127.0.0.1:1 want tcp://", "tcp://127.0.0.1 no port", "tcp://127.0.0.1:-1 invalid port"},
		"worker":  {"tcp://127.0.0.1:70000 want 0 to 65535", "127.0.0.1:1 want tcp://", "tcp://127.0.0.1:7000 --listen has already"},
		"admin":   append(port, "127.0.0.1:7000 --listen has already", "127.0.0.1:6061 --worker has already"),
		"api-key": {"a\tb blanks"}, "api-key-file": {dir + " is a directory"},
		"ports-file":      {dir + " is a directory", sock + " is a device, a socket or a pipe", filepath.Join(dir, "none", "ports") + " no such file"},
		"max-connections": count,
		"connect-rate":    count,
		"max-packet-rate": count,
		"max-byte-rate":   {"-1 not a size", "3GiB want 0 to 2147483647"},

		"max-connections-per-address": auto, "connect-rate-per-address": auto,
		"max-handshakes": {"0 want 1 to 1048576", "x whole number"}, "tls-handshake-timeout": times, "gosoc-tls-records": {"x must be one of"},
		"proxy-trust":     {"10.0.0.0/33 no network", "proxy.example no network", " no network"},
		"forwarded-trust": {"10.0.0.0/33 no network", "10.0.0.1,10.0.0.2 no network", " no network"},
		"proxy-timeout":   times, "forwarded-header": {"x-real-ip must be one of"},
		"tls-cert": {"x 1 files, and 0 of --tls-key"}, "tls-key": {"x 1 files, and 0 of --tls-cert"}, "tls-min": {"1.1 must be one of"},
		"tls-client-ca": {"x no --listen uses TLS"}, "worker-client-ca": {"x want --worker tls://"},
		"tls-auto": {"a.example no --listen uses TLS"}, "tls-auto-cache": {"x want --tls-auto HOST"},
		"tls-auto-email": {"x want --tls-auto HOST"}, "tls-auto-directory": {"x want --tls-auto HOST"},
		"max-refusals":          {"-1 want 0 to 65536", "70000 want 0 to 65536", "x whole number"},
		"max-admin-connections": count,
		"login":                 {"magic unknown kind", "tokens:" + dir + " is a directory"},
		"login-timeout":         times,
		"login-ban-max":         times,
		"close-timeout":         times,
		"max-login-bytes":       {"-1 not a size", "1 want 1024 to 1073741824", "3GiB want 1024 to 1073741824"},
		"max-topics-total":      {"0 want 1 to 1073741824", "x whole number"},
		"max-sessions-per-user": {"-1 want 0 to 1073741824", "x whole number"},
		"max-sessions":          {"0 want 1 to 1073741824", "x whole number"},
		"user-failures":         {"-1/1s want N/DURATION", "5 want N/DURATION", "5/0s want N/DURATION"},
		"login-failures":        {"-1/1s want N/DURATION", "5 want N/DURATION", "5/0s want N/DURATION"},
		"server-id":             {"256 want 0 to 255", "-1 want 0 to 255"},
		"session-ttl":           times, "session-max": orNone, "revoke": {"x must be one of"},
		"session-bytes": slices.Concat(big, []string{"128MiB --session-total"}), "session-total": size,
		"session-journal": {filepath.Join(dir, "j") + " want --session-key"},
		"session-key":     {dir + " is a directory"},
		"memory":          {"1MiB want at least 64MiB, auto or off", "1MB want a size", "-1 want a size", "some want a size"},
		"backlog":         slices.Concat(big, []string{"512MiB --backlog-total"}), "lag": big, "lag-age": orNone,
		"slow-consumer": {"drop must be one of"}, "backlog-total": append(size, "1000 --backlog-total"), "send-buffer": big,
		"max-packet": big, "max-inflated": big, "packet-timeout": orNone, "request-timeout": times,
		"max-pending": least1, "max-pending-bytes": size, "max-topics": least1, "max-topic-bytes": size,
		"max-request-rate": {"-1 want 0 to 1000000", "1000001 want 0 to 1000000"},
		"max-topic-name":   {"0 want 1 to 1048576", "2MiB want 1 to 1048576", "-1 not a size"},
		"route":            {"chat.* want PATTERN=ID", "a=1000 want 1 to 999", "a=0 want 1 to 999", "a*b=1 one * at the end", "cmd:9-1=1 want cmd:N"},
		"limit":            {"a=1 no rate", "a=1@0 rate", "a=1000@5 worker ids"},
		"open-worker":      {"1000 want 0 to 999", "-1 want 0 to 999"}, "close-worker": {"1000 want 0 to 999", "-1 want 0 to 999"},
		"worker-frame-rate": {"-1 want 0 to", "x whole number"}, "worker-byte-rate": {"-1 not a size", "1KiB want 65536 at least"},
		"worker-token":         {dir + " is a directory", filepath.Join(dir, "none") + " no such file", "/dev/null device"},
		"worker-allow":         {"10.0.0.0/33 no network", "localhost no network", " no network"},
		"worker-token-timeout": times, "worker-unproven": {"0 want 1 to 65536", "70000 want 1 to 65536", "x whole number"},
		"worker-idle": times, "worker-first-byte": times, "worker-write-timeout": times,
		"worker-max-packet": big, "worker-queue": big, "worker-delayed": big, "max-worker-links": count,
		"netsvr-metrics": {"0-7 want numbers from 0 to 6"}, "ws-max-head": {"1 want 1024 to 65536", "1MiB want 1024 to 65536"},
		"ws-max-headers": {"0 want 1 to"}, "ws-max-fragments": {"0 want 1 to"},
		"max-keep-alive": orNone, "push-route": {" want a route", strings.Repeat("x", 256) + " want a route"},
		"max-logins": {"0 want 1 to 16384", "16385 want 1 to 16384", "x whole number"}, "max-token-logins": count,
		"max-login-metadata": {"0 want 1 to 65536"}, "max-session-text": {"0 want 1 to"}, "session-from": {"x must be one of"},
		"admin-token": {"/nonexistent no such file", "/dev/null want a file"},
		"token-users": {"x only with --login otp"}, "token-skew": {"0s want 1s to", "-1s want 1s to", "x duration"},
		"ws-deflate-min": {"0 want 1 to"}, "gosoc-logins": {"x must be one of"},
		"gosoc-bad-token": {"5 want 6 or 3"}, "netsvr-login": {"x must be one of"}, "netsvr-path": {" want a path"},
		"allow-origin": {"a,b want HOST"}, "ws-subprotocol": {"a,b want a name"},
		"client-idle": times, "client-max-message": big, "guest-max-fragments": {"-1 not a size", "3GiB want 0 to 2147483647"},
		"push-opcode": {"x must be one of"}, "custom-id-ttl": times, "heartbeat-timeout": times,
		"user-limit": count, "push-cmd": {"0 want 4 to 255", "3 want 4 to 255", "256 want 4 to 255"},
		"gap-cmd": {"3 want 4 to 255", "256 want 4 to 255"}, "history-total": {"1KiB want 65536 to", "x not a size"},
		"history-max-topics": {"-1 want 0 to 16777216", "20000000 want 0 to", "x whole number"},
		"history": {
			"a there is no =", "a=5 there is no comma", "a=x,1s no number", "a=5,1 no time", "a=5,0s want 1ms", "a*b=5,1s one * at the end",
			"=5,1s the pattern is empty", "a=-1,1s want 0",
		},
		"cluster": {
			"127.0.0.1:4222 did you mean nats://127.0.0.1:4222?", "http://x want nats://", "nats:// want nats://", "nats://x:99999 want 1 to",
			"nats://x,y want nats://", " want nats://", "nats://x/y want nats://",
		},
		"cluster-name": {"A want 1 to 32", "x no --cluster"}, "cluster-address": {"x no --cluster"}, "cluster-creds": {"x no --cluster"},
		"cluster-nkey": {"x no --cluster"}, "cluster-ca": {"x no --cluster"}, "cluster-cert": {"x no --cluster"},
		"cluster-history-total":   {"1KiB want 1048576", "1MiB no --cluster", "x not a size"},
		"cluster-history-storage": {"disk must be one of", "file no --cluster"},
		"history-wait":            {"1ms want 1s to", "1h want 1s to", "20s no --cluster", "x"},
		"cluster-key":             {"x no --cluster"}, "cluster-replicas": {"3 no --cluster", "-1 want 0 to 5", "6 want 0 to 5"},
		"longbridge-gzip": {"-1 not a size", "3GiB want 0 to 2147483647"}, "max-inflate-rate": {"-1 not a size", "3GiB want 0 to 2147483647"},
		"max-gzip-members": least1, "wait-workers": orNone,
		"loops": {"99999 want 0 to 256", "-1 want 0 to 256", "257 want 0 to 256", "x whole number"},
		"drain": orNone, "stall-timeout": {"0s want 100ms to", "-1s want 100ms to"},
		"access-log":   {dir + " is a directory", filepath.Join(dir, "none", "log") + " no such file", sock + " socket"},
		"otlp":         {"127.0.0.1:4318 want http://", "ftp://x want http://", "http:// want http://", "http://x:0 want http://", "http://x:99999 want http://"},
		"trace-sample": {"2 want auto, or 0 to 1", "-1 want auto", "NaN want auto", "x want auto"}, "trace-asked": {"-1 want 0 to 1000000", "x whole number"},
		"log-level": {"loud want debug, info, warn or error"}, "log-format": {"xml must be one of"},
	} {
		for _, v := range values {
			value, says, _ := strings.Cut(v, " ")
			var out, errs bytes.Buffer
			code := run([]string{"check", "--dev", "--" + flag + "=" + value}, &out, &errs)
			text := strings.TrimSuffix(errs.String(), "\n")
			if code != exitUsage || !strings.Contains(text, says) || !strings.Contains(text, "--"+flag) && flag != "backlog-total" && flag != "dev" ||
				strings.Contains(text, "\n") {
				t.Errorf("--%s=%s: exit code %d, stderr %q, want one line with the flag and %q", flag, value, code, text, says)
			}
		}
		tested[flag] = true
	}
	free := []string{"help", "longbridge-close-notice", "route-ignore-case", "custom-id-key", "backlog-soft", "probe"}
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range parser.Model.Children {
		for _, f := range cmd.Flags {
			if cmd.Name == "check" && !tested[f.Name] && !slices.Contains(free, f.Name) && !f.IsBool() && !f.Hidden {
				t.Errorf("--%s: no bad value is tried", f.Name)
			}
		}
	}
}

// TestEdges: what is just within the bounds would do.
func TestEdges(t *testing.T) {
	for _, flag := range []string{"--loops=256", "--loops=0", "--lag=2147483647", "--lag-age=0s", "--max-keep-alive=0s", "--packet-timeout=0s",
		"--user-limit=0", "--guest-max-fragments=0", "--login-failures=0", "--max-connections=0", "--drain=0s", "--server-id=255",
		"--push-cmd=255", "--open-worker=999", "--max-worker-links=0", "--admin=none", "--worker=none", "--backlog=256MiB",
		"--listen=tcp://127.0.0.1:65535", "--log-level=warn+1"} {
		var out, errs bytes.Buffer
		if code := run([]string{"check", "--dev", flag}, &out, &errs); code != exitOK {
			t.Errorf("%s: exit code %d, stderr %q", flag, code, errs.String())
		}
	}
}

// TestRoutesShadowed: a route that can never match is a mistake, not a setting without effect.
func TestRoutesShadowed(t *testing.T) {
	var out, errs bytes.Buffer
	code := run([]string{"check", "--dev", "--route", "chat.*=2", "--route", "chat.Add=3"}, &out, &errs)
	if want := `--route: route "chat.Add" never matches: "chat.*" before it takes all of it`; code != exitUsage || !strings.Contains(errs.String(), want) {
		t.Errorf("exit code %d, stderr %q, want %q", code, errs.String(), want)
	}
}

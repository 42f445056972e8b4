package main

import (
	"bytes"
	"os"
	"path/filepath"
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
		{"no command", nil, "expected"},
		{"unknown command", []string{"swerve"}, "swerve"},
		{"unknown flag", []string{"check", "--nope"}, "--nope"},
		{"removed flag", []string{"check", "--dev", "--backlog-soft", "1MiB"}, "--backlog-total"},
		{"removed flag, joined", []string{"serve", "--dev", "--backlog-soft=1MiB"}, "--backlog-soft: this flag was removed"},
		{"removed flag in the config", []string{"check", "--config", file("soft.toml", "dev = true\nbacklog-soft = \"1MiB\"\n")},
			"--backlog-soft: this flag was removed"},
		{"bad policy", []string{"check", "--dev", "--slow-consumer", "drop"}, "drop-newest"},
		{"no login", []string{"check"}, "--login"},
		{"unknown login", []string{"check", "--login", "magic"}, "magic"},
		{"token file missing", []string{"check", "--login", "tokens:" + filepath.Join(dir, "none")}, "none"},
		{"token file broken", []string{"check", "--login", "tokens:" + file("tokens", "a b\nonly\n")}, "2"},
		{"bad listen", []string{"check", "--dev", "--listen", "udp://127.0.0.1:1"}, "udp"},
		{"listen without port", []string{"check", "--dev", "--listen", "tcp://127.0.0.1"}, "port"},
		{"listen option", []string{"check", "--dev", "--listen", "tcp://127.0.0.1:0?x=1"}, `"x"`},
		{"listen protocol", []string{"check", "--dev", "--listen", "tcp://127.0.0.1:0?protocol=smtp"}, "smtp"},
		{"bad worker", []string{"check", "--dev", "--worker", "127.0.0.1:6061"}, "tcp://"},
		{"bad size", []string{"check", "--dev", "--backlog", "1MB"}, "--backlog"},
		{"bad limit", []string{"check", "--dev", "--limit", "a=1"}, "--limit"},
		{"limit twice", []string{"check", "--dev", "--limit", "a=1@5", "--limit", "a=2@5"}, "twice"},
		{"bad route", []string{"check", "--dev", "--route", "chat.*"}, "--route"},
		{"bad metrics", []string{"check", "--dev", "--netsvr-metrics", "0-7"}, "--netsvr-metrics"},
		{"server id", []string{"check", "--dev", "--server-id", "256"}, "server-id"},
		{"session key", []string{"check", "--dev", "--session-key", file("key", "abc")}, "--session-key"},
		{"config missing", []string{"check", "--config", filepath.Join(dir, "none.toml")}, "none.toml"},
		{"config syntax", []string{"check", "--config", file("syntax.toml", "dev = \n")}, "toml"},
		{"config unknown key", []string{"check", "--config", file("key.toml", "dev = true\nlissten = \"x\"\n")}, "lissten"},
		{"config key of another command", []string{"check", "--config", file("other.toml", "dev = true\nquiet = true\n")}, "quiet"},
		{"config table", []string{"check", "--config", file("table.toml", "[listen]\na = 1\n")}, "listen"},
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
	if code := run([]string{"check", "--config", config}, &out, &errs); code != exitOK || out.String() != "ok\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out.String(), errs.String())
	}
}

func TestVersion(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"version"}, &out, &errs); code != exitOK || !strings.HasPrefix(out.String(), "sluice ") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out.String(), errs.String())
	}
}

// TestBounds: what a Config would take for its default, or cut, is refused by name.
func TestBounds(t *testing.T) {
	for _, tc := range []struct{ flag, says string }{
		{"--backlog=0", "--backlog: 0, want 1 or more"},
		{"--lag=0", "--lag: 0, want 1 or more"},
		{"--lag=8GiB", "--lag: 8589934592, want 2147483647 or less"},
		{"--lag-age=-1s", "--lag-age: -1s, want 0s or more"},
		{"--backlog-total=0", "--backlog-total: 0"},
		{"--max-packet=0", "--max-packet: 0"},
		{"--max-pending=0", "--max-pending: 0"},
		{"--max-connections=-3", "--max-connections: -3, want 0 or more"},
		{"--session-ttl=0s", "--session-ttl: 0s, want 1ms or more"},
		{"--session-total=0", "--session-total: 0"},
		{"--max-worker-links=0", "--max-worker-links: 0"},
		{"--worker-links=100", "--max-worker-links"},
		{"--ws-max-head=1000", "--ws-max-head: 1000, want 1024 or more"},
		{"--ws-max-head=65KiB", "--ws-max-head: 66560, want 65536 or less"},
		{"--ws-max-headers=0", "--ws-max-headers: 0"},
		{"--ws-max-fragments=-1", "--ws-max-fragments: -1"},
		{"--netsvr-path=", "--netsvr-path"},
		{"--netsvr-path=netsvr", "--netsvr-path"},
		{"--netsvr-path=/gosoc", "--netsvr-path"},
		{"--worker-delayed=0", "--worker-delayed: 0"},
		{"--loops=300", "--loops: 300, want 256 or less"},
		{"--drain=-1s", "--drain: -1s"},
		{"--push-cmd=0", "--push-cmd: 0"},
		{"--push-route=", "--push-route: want a route"},
		{"--max-keep-alive=-1s", "--max-keep-alive: -1s"},
	} {
		var out, errs bytes.Buffer
		if code := run([]string{"check", "--dev", tc.flag}, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), tc.says) {
			t.Errorf("%s: exit code %d, stderr %q, want %q in it", tc.flag, code, errs.String(), tc.says)
		}
	}
	for _, flag := range []string{"--loops=256", "--lag=2147483647", "--lag-age=0s", "--max-keep-alive=0s", "--packet-timeout=0s",
		"--user-limit=0", "--guest-max-fragments=0", "--login-failures=0", "--max-connections=0", "--drain=0s"} {
		var out, errs bytes.Buffer
		if code := run([]string{"check", "--dev", flag}, &out, &errs); code != exitOK {
			t.Errorf("%s: exit code %d, stderr %q", flag, code, errs.String())
		}
	}
}

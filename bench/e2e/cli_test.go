package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// run runs the program to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), gatewayBinary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return code, out.String(), errs.String()
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Bad flags and files: exit code 2 and one line that says what and where.
func TestUsageErrors(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"no login", nil, "--login"},
		{"unknown flag", []string{"--dev", "--no-such-flag"}, "no-such-flag"},
		{"a word too many", []string{"--dev", "word"}, "word"},
		{"login of an unknown kind", []string{"--login", "magic"}, "login: unknown kind: want open"},
		{"tokens without a file", []string{"--login", "tokens:"}, "tokens"},
		{"tokens file missing", []string{"--login", "tokens:" + missing}, missing},
		{"tokens file broken", []string{"--login", "tokens:" + file(t, "tokens", "good user\nonly-a-token\n")}, "2"},
		{"tokens file empty", []string{"--login", "tokens:" + file(t, "tokens", "")}, "tokens"},
		{"listen without a port", []string{"--dev", "--listen", "tcp://127.0.0.1"}, "127.0.0.1"},
		{"listen of an unknown scheme", []string{"--dev", "--listen", "udp://127.0.0.1:1"}, "udp"},
		{"listen with an unknown option", []string{"--dev", "--listen", "tcp://127.0.0.1:0?proto=gosoc"}, "proto"},
		{"listen for an unknown protocol", []string{"--dev", "--listen", "tcp://127.0.0.1:0?protocol=mqtt"}, "mqtt"},
		{"listen of nonsense", []string{"--dev", "--listen", "::::"}, "::::"},
		{"origin that is no host", []string{"--dev", "--allow-origin", "*"}, "--allow-origin"},
		{"sub-protocol with a space", []string{"--dev", "--ws-subprotocol", "a b"}, "--ws-subprotocol"},
		{"server id 256", []string{"--dev", "--server-id", "256"}, "server-id"},
		{"server id -1", []string{"--dev", "--server-id=-1"}, "server-id"},
		{"size without a number", []string{"--dev", "--backlog", "much"}, "backlog"},
		{"size below zero", []string{"--dev", "--max-packet=-1"}, "max-packet"},
		{"size of an unknown unit", []string{"--dev", "--max-inflated", "4MB"}, "max-inflated"},
		{"time without a unit", []string{"--dev", "--login-timeout", "10"}, "login-timeout"},
		{"rate without a time", []string{"--dev", "--login-failures", "5"}, "login-failures"},
		{"rate in no time", []string{"--dev", "--login-failures", "5/0s"}, "login-failures"},
		{"rate below zero", []string{"--dev", "--login-failures=-5/1s"}, "login-failures"},
		{"policy unknown", []string{"--dev", "--slow-consumer", "wait"}, "slow-consumer"},
		{"log level unknown", []string{"--dev", "--log-level", "loud"}, "log-level"},
		{"config missing", []string{"--dev", "--config", missing}, missing},
		{"config is no TOML", []string{"--dev", "--config", file(t, "c.toml", "= 1\n")}, "c.toml"},
		{"config with an unknown key", []string{"--config", file(t, "c.toml", "dev = true\nno-such-key = 1\n")}, "no-such-key"},
		{"config with a bad value", []string{"--config", file(t, "c.toml", "dev = true\nbacklog = \"much\"\n")}, "backlog"},
		{"config with a table", []string{"--config", file(t, "c.toml", "dev = true\n[backlog]\nsize = 1\n")}, "backlog"},
		{"session key is no key", []string{"--dev", "--session-key", file(t, "key", "short\n")}, "session-key"},
		{"session key nowhere", []string{"--dev", "--session-key", filepath.Join(missing, "key")}, "session-key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, command := range []string{"serve", "check"} {
				if command == "check" && tt.name == "session key nowhere" {
					continue // it makes no files, so it cannot know
				}
				// Port 0 everywhere, in case the gateway should start after all.
				args := []string{command}
				if !strings.Contains(strings.Join(tt.args, " "), "--listen") {
					args = append(args, "--listen", "tcp://127.0.0.1:0")
				}
				args = append(args, "--worker", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0")
				code, stdout, stderr := run(t, append(args, tt.args...)...)
				line := strings.TrimSuffix(stderr, "\n")
				if code != 2 || stdout != "" || line == "" || strings.Contains(line, "\n") || !strings.Contains(line, tt.says) {
					t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 2 and one line with %q", command, code, stdout, stderr, tt.says)
				}
			}
		})
	}
	t.Run("no command", func(t *testing.T) {
		if code, _, stderr := run(t); code != 2 || stderr == "" {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
	})
	t.Run("unknown command", func(t *testing.T) {
		if code, _, stderr := run(t, "dance"); code != 2 || !strings.Contains(stderr, "dance") {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
	})
}

// An address that is taken is no usage error.
func TestAddressInUse(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	code, _, stderr := run(t, "serve", "--dev", "--listen", "tcp://"+p.addr, "--worker", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0")
	stderr = withoutPauseWarning(stderr)
	if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, p.addr) {
		t.Errorf("exit code %d, stderr %q; want 1 and a line with %s", code, stderr, p.addr)
	}
	p.wantServing(t)
}

// withoutPauseWarning takes out what a gateway that cannot pause reading says of it.
func withoutPauseWarning(log string) string {
	if !unpaused {
		return log
	}
	var rest strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "reading cannot be paused") {
			rest.WriteString(line)
		}
	}
	return rest.String()
}

func TestPortsFile(t *testing.T) {
	p := startServe(t, "--dev", "--listen", "tcp://127.0.0.1:0", "--listen", "tcp://[::1]:0?protocol=gosoc")
	var ports struct {
		Listen []string `json:"listen"`
	}
	if err := json.Unmarshal(p.ports, &ports); err != nil {
		t.Fatalf("%q: %v", p.ports, err)
	}
	if len(ports.Listen) != 2 {
		t.Fatalf("%q, want two addresses", ports.Listen)
	}
	for i, host := range []string{"127.0.0.1", "::1"} {
		u, err := url.Parse(ports.Listen[i])
		if err != nil || u.Scheme != "tcp" || u.Hostname() != host || u.Port() == "" || u.Port() == "0" {
			t.Errorf("address %d is %q, %v", i, ports.Listen[i], err)
			continue
		}
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Error(err)
			continue
		}
		_ = conn.Close()
		if !strings.Contains(p.stderr.String(), u.Host) {
			t.Errorf("the ready line does not say %s\n%s", u.Host, p.stderr)
		}
	}
	if n := strings.Count(p.stderr.String(), "ready"); n != 1 {
		t.Errorf("%d ready lines, want 1\n%s", n, p.stderr)
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := run(t, "version")
	if code != 0 || stderr != "" || !regexp.MustCompile(`^sluice \S+ go1\.\d+\S* linux/\w+\n$`).MatchString(stdout) {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"check", "--help"}} {
		code, stdout, stderr := run(t, args...)
		if code != 0 || !strings.Contains(stdout, "Usage: sluice") || stderr != "" {
			t.Errorf("%q: exit code %d, stderr %q, stdout %.100q", args, code, stderr, stdout)
		}
	}
}

func TestCheck(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	for _, args := range [][]string{
		{"--dev"},
		{"--login", "open"},
		{"--login", "tokens:" + tokensFile(t, "a b")},
		{"--dev", "--listen", "tcp://127.0.0.1:1", "--listen", "tcp://127.0.0.1:2?protocol=auto"},
		{"--dev", "--session-key", key},
		{"--config", file(t, "c.toml", "dev = true\nbacklog = \"2MiB\"\nlisten = [\"tcp://127.0.0.1:0\"]\nloops = 1\n")},
	} {
		if code, _, stderr := run(t, append([]string{"check"}, args...)...); code != 0 || stderr != "" {
			t.Errorf("%q: exit code %d, stderr %q", args, code, stderr)
		}
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("check has made a session key")
	}
}

// Flags from a file count, and those on the command line more.
func TestConfigFile(t *testing.T) {
	config := file(t, "sluice.toml", `
dev = true
listen = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"]
server-id = 18
max-packet = "1KiB"
loops = 1
`)
	p := startServe(t, "--config", config, "--server-id", "52")
	var ports struct {
		Listen []string `json:"listen"`
	}
	if err := json.Unmarshal(p.ports, &ports); err != nil || len(ports.Listen) != 2 {
		t.Errorf("ports %q, %v, want two listeners", p.ports, err)
	}
	c := p.login(t, modes[0], "")
	if id := c.whoami().UniqID; !strings.HasPrefix(id, "34") {
		t.Errorf("uniqId %q, want one of server 52", id)
	}
	c.wantClosedAtOnce(c.mode.header(sendReq, 2, 1025))
}

func TestSessionKeyFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	startDev(t, "--session-key", name).stop()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, want 0600", info.Mode().Perm())
	}
	before, _ := os.ReadFile(name)
	startDev(t, "--session-key", name).stop()
	after, _ := os.ReadFile(name)
	if len(before) == 0 || !bytes.Equal(before, after) {
		t.Error("the key has changed at the second start")
	}
}

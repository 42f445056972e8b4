package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/server"
)

// writeFile writes a file into a directory and returns its name.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeSelfSigned writes a new certificate and its key into files of dir, whose paths it returns, and
// the certificate's text.
func writeSelfSigned(t *testing.T, dir, certName, keyName string) (cert, key string, text []byte) {
	t.Helper()
	text, keyText, err := server.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, dir, certName, string(text)), writeFile(t, dir, keyName, string(keyText)), text
}

// checked runs check and returns its exit code and the lines of standard error, where NAME stands for
// the file of settings.
func checked(file string, args ...string) (code int, lines []string) {
	var out, errs bytes.Buffer
	if file != "" {
		args = append(args, "--config", file)
	}
	code = run(append([]string{"check"}, args...), &out, &errs)
	text := errs.String()
	if file != "" {
		text = strings.ReplaceAll(text, file, "NAME")
	}
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "sluice: "))
	}
	return code, lines
}

// TestWrongFiles: each mistake in a file is told with its line and column, and with what is nearest to
// it.
func TestWrongFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := writeFile(t, dir, "empty", "")
	short := writeFile(t, dir, "short", "read abc\n")
	nonsense := writeFile(t, dir, "nonsense", "-----BEGIN NOTHING-----\n")
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "dev = true\nmax-conections = 5\n", []string{`NAME:2:1: unknown key "max-conections"; did you mean "max-connections"?`}},
		{"underscores", "dev = true\nmax_connections = 5\n", []string{`NAME:2:1: unknown key "max_connections"; did you mean "max-connections"?`}},
		{"unknown key, nothing near", "dev = true\ncolour = 5\n", []string{`NAME:2:1: unknown key "colour"`}},
		{"unknown key in a table", "dev = true\n\n[limits]\n  max-topcs = 5\n", []string{`NAME:4:3: unknown key "max-topcs" in [limits]; did you mean "max-topics"?`}},
		{"a flag's name in its table", "dev = true\n[log]\nlog-level = \"info\"\n", []string{`NAME:3:1: unknown key "log-level" in [log]; did you mean "level"?`}},
		{"a key in another table", "dev = true\n[tls]\nmax-connections = 5\n",
			[]string{`NAME:3:1: unknown key "max-connections" in [tls]; did you mean "max-connections" in [limits]?`}},
		{"a key of no table in one", "[tls]\ndev = true\n",
			[]string{`NAME:2:1: unknown key "dev" in [tls]; did you mean "dev" before the first table?`}},
		{"unknown table", "dev = true\n[limit]\nmax-topics = 5\nlag = 3\n", []string{`NAME:2:2: limit is no table: want a value, NAME=IDS@RATE; did you mean [limits]?`}},
		{"unknown table, nothing like it", "dev = true\n[lgo]\nlevel = 5\n", []string{`NAME:2:2: unknown table "lgo"; did you mean [log]?`}},
		{"a table for a value", "dev = true\n[listen]\na = 1\n", []string{`NAME:2:2: listen is no table: want a value, a text`}},
		{"a value for a table", "dev = true\ntls = 3\n", []string{`NAME:2:1: tls is a table, and has no value: want [tls], and its keys below it`}},
		{"a list of tables", "dev = true\n[[tls]]\ncert = []\n", []string{`NAME:2:3: there is one table tls, not a list of them; did you mean [tls]?`}},
		{"a key of another command", "dev = true\nquiet = true\n", []string{`NAME:2:1: unknown key "quiet"`}},
		{"a file in a file", "dev = true\nconfig = \"x\"\n", []string{`NAME:2:1: config: one file is read, and no other that it names`}},
		{"a removed key", "dev = true\nworker-links = 5\n", []string{`NAME:2:16: worker-links: this flag was removed: it is --max-worker-links now`}},

		{"a text for a number", "dev = true\nmax-connections = \"many\"\n", []string{`NAME:2:19: max-connections: want a number, not a text`}},
		{"a number in quotes", "dev = true\n[limits]\nmax-connections = \"100\"\n",
			[]string{`NAME:3:19: limits.max-connections: want a number, not a text; did you mean 100?`}},
		{"a fraction for a number", "dev = true\nloops = 1.5\n", []string{`NAME:2:9: loops: "1.5" is no whole number`}},
		{"a text for a truth", "dev = \"yes\"\n", []string{`NAME:1:7: dev: want true or false, not a text; did you mean true?`}},
		{"a number for a text", "dev = true\nnetsvr-path = 7\n", []string{`NAME:2:15: netsvr-path: want a text, not a number; did you mean "7"?`}},
		{"a truth for a size", "dev = true\nlag = true\n", []string{`NAME:2:7: lag: want bytes, or a number with KiB, MiB or GiB, not true`}},
		{"a list for a value", "dev = true\nlag = [\"1MiB\"]\n", []string{`NAME:2:7: lag: want bytes, or a number with KiB, MiB or GiB, not a list`}},
		{"a number in a list", "dev = true\nallow-origin = [\"a.example\", 5]\n",
			[]string{`NAME:2:30: allow-origin: want HOST, not a number; did you mean "5"?`}},
		{"an empty list", "dev = true\nlisten = []\n", []string{`NAME:2:10: listen: the list is empty`}},

		{"a bad size", "dev = true\n[memory]\nlag = \"12MB\"\n",
			[]string{`NAME:3:7: memory.lag: "12MB" is not a size: want bytes, or a number with KiB, MiB or GiB; did you mean "12MiB"?`}},
		{"a bad duration", "dev = true\ndrain = \"10 seconds\"\n",
			[]string{`NAME:2:9: drain: "10 seconds" is no duration: want a duration such as 500ms, 10s or 20m; did you mean "10s"?`}},
		{"a duration without a unit", "dev = true\ndrain = 10\n",
			[]string{`NAME:2:9: drain: "10" is no duration: want a duration such as 500ms, 10s or 20m; did you mean "10s"?`}},
		{"a duration in days", "dev = true\nsession-max = \"2d\"\n",
			[]string{`NAME:2:15: session-max: "2d" is no duration: want a duration such as 500ms, 10s or 20m; did you mean "48h"?`}},
		{"a bad rate", "dev = true\nlogin-failures = \"100/10\"\n",
			[]string{`NAME:2:18: login-failures: "100/10" is not a rate: want N/DURATION, as 100/10s, or 0; did you mean "100/10s"?`}},
		{"a word that is none of those", "dev = true\nslow-consumer = \"drop-older\"\n",
			[]string{`NAME:2:17: slow-consumer: "drop-older" must be one of close, drop-newest, drop-oldest; did you mean "drop-oldest"?`}},
		{"a level that is none", "dev = true\n[log]\nlevel = \"debgu\"\n",
			[]string{`NAME:3:9: log.level: "debgu", want debug, info, warn or error; did you mean "debug"?`}},
		{"a login that is none", "login = \"token:users.txt\"\n",
			[]string{`NAME:1:9: login: login: unknown kind: want open, tokens:FILE, cert, otp[:ttl=60s], ` +
				`jwt:{secret-file=FILE|key-file=PEM|jwks=FILE-or-URL}[,aud=A][,iss=I][,leeway=10s][,claims=NAME], http:URL, https://...; did you mean "tokens"?`}},

		{"below its bounds", "dev = true\nmax-connections = -1\n", []string{`NAME:2:19: max-connections: -1, want 0 to 2147483647`}},
		{"above its bounds", "dev = true\n[session]\nserver-id = 256\n", []string{`NAME:3:13: session.server-id: 256, want 0 to 255`}},
		{"too short a time", "dev = true\ncustom-id-ttl = \"0s\"\n", []string{`NAME:2:17: custom-id-ttl: 0s, want 1ms to 8760h0m0s`}},
		{"more than another", "dev = true\n[memory]\nbacklog-total = \"1KiB\"\nbacklog = \"2KiB\"\n",
			[]string{`NAME:4:11: memory.backlog: 2048, want --backlog-total, 1024, or less: one client would have all of it`}},
		{"a bad address", "dev = true\nlisten = [\"tcp://127.0.0.1:7000\", \"tcp://127.0.0.1:70000\"]\n",
			[]string{`NAME:2:35: listen: port 70000 of "127.0.0.1:70000", want 0 to 65535`}},
		{"an address for two", "dev = true\nworker = \"tcp://127.0.0.1:7000\"\n", []string{`NAME:2:10: worker: 127.0.0.1:7000 is what --listen has already`}},
		{"a URL for a host", "dev = true\nallow-origin = [\"a.example\",\n  \"https://b.example/\"]\n",
			[]string{`NAME:3:3: allow-origin: "https://b.example/": want HOST, as example.com; did you mean "b.example"?`}},
		{"a bad network", "dev = true\n[proxy]\ntrust = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n",
			[]string{`NAME:3:24: proxy.trust: "10.0.0.0/33" is no network: want one such as 10.0.0.0/8, fd00::/8 or 192.0.2.1, or unix`}},
		{"a bad route", "dev = true\nroute = [\"a.*=1\", \"b\"]\n", []string{`NAME:2:19: route: "b": want PATTERN=ID, as chat.*=1`}},
		{"a route without effect", "dev = true\nroute = [\"a.*=1\", \"a.b=2\", \"c=3\"]\n",
			[]string{`NAME:2:19: route: route "a.b" never matches: "a.*" before it takes all of it`}},
		{"a limit twice", "dev = true\nlimit = [\"a=1@5\", \"a=2@5\"]\n", []string{`NAME:2:19: limit: a: given twice`}},

		{"a file that is not there", "dev = true\n[admin]\ntoken = \"/nowhere/tokens\"\n",
			[]string{`NAME:3:9: admin.token: admin tokens: open /nowhere/tokens: no such file or directory`}},
		{"a file with nothing", "[login]\nprovider = \"tokens:" + empty + "\"\n",
			[]string{`NAME:2:12: login.provider: login: tokens: ` + empty + ` holds no tokens`}},
		{"a file with a bad line", "dev = true\nadmin-token = \"" + short + "\"\n",
			[]string{`NAME:2:15: admin-token: admin tokens: ` + short + ` line 1: a token of 3 characters, want 16 to 256`}},
		{"certificates", "dev = true\nlisten = \"wss://127.0.0.1:0\"\n[tls]\ncert = [\"/nowhere/a\", \"" + nonsense + "\"]\nkey = [\"/nowhere/a\", \"" + empty + "\"]\n",
			[]string{`NAME:4:9: tls.cert: open /nowhere/a: no such file or directory`,
				`NAME:4:23: tls.cert: ` + nonsense + `: cut off, or damaged, behind 0 whole certificates`}},
		{"a certificate without its key", "dev = true\nlisten = \"wss://127.0.0.1:0\"\n[tls]\ncert = [\"" + nonsense + "\"]\n",
			[]string{`NAME:4:9: tls.cert: 1 files, and 0 of --tls-key: want one key for each certificate`}},

		{"no value", "dev =\n", []string{`NAME:1:6: there is no value behind =`}},
		{"no quotes", "dev = true\nlog-level = info\n", []string{`NAME:2:13: info is no value of TOML: texts have quotes; did you mean "info"?`}},
		{"a size without quotes", "dev = true\n[memory]\nlag = 32MiB # enough\n",
			[]string{`NAME:3:7: 32MiB is no value of TOML: texts have quotes; did you mean "32MiB"?`}},
		{"another language's truth", "dev = True\n", []string{`NAME:1:7: True is no value of TOML; did you mean true?`}},
		{"no equals sign", "dev true\n", []string{`NAME:1:5: expected '=' after key`}},
		{"a header without its end", "dev = true\n[tls\ncert = []\n", []string{`NAME:2:5: expected ']' to close table name`}},
		{"not UTF-8", "dev = true\n# \xff\n", []string{`NAME:2:3: this is not UTF-8`}},
		{"twice", "dev = true\nlag = 1\nlag = 2\n", []string{`NAME:3:1: lag is here twice, first in line 2`}},
		{"flat and in a table", "dev = true\nmax-topics = 5\n[limits]\nmax-topics = 6\n",
			[]string{`NAME:4:1: limits.max-topics: given twice, first in line 2 as max-topics`}},
		{"a value and its table", "login = \"open\"\n[login]\ntimeout = \"5s\"\n",
			[]string{`NAME:2:2: login has a value in line 1 already, and cannot be a table, too; in the table it is provider`}},
		{"a table twice", "dev = true\n[log]\nlevel = \"info\"\n[tls]\n[log]\nformat = \"json\"\n",
			[]string{`NAME:5:2: the table log is here twice, first in line 2`}},
		{"no login", "lag = 5\n", []string{`--login: it is required: open, tokens:FILE, ...; or try --dev`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := writeFile(t, t.TempDir(), "sluice.toml", tc.text)
			if code, lines := checked(file); code != exitUsage || !slices.Equal(lines, tc.want) {
				t.Errorf("exit code %d:\n%s\nwant\n%s", code, strings.Join(lines, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

// TestAllMistakesAtOnce: check tells every mistake, wherever it is, in one go.
func TestAllMistakesAtOnce(t *testing.T) {
	file := writeFile(t, t.TempDir(), "sluice.toml", `login = "magic"
lag = "12MB"
max-conections = 3

[log]
level = "loud"
format = yaml

[limits]
max-topics = 0
connect-rate = "fast"
`)
	t.Setenv("SLUICE_BACKLOG", "1GB")
	t.Setenv("SLUICE_MAX_PENDNIG", "5")
	t.Setenv("SLUICE_ALLOW_ORIGIN", "a.example https://b.example/chat,c.example")
	t.Setenv("SLUICE_ADMIN", "https://elsewhere.example:6070") // for the other commands
	t.Setenv("SLUICE_SERVICE_HOST", "10.0.0.1")                // of Kubernetes
	t.Setenv("SLUICE_PORT_7000_TCP_ADDR", "10.0.0.1")
	code, lines := checked(file, "--loop=3", "--drain", "5", "--server-id", "300", "--slow-consumer=drop", "rest")
	want := []string{
		`unknown flag --loop; did you mean --loops?`,
		`unexpected argument "rest": settings are flags, as --listen URL`,
		`--slow-consumer: "drop" must be one of close, drop-newest, drop-oldest`,
		`--drain: "5" is no duration: want a duration such as 500ms, 10s or 20m; did you mean "5s"?`,
		`--server-id: 300, want 0 to 255`,
		`SLUICE_BACKLOG: "1GB" is not a size: want bytes, or a number with KiB, MiB or GiB; did you mean "1GiB"?`,
		`unknown variable SLUICE_MAX_PENDNIG; did you mean SLUICE_MAX_PENDING?`,
		`SLUICE_ALLOW_ORIGIN: "https://b.example/chat,c.example": want HOST, as example.com; did you mean "b.example"? Several have blanks between them`,
		`NAME:1:9: login: `,
		`NAME:2:7: lag: "12MB" is not a size`,
		`NAME:3:1: unknown key "max-conections"; did you mean "max-connections"?`,
		`NAME:6:9: log.level: "loud", want debug, info, warn or error`,
		`NAME:7:10: yaml is no value of TOML: texts have quotes; did you mean "yaml"?`,
		`NAME:10:14: limits.max-topics: 0, want 1 to 1073741824`,
		`NAME:11:16: limits.connect-rate: want a number, not a text`,
	}
	ok := code == exitUsage && len(lines) == len(want)
	for i := range min(len(lines), len(want)) {
		ok = ok && strings.HasPrefix(lines[i], want[i])
	}
	if !ok {
		t.Errorf("exit code %d:\n%s\nwant\n%s", code, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// TestPrecedence: flag, then environment, then file, then default; and all of them are the same
// setting.
func TestPrecedence(t *testing.T) {
	file := writeFile(t, t.TempDir(), "sluice.toml",
		"dev = true\nlisten = [\"tcp://127.0.0.1:1\"]\nlag = \"1MiB\"\n[memory]\nbacklog = 4096\nlag-age = \"3s\"\n[websocket]\ndeflate = false\n[trace]\nsample = 0.5\n")
	environ := []string{"SLUICE_CONFIG=" + file, "SLUICE_LAG=2MiB", "SLUICE_BACKLOG=8KiB", "SLUICE_ADMIN_LISTEN=127.0.0.1:1234", "SLUICE_ADMIN=http://h:1",
		"SLUICE_LISTEN= tcp://127.0.0.1:2\n tcp://127.0.0.1:3 ", `SLUICE_ROUTE=["a b=1", "c=2"]`, "SLUICE_DRAIN=", "SLUICEX=1", "SLUICE_HOMEPAGE_OF=us"}
	c, err := parse([]string{"serve", "--lag=3MiB", "--no-longbridge-close-notice", "--worker", "none"}, environ)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.inputs.locate(); err != nil {
		t.Fatal(err)
	}
	cmd := c.settings()
	got := []any{cmd.Dev, cmd.Lag, cmd.Backlog, cmd.LagAge.String(), cmd.Listen, cmd.Route, cmd.Admin, cmd.Drain.String(), cmd.WSDeflate, cmd.LongbridgeCloseNotice, cmd.Worker}
	want := []any{true, byteSize(3 << 20), byteSize(8 << 10), "3s", []string{"tcp://127.0.0.1:2", "tcp://127.0.0.1:3"}, []string{"a b=1", "c=2"},
		"127.0.0.1:1234", "5s", false, false, "none"}
	for i := range want {
		if !equal(got[i], want[i]) {
			t.Errorf("%d: %v, want %v", i, got[i], want[i])
		}
	}
	if cmd.TraceSample != 0.5 {
		t.Errorf("a fraction is %v, want 0.5", cmd.TraceSample)
	}
	for flag, want := range map[string]struct {
		source source
		line   int
	}{
		"dev": {fromFile, 1}, "lag": {fromFlag, 0}, "backlog": {fromEnv, 0}, "lag-age": {fromFile, 6}, "drain": {fromDefault, 0}, "ws-deflate": {fromFile, 8},
	} {
		if got := c.inputs.sourceOf(flag); got.source != want.source || got.pos.Line != want.line {
			t.Errorf("--%s comes from %v, line %d, want %v", flag, got.source, got.pos.Line, want)
		}
	}
	for name, want := range map[string]string{
		"SLUICE_CONNECTIONS": "SLUICE_MAX_CONNECTIONS", "SLUICE_LEVEL": "SLUICE_LOG_LEVEL",
		"SLUICE_LIMITS_MAX_TOPICS": "SLUICE_MAX_TOPICS",
	} {
		c, err := parse([]string{"serve", "--dev"}, []string{name + "=1"})
		if err != nil {
			t.Fatal(err)
		}
		if want := "unknown variable " + name + ": it is for no setting; did you mean " + want + "?"; !slices.Equal(c.inputs.warnings, []string{want}) {
			t.Errorf("%q, want %q", c.inputs.warnings, want)
		}
	}
	if want := []string{"unknown variable SLUICE_HOMEPAGE_OF: it is for no setting"}; !slices.Equal(c.inputs.warnings, want) {
		t.Errorf("warnings %q, want %q", c.inputs.warnings, want)
	}
}

func equal(a, b any) bool {
	if x, ok := a.([]string); ok {
		y, ok := b.([]string)
		return ok && slices.Equal(x, y)
	}
	return a == b
}

// TestNames: every setting has one variable and one place in the file, which no other has.
func TestNames(t *testing.T) {
	c, err := parse([]string{"serve"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	taken, tables := make(map[string]string), make(map[string]bool)
	for _, p := range c.inputs.params {
		if p.flag.Group != nil && p.table == "" {
			t.Errorf("--%s: its group %s has no table", p.name, p.flag.Group.Title)
		}
		tables[p.table] = true
		for _, name := range []string{"variable " + p.env, "key " + p.path(), "key " + p.name} {
			if other := taken[name]; other != "" && other != p.name {
				t.Errorf("--%s and --%s: both have the %s", p.name, other, name)
			}
			taken[name] = p.name
		}
		if err := p.decode(reflect.New(p.elem()).Elem(), "x"); err != nil && strings.Contains(err.Error(), "cannot be given") {
			t.Errorf("--%s: %v", p.name, err)
		}
		if slices.Contains(ofCommands(), p.env) {
			t.Errorf("--%s: %s is of the commands that ask a gateway", p.name, p.env)
		}
	}
	for _, table := range []string{"tls", "limits", "log", "login", "session", "memory", "worker", "admin", "client", "process"} {
		if !tables[table] {
			t.Errorf("there is no table %s", table)
		}
	}
}

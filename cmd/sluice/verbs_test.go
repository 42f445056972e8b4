package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// operated is a gateway with operators' tokens, and what its operators have asked the process for.
type operated struct {
	*server.Server
	full, read string // files of tokens
	mu         sync.Mutex
	drains     int
	ends       bool // with a drain
	reloads    func() (server.AdminReloaded, error)
}

// startOperated runs one; configure may change what it is given.
func startOperated(t *testing.T, configure func(*server.Config)) *operated {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	o := &operated{
		full: write("tokens", "read a-token-to-read-with # first\nfull a-token-for-everything\n"),
		read: write("read", "a-token-to-read-with\n"),
		reloads: func() (server.AdminReloaded, error) {
			return server.AdminReloaded{Changed: []string{"lag"}, Login: true}, nil
		},
	}
	tokens, err := server.NewAdminTokens(o.full)
	if err != nil {
		t.Fatal(err)
	}
	c := server.Config{
		Listen:  []string{"tcp://127.0.0.1:0"},
		Gateway: server.GatewayConfig{Login: login.Open{}},
		Admin: server.AdminConfig{Address: "127.0.0.1:0", Tokens: tokens, Process: &server.AdminProcess{
			Reload: func() (server.AdminReloaded, error) {
				o.mu.Lock()
				defer o.mu.Unlock()
				return o.reloads()
			},
			Drain: func() {
				o.mu.Lock()
				defer o.mu.Unlock()
				if o.drains++; o.ends {
					go func() { _ = o.Stop(context.Background()) }()
				}
			},
		}},
	}
	if configure != nil {
		configure(&c)
	}
	if o.Server, err = server.New(c); err == nil {
		err = o.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Stop(context.Background()) })
	return o
}

// clientAddr is where o serves clients.
func (o *operated) clientAddr() string { return strings.TrimPrefix(o.Addrs()[0], "tcp://") }

// connect logs a GOSOC client in.
func (o *operated) connect(t *testing.T, user string) net.Conn {
	t.Helper()
	addr := o.clientAddr()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	payload := fmt.Sprintf(`{"token":%q}`, user)
	packet := append([]byte{0x10, byte(11 + len(payload)), 5}, "GOSOC\x01\x00\x00\x3c"...)
	packet = append(append(packet, byte(len(payload))), payload...)
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	ack := make([]byte, 4)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(conn, ack); err != nil || ack[0] != 0x20 || ack[3] != 0 {
		t.Fatalf("login: % x, %v", ack, err)
	}
	return conn
}

// do runs a verb as an operator with all rights.
func (o *operated) do(verb string, args ...string) (code int, stdout, stderr string) {
	return sluice(append([]string{verb, "--admin", o.AdminURL(), "--admin-token-file", o.full}, args...)...)
}

// must is do, for what must succeed.
func (o *operated) must(t *testing.T, verb string, args ...string) string {
	t.Helper()
	code, out, errs := o.do(verb, args...)
	if code != exitOK {
		t.Fatalf("%s %q: exit code %d, %s", verb, args, code, errs)
	}
	return out
}

func TestConnsOfMany(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	if code, out, errs := o.do("conns"); code != exitOK || out != "" || errs != "sluice: no connections\n" {
		t.Errorf("without any: %d, %q, %q", code, out, errs)
	}
	if code, out, errs := o.do("conns", "--json"); code != exitOK || out != "" || errs != "" {
		t.Errorf("without any, as JSON: %d, %q, %q", code, out, errs)
	}
	users := []string{"ann", "bob", "张伟"}
	for _, user := range users {
		o.connect(t, user)
	}
	table := o.must(t, "conns", "--sort", "user")
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "ID  ") {
		t.Fatalf("the table is\n%s", table)
	}
	for i, user := range users {
		if f := strings.Fields(lines[i+1]); f[1] != user || f[2] != "gosoc" || f[3] != "online" {
			t.Errorf("line %d is %q, want user %s", i+1, lines[i+1], user)
		}
		if strings.HasSuffix(lines[i+1], " ") {
			t.Errorf("line %d ends with a blank", i+1)
		}
	}
	at := strings.Index(lines[0], "PROTOCOL")
	if strings.Index(lines[1], "gosoc") != at || strings.Index(lines[3], "gosoc") != at+2 { // 6 bytes in 4 columns
		t.Errorf("columns are not aligned:\n%s", table)
	}

	// Page by page, and a limit in the middle of a page.
	all := o.must(t, "conns", "--json", "--limit", "0")
	if strings.Count(all, "\n") != 3 {
		t.Errorf("as JSON: %q", all)
	}
	var first struct{ UniqID, User string }
	for line := range strings.Lines(all) {
		if err := json.Unmarshal([]byte(line), &first); err != nil || first.UniqID == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
	code, out, errs := o.do("conns", "-n", "2", "--sort", "-user", "--json")
	if code != exitOK || strings.Count(out, "\n") != 2 || !strings.Contains(errs, "2 are shown, there are more connections") || !strings.Contains(out, "张伟") {
		t.Errorf("limited: %d, %q, %q", code, out, errs)
	}
	if _, _, errs := o.do("conns", "-n", "3", "--sort", "user"); errs != "" {
		t.Errorf("a limit that suffices: %q", errs)
	}
	if out := o.must(t, "conns", "--user", "bob", "--state", "online", "--protocol", "gosoc", "--peer", "127.0.0.0/8", "--listener", "0", "--search", "BO", "--json"); strings.Count(out, "\n") != 1 {
		t.Errorf("filtered: %q", out)
	}

	// One of them.
	if err := json.Unmarshal([]byte(o.must(t, "conns", "--user", "ann", "--json")), &first); err != nil {
		t.Fatal(err)
	}
	if out := o.must(t, "conns", first.UniqID); !strings.Contains(out, "\nuser        ann\n") || !strings.Contains(out, "in 1 message\n") {
		t.Errorf("one:\n%s", out)
	}
	if out := o.must(t, "conns", first.UniqID, "--json"); !json.Valid([]byte(out)) || !strings.Contains(out, `"topicNames":[]`) {
		t.Errorf("one, as JSON:\n%s", out)
	}
	code, out, errs = o.do("conns", "nobody")
	wantLine(t, code, exitNotFound, out, errs, "nobody")
	code, out, errs = o.do("conns", first.UniqID, "--user", "ann")
	wantLine(t, code, exitUsage, out, errs, "neither filtered nor sorted")
}

// TestSortNames: --sort takes the names that the API's description has, and the gateway takes each.
func TestSortNames(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	text, err := os.ReadFile("../../engine/internal/admin/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var description struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name   string
				Schema struct{ Enum []string }
			}
		}
	}
	if err := json.Unmarshal(text, &description); err != nil {
		t.Fatal(err)
	}
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	for verb, path := range map[string]string{"conns": "/api/v1/connections", "topics": "/api/v1/topics"} {
		var want, got []string
		for _, p := range description.Paths[path]["get"].Parameters {
			if p.Name == "sort" {
				want = p.Schema.Enum
			}
		}
		for _, node := range parser.Model.Children {
			for _, f := range node.Flags {
				if node.Name == verb && f.Name == "sort" {
					got = enumOf(f.Value)
				}
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s --sort takes %q, the API %q", verb, got, want)
		}
		for _, name := range got {
			o.must(t, verb, "--sort", name)
		}
	}
	if code, out, errs := sluice("conns", "--sort", "beauty"); code != exitUsage {
		t.Errorf("an unknown one: %d, %q, %q", code, out, errs)
	}
}

func TestKick(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	ann := o.connect(t, "ann")
	o.connect(t, "bob")
	silent, err := net.Dial("tcp", o.clientAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var row struct{ UniqID, Connection string }
	if err := json.Unmarshal([]byte(o.must(t, "conns", "--user", "ann", "--json")), &row); err != nil {
		t.Fatal(err)
	}
	if out := o.must(t, "kick", row.UniqID); out != "ended 1 connection\n" {
		t.Errorf("kick prints %q", out)
	}
	if _, err := io.Copy(io.Discard, ann); err != nil {
		t.Errorf("the client: %v", err)
	}
	code, out, errs := o.do("kick", row.UniqID)
	wantLine(t, code, exitNotFound, out, errs, row.UniqID)
	if out := o.must(t, "kick", "--user", "bob", "--resumable", "--json"); out != `{"connections":1}`+"\n" {
		t.Errorf("kick of a user prints %q", out)
	}
	code, out, errs = o.do("kick", "--user", "nobody")
	wantLine(t, code, exitNotFound, out, errs, `user "nobody" has no connection`)

	// One that has not said who it is has no uniqId.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if list := o.must(t, "conns", "--state", "opening", "--json"); list != "" {
			if err := json.Unmarshal([]byte(list), &row); err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the silent connection is not listed")
		}
	}
	o.must(t, "kick", row.Connection)
	for _, args := range [][]string{{}, {"a", "--user", "b"}, {"a", "--resumable", "--reason", "kicked-out"}, {"a", "--reason", "boredom"}} {
		if code, _, errs := o.do("kick", args...); code != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("kick %q: %d, %q", args, code, errs)
		}
	}
}

// publishing is publish with a standard input.
func (o *operated) publishing(t *testing.T, input string, cmd publishCmd) string {
	t.Helper()
	cmd.Admin, cmd.AdminTokenFile = o.AdminURL(), o.full
	var out bytes.Buffer
	if err := cmd.Run(&streams{stdout: &out, stderr: io.Discard, stdin: strings.NewReader(input)}); err != nil {
		t.Errorf("publish of %.40q: %v", input, err)
	}
	return out.String()
}

func TestPublishAndWatch(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	for _, topic := range []string{"news", "/", "a/b", "a//b", "..", "日 本", "a%2Fb?x=1"} {
		type result struct {
			code      int
			out, errs string
		}
		results := make(map[string]chan result)
		modes := []string{"", "--json", "--raw"}
		for _, mode := range modes {
			c := make(chan result, 1)
			results[mode] = c
			args := []string{"-n", "4", topic}
			if mode != "" {
				args = append(args, mode)
			}
			go func() {
				var r result
				r.code, r.out, r.errs = o.do("watch", args...)
				c <- r
			}()
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if code, out, _ := o.do("topics", topic, "--json"); code == exitOK && strings.Contains(out, `"subscribers":3,`) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("nobody watches")
			}
		}
		dash := "-"
		if out := o.must(t, "publish", topic, "hello"); out != "published to 3 subscribers\n" {
			t.Errorf("publish prints %q", out)
		}
		o.publishing(t, "a\x1b[31m\x00\xff", publishCmd{Topic: topic, Data: &dash})
		if out := o.publishing(t, "one\n张伟", publishCmd{Topic: topic, Lines: true, jsonFlag: jsonFlag{true}}); out != strings.Repeat("{\"subscribers\":3}\n", 2) {
			t.Errorf("publish of lines prints %q", out)
		}
		for _, mode := range modes {
			r := <-results[mode]
			if r.code != exitOK || !strings.HasPrefix(r.errs, "watching "+topic) {
				t.Fatalf("watch %s %s: %d, %q", topic, mode, r.code, r.errs)
			}
			var got []string
			for line := range strings.Lines(r.out) {
				switch line = strings.TrimSuffix(line, "\n"); mode {
				case "":
					if _, err := time.Parse("15:04:05.000", line[:12]); err != nil {
						t.Errorf("%q: %v", line, err)
					}
					line = line[14:]
				case "--json":
					var m watched
					if err := json.Unmarshal([]byte(line), &m); err != nil || m.Time.IsZero() {
						t.Fatalf("%q: %v", line, err)
					}
					line = m.Payload
				}
				got = append(got, line)
			}
			second := map[string]string{"": `a\x1b[31m\x00\xff`, "--json": "YRtbMzFtAP8=", "--raw": "a\x1b[31m\x00\xff"}[mode]
			if want := []string{"hello", second, "one", "张伟"}; strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("watch %s %s shows %q, want %q", topic, mode, got, want)
			}
		}
	}
	// What is long goes whole, and is shown in part.
	long := strings.Repeat("€", maxPublish/3)
	o.publishing(t, long, publishCmd{Topic: "long"})
	var out bytes.Buffer
	m, _ := json.Marshal(watched{Time: time.Now(), Bytes: len(long), Payload: long[:3000], Truncated: true})
	if err := new(watchCmd).show(&out, m); err != nil || !strings.HasSuffix(out.String(), "€ (the first 2.9KiB of 1.0MiB)\n") {
		t.Errorf("%v, %.30q", err, out.String())
	}
	for _, args := range [][]string{{"news", "x", "--lines"}, {""}, {"", "x"}, {}} {
		if code, out, errs := o.do("publish", args...); code != exitUsage || out != "" {
			t.Errorf("publish %q: %d, %q, %q", args, code, out, errs)
		}
	}
	cmd := publishCmd{Topic: "long"}
	cmd.Admin, cmd.AdminTokenFile = o.AdminURL(), o.full
	if err := cmd.Run(&streams{stdin: strings.NewReader(long + "1234")}); exitCode(err) != exitUsage {
		t.Errorf("too long a message: %v", err)
	}
	for _, args := range [][]string{{"news", "--raw", "--json"}, {"news", "-n=-1"}, {""}, {"news", "--last=-1"}, {"news", "--last=1001"}} {
		if code, out, errs := o.do("watch", args...); code != exitUsage || out != "" {
			t.Errorf("watch %q: %d, %q, %q", args, code, out, errs)
		}
	}
}

// TestWatchEnds: Ctrl-C is a fine end, the gateway's end is none.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	for _, interrupted := range []bool{true, false} {
		cmd := watchCmd{Topic: "news"}
		cmd.Admin, cmd.AdminTokenFile = o.AdminURL(), o.full
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		opened, errs := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- cmd.run(ctx, &streams{stdout: io.Discard, stderr: errs}) }()
		if _, err := opened.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if interrupted {
			cancel()
		} else if err := o.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; (err == nil) != interrupted {
			t.Errorf("interrupted: %v; watch returns %v", interrupted, err)
		}
	}
}

func TestTopicsSessionsWorkers(t *testing.T) {
	t.Parallel()
	o := startOperated(t, func(c *server.Config) { c.WorkerListen = "tcp://127.0.0.1:0" })
	for _, tc := range []struct {
		args []string
		code int
		says string // on standard error
	}{
		{[]string{"topics"}, 0, "no topics"},
		{[]string{"topics", "--json"}, 0, ""},
		{[]string{"topics", "nothing"}, 3, "nothing"},
		{[]string{"topics", "nothing", "--prefix", "x"}, 2, "neither filtered nor sorted"},
		{[]string{"topics", "--sort", "-subscribers", "--limit", "0"}, 2, "--limit 1 to 1000"},
		{[]string{"topics", "--sort", "-subscribers", "--limit", "7"}, 0, "no topics"},
		{[]string{"topics", "--limit=-1"}, 2, "--limit"},
		{[]string{"sessions"}, 0, "no sessions"},
		{[]string{"sessions", "--state", "detached", "--user", "ann", "--json"}, 0, ""},
		{[]string{"sessions", "--state", "lost"}, 2, "--state"},
		{[]string{"workers"}, 0, "no workers"},
		{[]string{"workers", "--json"}, 0, ""},
		{[]string{"workers", "7"}, 3, "worker 7 is not there"},
		{[]string{"workers", "100000"}, 2, "workerId"},
		{[]string{"workers", "x"}, 2, "x"},
	} {
		code, out, errs := o.do(tc.args[0], tc.args[1:]...)
		if code != tc.code || out != "" || !strings.Contains(errs, tc.says) || (tc.says == "") != (errs == "") {
			t.Errorf("%q: exit code %d, %q, %q", tc.args, code, out, errs)
		}
	}
	link, err := net.Dial("tcp", strings.TrimPrefix(o.WorkerAddr(), "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if out := o.must(t, "workers"); strings.Count(out, "\n") == 2 && strings.Contains(out, link.LocalAddr().String()) && strings.Contains(out, "unregistered") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the link is not listed")
		}
	}
	if out := o.must(t, "workers", "--json"); !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 {
		t.Errorf("as JSON: %q", out)
	}
}

func TestReloadAndDrain(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	if out := o.must(t, "reload"); out != "changed     lag\nread again  files of tokens, keys and users\n" {
		t.Errorf("reload prints %q", out)
	}
	if out := o.must(t, "reload", "--json"); out != `{"changed":["lag"],"login":true}`+"\n" {
		t.Errorf("as JSON %q", out)
	}
	o.reloads = func() (server.AdminReloaded, error) { return server.AdminReloaded{}, nil }
	if out := o.must(t, "reload"); out != "nothing has changed\n" {
		t.Errorf("reload prints %q", out)
	}
	o.reloads = func() (server.AdminReloaded, error) { return server.AdminReloaded{}, fmt.Errorf("--lag: too small") }
	code, out, errs := o.do("reload")
	wantLine(t, code, exitFailed, out, errs, "--lag: too small")
	if out := o.must(t, "drain"); out != "draining\n" {
		t.Errorf("drain prints %q", out)
	}
	code, out, errs = o.do("drain", "--wait", "100ms") // it does not end for it here
	wantLine(t, code, exitFailed, out, errs, "still there after 100ms")
	if o.drains != 2 {
		t.Errorf("%d drains", o.drains)
	}
	o.mu.Lock()
	o.ends = true
	o.mu.Unlock()
	if out := o.must(t, "drain", "--wait", "20s"); !strings.HasPrefix(out, "drained in ") {
		t.Errorf("drain --wait prints %q", out)
	}
	code, out, errs = o.do("drain")
	wantLine(t, code, exitFailed, out, errs, "refused")
}

// TestVerbsAsWhom: where the gateway is and who asks comes from flags and from the environment.
func TestVerbsAsWhom(t *testing.T) {
	o := startOperated(t, nil)
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tc := range []struct {
		name      string
		file, env string
		args      []string
		code      int
		says      string
	}{
		{"no token", "", "", []string{"conns"}, 1, "SLUICE_ADMIN_TOKEN_FILE"},
		{"by flag", o.full, "", []string{"publish", "t", "x"}, 0, ""},
		{"by environment", "", o.full, []string{"publish", "t", "x"}, 0, ""},
		{"the flag counts first", o.read, o.full, []string{"publish", "t", "x"}, 1, "role full"},
		{"that may read", o.read, "", []string{"topics"}, 0, "no topics"},
		{"health", o.read, "", []string{"health"}, 0, ""},
		{"no file", filepath.Join(dir, "none"), "", []string{"conns"}, 2, "none"},
		{"empty file", write("empty", "# nothing\n"), "", []string{"conns"}, 2, "empty"},
		{"a file of prose", write("prose", "this is no token\n"), "", []string{"conns"}, 2, "prose"},
		{"beyond ASCII", write("umlaut", "tökentökentöken\n"), "", []string{"conns"}, 2, "umlaut"},
		{"wrong token", write("wrong", "a-wrong-token-0123\n"), "", []string{"conns"}, 1, "wrong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("SLUICE_ADMIN", strings.TrimPrefix(o.AdminURL(), "http://"))
			t.Setenv("SLUICE_ADMIN_TOKEN_FILE", tc.env)
			args := tc.args
			if tc.file != "" {
				args = append(args, "--admin-token-file", tc.file)
			}
			code, out, errs := sluice(args...)
			if code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("exit code %d, %q, %q", code, out, errs)
			}
			if strings.Contains(errs, "a-wrong-token") {
				t.Errorf("the token is shown: %s", errs)
			}
		})
	}
	for _, tc := range []struct {
		admin string
		code  int
		says  string
	}{
		{"none", 2, "none"},
		{"ftp://127.0.0.1", 2, "--admin"},
		{"127.0.0.1:1", 1, "refused"},
		{"unix://" + filepath.Join(dir, "sock"), 1, "no such file"},
		{o.clientAddr(), 1, "is that a gateway's admin listener?"},
	} {
		for _, verb := range [][]string{{"conns"}, {"topics"}, {"workers"}, {"sessions"}, {"kick", "x"}, {"publish", "t", "x"}, {"watch", "t"}, {"reload"}, {"drain"}} {
			code, out, errs := sluice(append(verb, "--admin", tc.admin)...)
			wantLine(t, code, tc.code, out, errs, tc.says)
		}
	}
}

// TestEmptyAdmin: a variable that is there and empty is none.
func TestEmptyAdmin(t *testing.T) {
	if _, err := new(adminFlag).client(); err != nil {
		t.Error(err)
	}
}

func TestVerbsOverUnixSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "admin")
	o := startOperated(t, func(c *server.Config) { c.Admin.Address = "unix://" + socket })
	code, out, errs := sluice("publish", "news", "hello", "--admin", "unix://"+socket, "--admin-token-file", o.full)
	if code != exitOK || out != "published to 0 subscribers\n" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}

// TestVerbHelp: each verb's help has an example that is a command line of its own, and its exit codes.
func TestVerbHelp(t *testing.T) {
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range parser.Model.Children {
		code, out, errs := sluice(node.Name, "--help")
		if code != exitOK || errs != "" {
			t.Errorf("%s --help: exit code %d, %s", node.Name, code, errs)
		}
		if !strings.Contains(out, "Exit codes: 0 ") {
			t.Errorf("%s --help says nothing of exit codes", node.Name)
		}
		n := 0
		for line := range strings.Lines(node.Detail) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
			_, command, ok := strings.Cut(line, "sluice "+node.Name)
			if !ok || !strings.HasPrefix(line, "sluice ") && !strings.Contains(line, "| sluice") {
				continue
			}
			n++
			command, _, _ = strings.Cut(command, " | ")
			command, _, _ = strings.Cut(command, " > ")
			command, _, _ = strings.Cut(command, " < ")
			command, _, _ = strings.Cut(command, " && ")
			args := append([]string{node.Name}, strings.Fields(command)...)
			if p, err := newParser(); err != nil {
				t.Fatal(err)
			} else if _, err := p.Parse(joinSort(args)); err != nil && !strings.Contains(err.Error(), "no such file") {
				t.Errorf("an example of %s, %q: %v", node.Name, args, err)
			}
		}
		if n == 0 {
			t.Errorf("%s --help has no example", node.Name)
		}
	}
}

func TestVersionAsJSON(t *testing.T) {
	code, out, _ := sluice("version", "--json")
	var v struct{ Version, Go, OS, Arch string }
	if err := json.Unmarshal([]byte(out), &v); code != exitOK || err != nil || v.Version == "" || v.Go == "" || v.OS == "" || v.Arch == "" {
		t.Errorf("%d, %q, %v", code, out, err)
	}
	if _, out, _ := sluice("version"); !strings.HasPrefix(out, "sluice "+v.Version+" "+v.Go) {
		t.Errorf("%q", out)
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// TestVerbs sees into a gateway and changes it as an operator at a shell does: the gateway and the
// token come from the environment, and the watch ends with Ctrl-C.
func TestVerbs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	tokens := write("tokens", "full a-token-for-everything\n")
	config := write("config.toml", "max-topics = 10\n")
	p := startServe(t, "--login", "open", "--listen", "tcp://127.0.0.1:0", "--admin-token", tokens, "--config", config)
	var real struct{ Admin string }
	if err := json.Unmarshal(p.ports, &real); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(gatewayBinary, args...)
		cmd.Env = append(os.Environ(), "SLUICE_ADMIN="+real.Admin, "SLUICE_ADMIN_TOKEN_FILE="+tokens)
		return cmd
	}
	do := func(code int, stdin string, args ...string) string {
		t.Helper()
		var errs bytes.Buffer
		cmd := command(args...)
		cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &errs
		out, _ := cmd.Output()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("sluice %q: exit code %d, want %d; %s", args, got, code, errs.String())
		}
		return string(out)
	}
	var out, errs syncbuf.Buffer
	watch := command("watch", "news")
	watch.Stdout, watch.Stderr = &out, &errs
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	if !p.await(func() bool { return strings.Contains(errs.String(), "watching news") }, "the watch") {
		_ = watch.Process.Kill()
	}
	if got := do(0, "", "publish", "news", "hello"); got != "published to 1 subscriber\n" {
		t.Errorf("publish prints %q", got)
	}
	do(0, "piped", "publish", "news")
	p.await(func() bool {
		return strings.Contains(out.String(), "  hello\n") && strings.Contains(out.String(), "  piped\n")
	}, "the messages")
	if err := watch.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := watch.Wait(); err != nil {
		t.Errorf("the watch ends with %v, %s", err, errs.String())
	}
	do(2, "", "publish")
	do(3, "", "topics", "nothing")
	do(3, "", "conns", "nobody")
	do(1, "", "conns", "--admin", "127.0.0.1:1")

	ann := p.login(t, mode{}, token("ann"))
	if got := do(0, "", "conns", "--user", "ann"); strings.Count(got, "\n") != 2 || !strings.Contains(got, "ann") {
		t.Errorf("conns prints\n%s", got)
	}
	do(0, "", "kick", "--user", "ann")
	ann.wantDisconnect(1)
	ann.wantEOF()
	do(3, "", "kick", "--user", "bob")
	write("config.toml", "max-topics = 7\n")
	if got := do(0, "", "reload"); got != "changed  max-topics\n" { // no file of secrets has
		t.Errorf("reload prints %q", got)
	}
	write("config.toml", "max-topics = \"many\"\n")
	do(1, "", "reload")
	do(0, "", "drain", "--wait", "1m")
	<-p.exited
	if p.err != nil {
		t.Errorf("the gateway ended with %v", p.err)
	}
	p.stopped = true
}

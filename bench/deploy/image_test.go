package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// instruction returns the last one of a kind in the Dockerfile, which is the gateway's image's.
func instruction(t *testing.T, kind string) string {
	t.Helper()
	text := strings.ReplaceAll(string(packaged(t, "docker/Dockerfile")), "\\\n", " ")
	all := regexp.MustCompile(`(?m)^`+kind+` (.+)$`).FindAllStringSubmatch(text, -1)
	if all == nil {
		t.Fatalf("the Dockerfile has no %s", kind)
	}
	return all[len(all)-1][1]
}

// words reads the command of an instruction, which must need no shell.
func words(t *testing.T, text string) (list []string) {
	t.Helper()
	if i := strings.IndexByte(text, '['); i < 0 || json.Unmarshal([]byte(text[i:]), &list) != nil || len(list) == 0 {
		t.Fatalf("%s: want a command in brackets: there is no shell", text)
	}
	return list
}

// imageUser is the number of the user that the image runs as.
func imageUser(t *testing.T) int64 {
	t.Helper()
	user, group, _ := strings.Cut(instruction(t, "USER"), ":")
	id, err := strconv.ParseInt(user, 10, 64)
	if err != nil || id == 0 || user != group {
		t.Fatalf("USER %s:%s: want numbers, which Kubernetes can tell from root", user, group)
	}
	return id
}

// TestDockerfile: the gateway's image is the last one, from scratch, and stops and looks after itself as
// sluice does.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	imageUser(t)
	if from := instruction(t, "FROM"); from != "scratch AS sluice" {
		t.Errorf("FROM %s", from)
	}
	program := words(t, instruction(t, "ENTRYPOINT"))
	if health := words(t, instruction(t, "HEALTHCHECK")); !slices.Equal(health, append(program, "health")) {
		t.Errorf("HEALTHCHECK %q", health)
	}
	if s := instruction(t, "STOPSIGNAL"); s != "SIGTERM" {
		t.Errorf("STOPSIGNAL %s", s)
	}
	if ports := instruction(t, "EXPOSE"); ports != "7000 6061 6070" {
		t.Errorf("EXPOSE %s", ports)
	}
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	wants := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(goMod)[1]
	if !strings.Contains(string(packaged(t, "docker/Dockerfile")), "GO_IMAGE=golang:"+string(wants)+"-") {
		t.Errorf("go.mod wants Go %s", wants)
	}
}

// TestBuildContext: what .dockerignore leaves in the context is all that the image is built from.
func TestBuildContext(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", "list", "-deps", "-f",
		`{{if and .Module .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .SFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}`,
		"./cmd/sluice", "./engine/worker/example/chatroom")
	list.Dir = root
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"go.mod", "go.sum", "packaging/docker/passwd"}
	for _, f := range strings.Fields(string(out)) {
		f, err := filepath.Rel(top, f)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if len(files) < 100 {
		t.Errorf("%d files", len(files))
	}
	for _, f := range files {
		if ignored(string(text), f) {
			t.Errorf(".dockerignore leaves out %s", f)
		}
	}
	for _, f := range []string{"packaging/docker/secrets/users", "bench/run.go", "engine/engine_test.go", ".git/config", "bin/sluice"} {
		if !ignored(string(text), f) {
			t.Errorf(".dockerignore does not leave out %s", f)
		}
	}
}

// ignored says what a .dockerignore has for a file: the last pattern counts that is for it or a folder
// that it is in.
func ignored(patterns, file string) (out bool) {
	for line := range strings.Lines(patterns) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		pattern, back := strings.CutPrefix(line, "!")
		name, anywhere := strings.CutPrefix(pattern, "**/")
		for at := file; at != "."; at = path.Dir(at) {
			on := at
			if anywhere {
				on = path.Base(at)
			}
			if ok, _ := path.Match(name, on); ok {
				out = !back
			}
		}
	}
	return out
}

// TestCompose: each file and secret that compose.yaml mounts is there, containers write to volumes only,
// and the drain fits into the time before the kill.
func TestCompose(t *testing.T) {
	t.Parallel()
	var c struct {
		Services map[string]struct {
			Build struct{ Context, Dockerfile, Target string }
			// Of the block that all have in common.
			ReadOnly        bool     `json:"read_only"`
			CapDrop         []string `json:"cap_drop"`
			SecurityOpt     []string `json:"security_opt"`
			StopGracePeriod string   `json:"stop_grace_period"`
			Ports, Volumes  []string
			Secrets         []string
			Image           string
			Command         []string
		}
		Secrets map[string]struct{ File string }
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(packaged(t, "docker/compose.yaml"), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 4 {
		t.Errorf("%d services", len(c.Services))
	}
	made := secrets(t)
	for name, s := range c.Secrets {
		if _, err := os.Stat(filepath.Join(made, filepath.Base(s.File))); err != nil || path.Dir(s.File) != "secrets" {
			t.Errorf("secret %s: %s: secrets.sh does not make it: %v", name, s.File, err)
		}
	}
	here := filepath.Join(root, "packaging/docker")
	for name, s := range c.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: read-only %v, %v, %v", name, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
		if s.Build.Target != "" {
			if _, err := os.Stat(filepath.Join(here, s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !strings.Contains(string(packaged(t, "docker/Dockerfile")), " AS "+s.Build.Target+"\n") {
				t.Errorf("%s: no target %s", name, s.Build.Target)
			}
		} else if !regexp.MustCompile(`:v?\d+\.\d+\.\d+$`).MatchString(s.Image) {
			t.Errorf("%s: image %s has no version", name, s.Image)
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat(filepath.Join(here, from)); err != nil || !strings.HasSuffix(v, ":ro") {
				t.Errorf("%s: volume %s: %v", name, v, err)
			}
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File == "" {
				t.Errorf("%s: no secret %s", name, secret)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") && p != "0.0.0.0:7000:7000" {
				t.Errorf("%s: port %s is open to everybody", name, p)
			}
		}
	}
	grace, err := time.ParseDuration(c.Services["gateway"].StopGracePeriod)
	if err != nil || drainOf(t, "docker/sluice.toml")+margin > grace {
		t.Errorf("a drain of %v and %v do not fit into %v, %v", drainOf(t, "docker/sluice.toml"), margin, grace, err)
	}
}

// TestImage runs what the Dockerfile puts into the image, as it does: its user, a root that cannot be
// written, no shell and no other file; with the configuration and the secrets of compose.yaml. The health
// check holds, clients are told at SIGTERM, and state is all that was written.
func TestImage(t *testing.T) {
	switch {
	case !full:
		t.Skip("builds a static gateway: set DEPLOY_FULL=1")
	case os.Geteuid() != 0:
		t.Skip("wants root, for a root folder and a user of its own")
	}
	t.Parallel()
	user := strconv.FormatInt(imageUser(t), 10)
	program := words(t, instruction(t, "ENTRYPOINT"))[0]
	image := t.TempDir()
	for _, dir := range []string{"etc/ssl/certs", "etc/sluice", "run/secrets", "var/lib/sluice", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(image, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(image), 0o755); err != nil { // of the test's folder
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(image, program), "./cmd/sluice")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	copyTo := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(image, name), b, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	copyTo("etc/passwd", packaged(t, "docker/passwd"))
	made := secrets(t)
	tokens := make(map[string][]byte)
	for _, name := range []string{"users", "operators", "workers", "scrape"} {
		b, err := os.ReadFile(filepath.Join(made, name))
		if err != nil {
			t.Fatal(err)
		}
		tokens[name] = b
		copyTo("run/secrets/"+name, b)
	}
	text := string(packaged(t, "docker/sluice.toml"))
	clients, workers, operators := freePort(t), freePort(t), freePort(t)
	text = strings.NewReplacer("0.0.0.0:7000", clients, "0.0.0.0:6061", workers, "0.0.0.0:6070", operators).Replace(text)
	copyTo("etc/sluice/sluice.toml", []byte(text))
	state := filepath.Join(image, "var/lib/sluice")
	id := int(imageUser(t))
	if err := os.Chown(state, id, id); err != nil {
		t.Fatal(err)
	}
	contain := func(args ...string) *exec.Cmd {
		script := `set -e; r=$1; u=$2; shift 2
			mount --bind "$r" "$r"; mount --bind "$r/var/lib/sluice" "$r/var/lib/sluice"; mount -o remount,bind,ro "$r"
			mount --rbind /proc "$r/proc"; mount --rbind /sys "$r/sys"
			exec chroot --userspec="$u:$u" --groups= "$r" "$@"`
		cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, "sh", image, user}, args...)...)
		cmd.Env = []string{"SLUICE_ADMIN=http://" + operators} // of health; the configuration says where it serves
		return cmd
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("no mount namespaces here: %v %s", err, out)
	}
	p := &process{cmd: contain(program, "serve", "--config", "/etc/sluice/sluice.toml", "--admin", operators), log: new(syncbuf.Buffer), ended: make(chan struct{}), url: "http://" + operators}
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { p.stop(t, patience) })
	health := func() (string, error) {
		out, err := contain(words(t, instruction(t, "HEALTHCHECK"))...).CombinedOutput()
		return string(out), err
	}
	await(t, "the image's health", func() bool {
		select {
		case <-p.ended:
			p.stopped = true
			t.Fatalf("the gateway has ended\n%s", p.log)
		default:
		}
		_, err := health()
		return err == nil
	})
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil || !strings.Contains(string(status), "\nUid:\t"+user+"\t"+user+"\t"+user+"\t"+user+"\n") || !strings.Contains(string(status), "\nCapEff:\t0000000000000000\n") {
		t.Errorf("%v\n%s", err, status)
	}
	conn := gosocClient(t, "tcp://"+clients, strings.Fields(string(tokens["users"]))[0])
	if code, _ := p.ask(t, "/metrics", string(tokens["scrape"])); code != 200 {
		t.Errorf("/metrics: %d", code)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	goodbye := make([]byte, 3)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(goodbye); err != nil || !slices.Equal(goodbye, gosocGoodbye) {
		t.Errorf("goodbye %x, %v", goodbye, err)
	}
	conn.Close()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Errorf("the gateway has not ended\n%s", p.log)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	p.stopped = true
	if out, err := health(); err == nil {
		t.Errorf("healthy when it is gone: %s", out)
	}
	left, err := os.ReadDir(state)
	var names []string
	for _, f := range left {
		names = append(names, f.Name())
	}
	if want := []string{"session.journal", "session.key"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("state: %v, %v, want %v", names, err, want)
	}
}

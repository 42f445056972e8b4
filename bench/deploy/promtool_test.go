package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Programs of Prometheus that tests may want.
const (
	promtool   = "promtool"
	prometheus = "prometheus"
)

var (
	unpack     sync.Once
	unpackFail string // why not
)

// need returns the path of a program of Debian's package prometheus. Where there is none, with
// INTEROP_INSTALL=1 on Debian, the package is fetched and taken apart in the user's cache: installed, it
// would start a server. Else the test is skipped.
func need(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "sluice-deploy")
	path := filepath.Join(cache, "usr/bin", name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("INTEROP_INSTALL") != "1" {
		t.Skipf("no %s here: install Debian's package prometheus, or set INTEROP_INSTALL=1 to have it fetched", name)
	}
	unpack.Do(func() { unpackFail = fetchPrometheus(t, cache) })
	if unpackFail != "" {
		t.Skipf("no %s here, and it cannot be fetched: %s", name, unpackFail)
	}
	return path
}

func fetchPrometheus(t *testing.T, cache string) (failure string) {
	t.Helper()
	dir := t.TempDir()
	apt := []string{"apt-get", "-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::http::Timeout=20", "-o", "APT::Sandbox::User=root"}
	for _, args := range [][]string{append(apt, "update"), append(apt, "download", "prometheus")} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil && args[len(args)-1] != "update" {
			return err.Error() + "\n" + string(out)
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "prometheus_*.deb"))
	if err != nil || len(found) != 1 {
		return "apt-get has left no package"
	}
	part := filepath.Join(dir, "x")
	if out, err := exec.Command("dpkg-deb", "-x", found[0], part).CombinedOutput(); err != nil {
		return err.Error() + "\n" + string(out)
	}
	bin := filepath.Join(cache, "usr/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err.Error()
	}
	for _, name := range []string{promtool, prometheus} { // whole or not at all
		b, err := os.ReadFile(filepath.Join(part, "usr/bin", name))
		if err != nil {
			return err.Error()
		}
		to := filepath.Join(bin, name)
		if err := os.WriteFile(to+".new", b, 0o755); err != nil {
			return err.Error()
		}
		if err := os.Rename(to+".new", to); err != nil {
			return err.Error()
		}
	}
	return ""
}

// TestPromtool: the alerts are ones, and fire when they must and at no other time; and compose.yaml's
// configuration of Prometheus finds them and its token.
func TestPromtool(t *testing.T) {
	t.Parallel()
	tool := need(t, promtool)
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	text := strings.ReplaceAll(string(packaged(t, "docker/prometheus.yml")), "/run/secrets", secrets(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(config), "alerts.yml"), packaged(t, "prometheus/alerts.yml"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "config", config},
		{"check", "rules", "alerts.yml"},
		{"test", "rules", "alerts_test.yml"},
	} {
		cmd := exec.Command(tool, args...)
		cmd.Dir = filepath.Join(root, "packaging/prometheus")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "SUCCESS") {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// secrets makes what secrets.sh makes, for one that runs beside a copy of it, and returns the folder.
func secrets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "secrets.sh")
	if err := os.WriteFile(script, packaged(t, "docker/secrets.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", script).CombinedOutput(); err != nil {
		t.Fatalf("secrets.sh: %v\n%s", err, out)
	}
	return filepath.Join(dir, "secrets")
}

// localConfig writes a configuration of packaging/ as it is but for its addresses, which become free ones
// of this machine, and for the folders that it names.
func localConfig(t *testing.T, name string, folders map[string]string) string {
	t.Helper()
	text := string(packaged(t, name))
	for _, port := range []string{"7000", "6061", "6070"} {
		if strings.Count(text, "0.0.0.0:"+port) != 1 {
			t.Errorf("%s: want 0.0.0.0:%s once", name, port)
		}
		text = strings.Replace(text, "0.0.0.0:"+port, "127.0.0.1:0", 1)
	}
	for from, to := range folders {
		if !strings.Contains(text, from) {
			t.Errorf("%s does not name %s", name, from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	return write(t, "sluice.toml", text)
}

// drainOf is what a configuration says of --drain.
func drainOf(t *testing.T, name string) time.Duration {
	t.Helper()
	m := regexp.MustCompile(`(?m)^drain = "(.+)"$`).FindSubmatch(packaged(t, name))
	if m == nil {
		t.Fatalf("%s: no drain", name)
	}
	d, err := time.ParseDuration(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// margin is what a grace period has beyond the drain, for the end of the process.
const margin = 5 * time.Second

// TestConfigurations: sluice check takes the configurations, with the secrets that secrets.sh makes, and
// says what is missing without.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	for name, folder := range map[string]string{"docker/sluice.toml": "/run/secrets", "kubernetes/sluice.toml": "/etc/sluice/secrets"} {
		dir := secrets(t)
		folders := map[string]string{folder: dir}
		if name == "docker/sluice.toml" {
			folders["/var/lib/sluice"] = t.TempDir()
		}
		config := localConfig(t, name, folders)
		if out, err := exec.Command(gateway, "check", "--config", config).CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ok\n") {
			t.Errorf("%s: sluice check: %v\n%s", name, err, out)
		}
		for _, secret := range []string{"users", "workers", "operators"} {
			if err := os.Rename(filepath.Join(dir, secret), filepath.Join(dir, "gone")); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(gateway, "check", "--config", config).CombinedOutput(); err == nil || !strings.Contains(string(out), secret) {
				t.Errorf("%s without %s: sluice check: %v\n%s", name, secret, err, out)
			}
			if err := os.Rename(filepath.Join(dir, "gone"), filepath.Join(dir, secret)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSecretsStay: secrets.sh replaces nothing that is there.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	dir := secrets(t)
	read := func() string {
		all, err := exec.Command("sh", "-c", "cd "+dir+" && grep -r . . | sort").CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(all)
	}
	before := read()
	if out, err := exec.Command("sh", filepath.Join(filepath.Dir(dir), "secrets.sh")).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("once more: %v\n%s", err, out)
	}
	if after := read(); after != before || strings.Count(before, "\n") != 7 {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
	scrape, err := os.ReadFile(filepath.Join(dir, "scrape"))
	if err != nil || len(scrape) < 32 || !strings.Contains(before, fmt.Sprintf("read %s\n", scrape)) {
		t.Errorf("the token of the scrape, %q, is no operator's: %v", scrape, err)
	}
}

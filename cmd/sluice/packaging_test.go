package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The settings that packages install would do, and let nobody in whom the operator does not know.
func TestPackagedSettings(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../packaging/sluice.toml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	settings := strings.NewReplacer(`"/etc/sluice/`, `"`+dir+"/", `"/var/lib/sluice/`, `"`+dir+"/", "///run/sluice/", "//"+dir+"/").Replace(string(text))
	file := filepath.Join(dir, "sluice.toml")
	for name, content := range map[string]string{file: settings, filepath.Join(dir, "admin-tokens"): "full 0123456789abcdef0123456789abcdef\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	if code := run([]string{"check", "--config", file}, &out, &errs); code != exitOK {
		t.Errorf("exit code %d: %s", code, &errs)
	}
	for _, want := range []string{
		`listen = ["tcp://127.0.0.1:7000"]`, `login = "otp"`, `netsvr-login = "required"`, `admin = "127.0.0.1:6070"`, "worker = \"unix:",
	} {
		if !strings.Contains(string(text), "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
}

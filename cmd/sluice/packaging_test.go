package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// Texts in a release link to what is there, or to where it is on the Internet.
func TestPackagedDocs(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("../../packaging/docs.sh", dir, "v1.2.3").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	texts, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "docs", "*.md"))
	if err != nil || len(texts) < 4 || len(pages) < 20 {
		t.Fatal(err, len(texts), len(pages))
	}
	site := 0
	for _, name := range append(texts, pages...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`).FindAllStringSubmatch(string(text), -1) {
			to, outside := strings.CutPrefix(link[1], "https://github.com/sluicenet/sluice/")
			switch {
			case outside:
				site++
				kind, to, _ := strings.Cut(to, "/v1.2.3/")
				if _, err := os.Stat(filepath.Join("../..", to)); err != nil || kind != "blob" && kind != "raw" {
					t.Errorf("%s: %s: %v", filepath.Base(name), link[1], err)
				}
			case !strings.Contains(to, "://"):
				if _, err := os.Stat(filepath.Join(filepath.Dir(name), to)); err != nil {
					t.Errorf("%s: %s is not there", filepath.Base(name), to)
				}
			}
		}
	}
	if site < 20 {
		t.Errorf("%d links to the repository", site)
	}
}

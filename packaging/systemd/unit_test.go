// Package systemd_test holds the service's unit against systemd's own tools.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// mostExposed is what systemd-analyze may find at most, of 10.
const mostExposed = 2.0

// analyze returns the path of systemd-analyze and systemd's version; tests that want it are skipped
// where it is not.
func analyze(t *testing.T) (tool string, version int) {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here (Debian: systemd)")
	}
	out, err := exec.Command(tool, "--version").Output()
	if err != nil {
		t.Skip(err)
	}
	match := regexp.MustCompile(`^systemd (\d+)`).FindSubmatch(out)
	if match == nil {
		t.Fatalf("%s --version says %q", tool, out)
	}
	version, _ = strconv.Atoi(string(match[1]))
	return tool, version
}

// unit copies the unit, with a program that is there.
func unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("sluice.service")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "ExecStart=/usr/bin/sluice ", "ExecStart=/bin/sh ", 1)
	if changed == string(text) {
		t.Fatal("the unit does not start /usr/bin/sluice")
	}
	name := filepath.Join(t.TempDir(), "sluice.service")
	if err := os.WriteFile(name, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// systemd has nothing to say about the unit, but that it is too old for notify-reload if it is.
func TestVerify(t *testing.T) {
	t.Parallel()
	tool, version := analyze(t)
	out, err := exec.Command(tool, "verify", "--man=no", unit(t)).CombinedOutput()
	said := ""
	for line := range strings.Lines(string(out)) {
		if version < 253 && strings.Contains(line, "Failed to parse service type, ignoring: notify-reload") {
			err = nil // this one is what it fails for
			continue
		}
		said += line
	}
	if err != nil || said != "" {
		t.Errorf("%v\n%s", err, said)
	}
}

// Nor about the socket, beside the unit.
func TestVerifySocket(t *testing.T) {
	t.Parallel()
	tool, version := analyze(t)
	if version < 253 {
		t.Skip("it complains of the unit, which is looked at elsewhere")
	}
	text, err := os.ReadFile("sluice.socket")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(filepath.Dir(unit(t)), "sluice.socket")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "verify", "--man=no", name).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// The service can do little else than it must.
func TestSecurity(t *testing.T) {
	t.Parallel()
	tool, _ := analyze(t)
	out, err := exec.Command(tool, "security", "--offline=true", "--no-pager", unit(t)).CombinedOutput()
	match := regexp.MustCompile(`Overall exposure level for sluice.service: ([0-9.]+)`).FindSubmatch(out)
	if err != nil || match == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if exposed, err := strconv.ParseFloat(string(match[1]), 64); err != nil || exposed > mostExposed {
		t.Errorf("exposure %v, want at most %v\n%s", exposed, mostExposed, out)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAccessLogOfAnotherFile: lines are appended to no file that is something else.
func TestAccessLogOfAnotherFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	link := filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("full a-token-of-operators\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ flag, file, access string }{
		{"admin-token", file, file},
		{"admin-token", file, link},
		{"ports-file", filepath.Join(dir, "none"), filepath.Join(dir, ".", "none")},
		{"session-key", filepath.Join(dir, "none"), filepath.Join(dir, "none")},
	} {
		var out, errs bytes.Buffer
		code := run([]string{"check", "--dev", "--" + tt.flag, tt.file, "--access-log", tt.access}, &out, &errs)
		if want := "is what --" + tt.flag + " has already"; code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("--%s %s --access-log %s: exit code %d, %s", tt.flag, tt.file, tt.access, code, errs.String())
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "full a-token-of-operators\n" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

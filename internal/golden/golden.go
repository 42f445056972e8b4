// Package golden compares what tests make with files that are kept beside the code: pages that are
// written from the flags, so that each change of them shows.
package golden

import (
	"os"
	"strings"
	"testing"
)

// Text fails t unless the file holds text; with update set it writes the file first. command says how
// the file is made again.
func Text(t testing.TB, file, text string, update bool, command string) {
	t.Helper()
	if update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	have := string(content)
	for line := range strings.Lines(text) {
		if !strings.Contains(have, line) {
			t.Errorf("missing: %s", line)
		}
	}
	for line := range strings.Lines(have) {
		if !strings.Contains(text, line) {
			t.Errorf("stale: %s", line)
		}
	}
	if have != text {
		t.Errorf("%s is not what it is made of: %s", file, command)
	}
}

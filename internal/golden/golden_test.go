package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A recorder is a test that may fail.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		name, have, text string
		update           bool
		errors           int
	}{
		{"the same", "a\nb\n", "a\nb\n", false, 0},
		{"a line more", "a\n", "a\nb\n", false, 2},
		{"a line less", "a\nb\n", "a\n", false, 2},
		{"another order", "a\nb\n", "b\na\n", false, 1},
		{"written", "a\n", "b\n", true, 0},
	} {
		file := filepath.Join(t.TempDir(), "page")
		if err := os.WriteFile(file, []byte(tt.have), 0o644); err != nil {
			t.Fatal(err)
		}
		r := recorder{TB: t}
		if Text(&r, file, tt.text, tt.update, "make it"); len(r.said) != tt.errors {
			t.Errorf("%s: %q, want %d errors", tt.name, r.said, tt.errors)
		}
	}
}

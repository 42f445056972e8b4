package readfile

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// TestLooksSecret: a token in place of its file's name is not shown, and a path is.
func TestLooksSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"full 5WvJ0Zp3d8Rk1sQe": true, "read\t5WvJ0Zp3d8Rk1sQe": true, "full:5WvJ0Zp3": true, "ann 5WvJ0Zp3": true, "5WvJ0Zp3d8Rk1sQe": true,
		"# tokens\nfull a/b.c": true, "/etc/x\nfull abc": true, "full 5WvJ0Zp3/d8.1sQe": true, "-----BEGIN PRIVATE KEY-----": true,
		strings.Repeat("0f", 32):   true,
		"/etc/sluice/admin tokens": false, "./full 5WvJ0Zp3d8Rk1sQe": false, "../a b": false, "~/a b": false, "tokens": false, "full": false,
		"fuller": false, "sluice-admin-tokens.txt": false, "secrets/sluice-admin-tokens": false, "": false,
	} {
		if got := LooksSecret(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
		if !want {
			continue
		}
		for _, read := range []func(string, int64) ([]byte, error){Read, ReadNow} {
			_, err := read(name, 10)
			if !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "too long") {
				t.Errorf("%q: %v", name, err)
			}
			if strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "5WvJ0Zp3") || !strings.Contains(err.Error(), "not shown") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if _, err := Read("no-such-file", 10); err == nil || !strings.Contains(err.Error(), "no-such-file") {
		t.Errorf("a name that is one: %v", err)
	}
}

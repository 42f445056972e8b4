package readfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that is not in order any more changes nothing, and what has not changed is not counted.
func TestTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "words")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parse := func(text string) ([]string, error) {
		words := strings.Fields(text)
		if len(words) == 0 {
			return nil, errors.New("holds no words")
		}
		return words, nil
	}
	if _, err := NewTable(file, "words", 100, parse); err == nil || !strings.HasPrefix(err.Error(), "words: ") {
		t.Errorf("without a file: %v", err)
	}
	write("one two")
	table, err := NewTable(file, "words", 100, parse)
	if err != nil || table.File() != file {
		t.Fatal(table, err)
	}
	for _, tt := range []struct {
		text, err, want string
		loads           uint64
	}{
		{"one two", "", "one two", 1},
		{"three", "", "three", 2},
		{"", "words: " + file + " holds no words", "three", 2},
		{strings.Repeat("x", 101), "words: " + file + " is larger than 100 bytes", "three", 2},
		{"three", "", "three", 2},
		{"four", "", "four", 3},
	} {
		write(tt.text)
		got := ""
		if err := table.Reload(); err != nil {
			got = err.Error()
		}
		if got != tt.err {
			t.Errorf("%q: error %q, want %q", tt.text, got, tt.err)
		}
		if words := strings.Join(table.Load(), " "); words != tt.want || table.Loads() != tt.loads {
			t.Errorf("%q: %q after %d loads, want %q after %d", tt.text, words, table.Loads(), tt.want, tt.loads)
		}
	}
	write("five")
	other, err := NewTable(file, "words", 100, parse)
	if err != nil {
		t.Fatal(err)
	}
	for _, changed := range []bool{true, false} {
		if got := table.Replace(other); got != changed {
			t.Errorf("replaced, another text: %v, want %v", got, changed)
		}
		if words := strings.Join(table.Load(), " "); words != "five" || table.Loads() != 4 {
			t.Errorf("replaced by %q, %d loads", words, table.Loads())
		}
	}
}

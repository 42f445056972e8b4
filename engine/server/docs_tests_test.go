package server_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tested are the documents whose tables name the tests that hold what they say.
var tested = []string{"SECURITY.md", "docs/faults.md"}

// TestDocsTests: the tests that these documents name exist, and each row of SECURITY.md names one.
func TestDocsTests(t *testing.T) {
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	defined := make(map[string]bool)
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2:
			return filepath.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(name)
		for _, m := range function.FindAllSubmatch(text, -1) {
			defined[string(m[1])] = true
		}
		return err
	})
	if err != nil || len(defined) < 500 {
		t.Fatalf("%d tests found, %v", len(defined), err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	for _, name := range tested {
		found := named.FindAllStringSubmatch(page(t, name), -1)
		if len(found) < 20 {
			t.Errorf("%s names %d tests", name, len(found))
		}
		for _, m := range found {
			if !defined[m[1]] {
				t.Errorf("%s names %s, which is no test", name, m[1])
			}
		}
	}
	_, threats, _ := strings.Cut(page(t, "SECURITY.md"), "\n## Threats\n")
	for line := range strings.Lines(threats) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| threat ") {
			continue
		}
		if len(cells) != 5 || strings.TrimSpace(cells[2]) == "" || !named.MatchString(cells[3]) {
			t.Errorf("SECURITY.md: want | threat | what holds | tests |: %s", line)
		}
	}
}

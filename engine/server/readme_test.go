package server_test

import (
	"os"
	"strings"
	"testing"
)

// The README's example is the one that is compiled and run here.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "\n## Embed it\n")
	_, rest, _ = strings.Cut(rest, "```go\n")
	code, _, found := strings.Cut(rest, "```")
	var indented strings.Builder
	for line := range strings.Lines(code) {
		if line != "\n" {
			line = "\t" + line
		}
		indented.WriteString(line)
	}
	if !found || code == "" || !strings.Contains(string(source), indented.String()) {
		t.Errorf("the README's example is not Example's:\n%s", indented.String())
	}
}

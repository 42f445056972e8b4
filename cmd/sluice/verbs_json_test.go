package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// reading are the verbs that read. What they print comes as JSON, too.
var reading = []string{"config", "token", "health", "doctor", "conns", "topics", "sessions", "session", "workers", "watch", "top", "version"}

// TestEveryVerb: those that read take --json, all have an example line of their own and their exit
// codes in their help, and those that ask a gateway find it by the environment, too.
func TestEveryVerb(t *testing.T) {
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range parser.Model.Children {
		flags := make(map[string][]string) // with their variables
		for _, f := range node.Flags {
			flags[f.Name] = f.Envs
		}
		if _, ok := flags["json"]; !ok && slices.Contains(reading, node.Name) {
			t.Errorf("%s reads, and has no --json", node.Name)
		}
		own := false
		for line := range strings.Lines(node.Detail) {
			own = own || strings.HasPrefix(strings.TrimSpace(line), "sluice "+node.Name)
		}
		if !own || !strings.Contains(node.Detail, "Exit codes: 0 ") {
			t.Errorf("%s: an example of its own: %v; its help is %q", node.Name, own, node.Detail)
		}
		if _, asks := flags["admin"]; !asks || slices.Contains([]string{"serve", "check"}, node.Name) {
			continue
		}
		if !slices.Contains(flags["admin-token-file"], "SLUICE_ADMIN_TOKEN_FILE") || !slices.Contains(flags["admin-ca"], "SLUICE_ADMIN_CA") {
			t.Errorf("%s asks a gateway: its variables are %q", node.Name, flags)
		}
		if !slices.Contains(configured, node.Name) && !slices.Contains(flags["admin"], "SLUICE_ADMIN") {
			t.Errorf("%s does not know SLUICE_ADMIN", node.Name)
		}
	}
	for _, name := range reading {
		if !slices.ContainsFunc(parser.Model.Children, func(node *kong.Node) bool { return node.Name == name }) {
			t.Errorf("there is no %s", name)
		}
	}
}

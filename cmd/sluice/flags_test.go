package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/internal/golden"
)

var update = flag.Bool("update", false, "write docs/flags.md")

const flagsFile = "../../docs/flags.md"

// docs/flags.md has every flag with its default and its text, as the command has them. It is made
// with: go test ./cmd/sluice -run Flags -update.
func TestFlags(t *testing.T) {
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	got := describeFlags(parser.Model.Node)
	golden.Text(t, flagsFile, got, *update, "go test ./cmd/sluice -run Flags -update")
}

// TestDocumentedFlags: each flag that a text names exists, and none of them was removed.
func TestDocumentedFlags(t *testing.T) {
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"help": true, "gateway": true} // the latter is of the example chatroom
	for _, cmd := range parser.Model.Children {
		for _, f := range cmd.Flags {
			known[f.Name] = !f.Hidden
		}
	}
	for _, name := range []string{
		"docs/embedding.md", "docs/backpressure.md", "docs/commands.md", "docs/doctor.md", "docs/operating.md", "docs/README.md", "engine/worker/README.md",
	} {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, word := range strings.FieldsFunc(string(text), func(r rune) bool {
			return r != '-' && (r < 'a' || r > 'z')
		}) {
			flag, ok := strings.CutPrefix(word, "--")
			if !ok || strings.Trim(flag, "-") == "" {
				continue
			}
			if seen++; !known[flag] {
				t.Errorf("%s: no flag --%s", name, flag)
			}
		}
		if name == "docs/backpressure.md" && seen == 0 {
			t.Errorf("%s: no flags found", name)
		}
	}
}

// describeFlags writes the page. serve, check and config share their settings.
func describeFlags(root *kong.Node) string {
	var b strings.Builder
	b.WriteString(`# Flags of sluice

Made from the command's own flags; a test compares. Sizes are bytes, or numbers with KiB, MiB or
GiB; times are as in 500ms, 10s or 20m. Each setting of ` + "`sluice serve`" + ` can be given as a flag, by a
variable of the environment, or in the TOML file that ` + "`--config`" + ` names: in its table, or under the
flag's name before the first table. What comes first counts:
[configuration.md](configuration.md) says how it is written.

Settings marked *live* change while the gateway runs: SIGHUP reads the file again
([operating.md](operating.md#reload)).

` + "`sluice check`" + ` takes the settings of ` + "`sluice serve`" + ` and says whether they would do, without
listening. ` + "`sluice config`" + ` prints all of them, and where each comes from.
`)
	for _, cmd := range root.Children {
		if cmd.Name == "check" {
			continue
		}
		params := make(map[string]*param)
		for _, p := range paramsOf(cmd) {
			params[p.name] = p
		}
		group, open := "", false
		fmt.Fprintf(&b, "\n## sluice %s\n\n%s\n", cmd.Name, cmd.Help)
		besides := cmd.Name == "config" || cmd.Name == "doctor"
		if besides {
			b.WriteString("Besides the settings of `sluice serve`:\n")
		}
		for _, f := range cmd.Flags {
			p := params[f.Name]
			if cmd.Name != "serve" && !besides {
				p = nil
			}
			if f.Hidden || f.Name == "help" || besides && p != nil {
				continue
			}
			if f.Group != nil && f.Group.Key != group {
				group, open = f.Group.Key, false
				fmt.Fprintf(&b, "\n### %s\n", f.Group.Title)
			}
			help := strings.ReplaceAll(f.Help, "|", "\\|")
			switch {
			case p == nil && !open:
				b.WriteString("\n| flag | default | |\n| --- | --- | --- |\n")
			case !open:
				b.WriteString("\n| flag | variable | in the file | default | |\n| --- | --- | --- | --- | --- |\n")
			}
			open = true
			if p == nil {
				fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, shown(f), help+environment(f))
				continue
			}
			key := "`" + p.key + "`"
			if p.table != "" {
				key = "`[" + p.table + "] " + p.key + "`"
			}
			if p.name == "config" {
				key = ""
			}
			fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s | %s |\n", f.Name, p.env, key, shown(f), help+live(f))
		}
	}
	return b.String()
}

// environment names the variables that stand in for a flag. The help of kong ends with them, too.
func environment(f *kong.Flag) string {
	if len(f.Envs) == 0 || strings.Contains(f.Help, f.Envs[0]) {
		return ""
	}
	return " Also $" + strings.Join(f.Envs, ", $") + "."
}

// live marks the flags that a reload changes.
func live(f *kong.Flag) string {
	if isLive(f) {
		return " *live*"
	}
	return ""
}

func shown(f *kong.Flag) string {
	switch {
	case f.HasDefault && f.Default != "":
		return "`" + f.Default + "`"
	case f.IsBool():
		return "off"
	}
	return ""
}

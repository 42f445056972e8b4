package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shell runs a script behind the completions of a shell; without the shell there is no test.
func shell(t *testing.T, name, script string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(name + " is not installed")
	}
	code, completions, errs := sluice("completion", name)
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	dir := t.TempDir()
	for file, text := range map[string]string{"completions": completions, "script": script, "token.txt": "x"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, append(args, "script")...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// completed are words of a command line, and some of what they are completed to, and what not.
var completionCases = []struct{ line, want, not string }{
	{"sluice co", "completion conns", "serve"},
	{"sluice ", "serve check config token health doctor conns topics workers sessions session kick publish watch drain reload version completion", ""},
	{"sluice conns --li", "--limit --listener", "--sort"},
	{"sluice conns --state o", "opening online", "login"},
	{"sluice kick --reason ", "forced-offline kicked-out", "--user"},
	{"sluice completion ", "bash zsh fish", "--help"},
	{"sluice help se", "serve set session", "help"},
	{"sluice set log-", "log-level=", "log-format="},
	{"sluice set drain=5s max-conn", "max-connections=", "--json"},
	{"sluice set --unset max-conn", "max-connections", "max-connections="},
	{"sluice completion -", "--help", "bash"},
	{"sluice serve --login ", "open tokens: otp cert jwt: http: https://", "otp["},
	{"sluice check --login t", "tokens:", "open"},
	{"sluice serve --slow-consumer drop", "drop-newest drop-oldest", "close"},
	{"sluice doctor --conn", "--connections --connect-rate", "--admin"},
	{"sluice doctor --slow-consumer drop", "drop-newest drop-oldest", "close"},
	{"sluice doctor --config tok", "token.txt", "script"},
	{"sluice config --r", "--running --route", "--admin"},
	{"sluice health --v", "--verbose", "--json"},
	{"sluice session --e", "--end", "--user"},
	{"sluice topics --admin-token-file tok", "token.txt", "script"},
}

func checkCompletions(t *testing.T, line, got, want, not string) {
	t.Helper()
	words := strings.Fields(got)
	has := make(map[string]bool)
	for _, w := range words {
		has[w] = true
	}
	for _, w := range strings.Fields(want) {
		if !has[w] {
			t.Errorf("%q is completed to %q, without %s", line, got, w)
		}
	}
	if not != "" && has[not] {
		t.Errorf("%q is completed to %q, with %s", line, got, not)
	}
}

func TestCompletionBash(t *testing.T) {
	t.Parallel()
	script := "source ./completions\n"
	for _, tc := range completionCases {
		words := strings.Split(tc.line, " ")
		script += "COMP_WORDS=('" + strings.Join(words, "' '") + "'); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _sluice; echo \"${COMPREPLY[*]}\"\n"
	}
	// Bash takes = for a word.
	script += "COMP_WORDS=(sluice conns --state = on); COMP_CWORD=4; _sluice; echo \"${COMPREPLY[*]}\"\n"
	script += "COMP_WORDS=(sluice set log-level = d); COMP_CWORD=4; _sluice; echo \"${COMPREPLY[*]}\"\n"
	script += "COMP_WORDS=(sluice set drain =); COMP_CWORD=3; _sluice; echo \"${COMPREPLY[*]}\"\n"
	lines := strings.Split(shell(t, "bash", script, "--norc"), "\n")
	for i, tc := range completionCases {
		checkCompletions(t, tc.line, lines[i], tc.want, tc.not)
	}
	if got := lines[len(completionCases):]; got[0] != "online" || got[1] != "debug" || got[2] != "" {
		t.Errorf("behind = there is %q", got)
	}
}

func TestCompletionFish(t *testing.T) {
	t.Parallel()
	script := "source ./completions\n"
	for _, tc := range completionCases {
		script += "string join -- ' ' (complete -C '" + tc.line + "' | string replace -r '\\t.*' '')\n"
	}
	script += "true\n" // string join of one word is 1
	lines := strings.Split(shell(t, "fish", script, "--no-config"), "\n")
	for i, tc := range completionCases {
		checkCompletions(t, tc.line, lines[i], tc.want, tc.not)
	}
}

// TestCompletionZsh has _arguments and _describe say what they are told, in place of an editor.
func TestCompletionZsh(t *testing.T) {
	t.Parallel()
	out := shell(t, "zsh", `
compdef() { print -r -- "compdef $*" }
_describe() { print -rl -- $commands }
_arguments() { print -rl -- "$@" }
source ./completions
words=(sluice ''); CURRENT=2; _sluice
words=(sluice conns ''); CURRENT=3; _sluice
words=(sluice completion ''); CURRENT=3; _sluice
print -r -- "$CURRENT $words"
`, "-f")
	for _, want := range []string{
		"compdef _sluice sluice\n", "\nwatch:Print what is published to a topic, as it comes\n",
		"\n--limit=[How many at most, 0 for all]:value: \n", "\n--state=[Only in a state: opening, login, online or attached]:value:(opening login online attached)\n",
		"File that holds an operator's token", "]:file:_files\n", "\n--json[", "\n1:value:(bash zsh fish)\n", "\n2 completion",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %.3000s", want, out)
		}
	}
}

// TestCompletionWhole: every command and flag that is not hidden is in each script.
func TestCompletionWhole(t *testing.T) {
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	list := completions(parser.Model.Node)
	scripts := map[string]string{"--": bashCompletion(list), "'--": zshCompletion(list), "-l ": fishCompletion(list)}
	for _, node := range parser.Model.Children {
		for _, f := range node.Flags {
			for prefix, text := range scripts {
				if strings.Contains(text, prefix+f.Name) == f.Hidden {
					t.Errorf("sluice %s --%s (hidden: %v): it is not in the script with %q, or it is hidden", node.Name, f.Name, f.Hidden, prefix)
				}
			}
		}
	}
	if code, out, errs := sluice("completion", "tcsh"); code != exitUsage || out != "" || !strings.Contains(errs, "bash") {
		t.Errorf("another shell: %d, %q, %q", code, out, errs)
	}
}

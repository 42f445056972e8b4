package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/engine/login"
)

type completionCmd struct {
	Shell string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`
}

// Help implements kong.HelpProvider.
func (*completionCmd) Help() string {
	return examples(
		"source <(sluice completion bash)                                  # for this shell",
		"sluice completion bash > /etc/bash_completion.d/sluice            # for all",
		"sluice completion zsh > \"${fpath[1]}/_sluice\"",
		"sluice completion fish > ~/.config/fish/completions/sluice.fish") + localCodes
}

// Run prints a script that completes commands, flags, and those of their values that are known.
func (cmd *completionCmd) Run(s *streams, app *kong.Kong) error {
	write := map[string]func([]completed) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	_, err := fmt.Fprint(s.stdout, write[cmd.Shell](completions(app.Model.Node)))
	return err
}

// A completed is a command as it is completed.
type completed struct {
	name, help string
	flags      []completedFlag
	args       []string        // values of its arguments, if they are known
	keys       []completedFlag // its arguments are KEY=VALUE, and it takes several
}

// A completedFlag is a flag as it is completed.
type completedFlag struct {
	names  []string // with their hyphens
	help   string
	values []string // that it may have, if they are known
	file   bool     // it names a file
	alone  bool     // it has no value
}

// completions reads commands and their flags off the parser's model.
func completions(root *kong.Node) (list []completed) {
	live := liveSettings(root)
	for _, node := range root.Children {
		if node.Hidden {
			continue
		}
		c := completed{name: node.Name, help: oneLine(node.Help)}
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				c.flags = append(c.flags, completedFlagOf(f))
			}
		}
		if len(node.Positional) > 0 {
			c.args = enumOf(node.Positional[0])
		}
		if node.Name == "set" {
			c.keys = live
			for _, k := range live {
				c.args = append(c.args, k.names[0]+"=")
			}
			for i := range c.flags {
				if c.flags[i].names[0] == "--unset" {
					c.flags[i].values = flagNames(live)
				}
			}
		}
		list = append(list, c)
	}
	return append(list, completed{name: "help", help: "Show the help of a command", args: namesOf(list)})
}

// liveSettings are those that change while the gateway runs, by their names in sluice set.
func liveSettings(root *kong.Node) (list []completedFlag) {
	for _, node := range root.Children {
		if node.Name != "serve" {
			continue
		}
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				if !isLive(f) {
					continue
				}
				c := completedFlagOf(f)
				c.names = []string{f.Name}
				if c.alone {
					c.values, c.alone = []string{"true", "false"}, false
				}
				list = append(list, c)
			}
		}
	}
	return list
}

func completedFlagOf(f *kong.Flag) completedFlag {
	c := completedFlag{names: []string{"--" + f.Name}, help: oneLine(f.Help), values: enumOf(f.Value), alone: f.IsBool()}
	switch f.Name {
	case "login":
		c.values = loginKinds()
	case "log-level":
		c.values = []string{"debug", "info", "warn", "error"}
	}
	if f.Short != 0 {
		c.names = append(c.names, "-"+string(f.Short))
	}
	if f.Tag.Negatable != "" {
		c.names = append(c.names, "--no-"+f.Name)
	}
	c.file = !c.alone && strings.Contains(f.PlaceHolder, "FILE")
	return c
}

// loginKinds are how values of --login begin.
func loginKinds() (list []string) {
	for _, usage := range login.Kinds() {
		kind, rest, wants := strings.Cut(usage, ":")
		if plain, optional := strings.CutSuffix(kind, "["); optional {
			kind, wants = plain, false
		}
		if wants && !strings.HasPrefix(rest, "//") {
			kind += ":"
		} else if wants {
			kind += "://"
		}
		list = append(list, kind)
	}
	return list
}

// enumOf returns the values that v may have, nil if there are others.
func enumOf(v *kong.Value) (list []string) {
	for _, text := range v.EnumSlice() {
		if text != "" {
			list = append(list, text)
		}
	}
	return list
}

// oneLine is the first sentence of a help text.
func oneLine(help string) string {
	help = strings.Join(strings.Fields(help), " ")
	if i := strings.Index(help, ". "); i >= 0 {
		help = help[:i]
	}
	return strings.TrimSuffix(help, ".")
}

func flagNames(list []completedFlag) (names []string) {
	for _, f := range list {
		names = append(names, f.names...)
	}
	return names
}

func namesOf(list []completed) (names []string) {
	for _, c := range list {
		names = append(names, c.name)
	}
	return names
}

// bashCompletion writes a function that looks at the command and at the word before. Bash takes = for
// a word of its own, so that --flag=value is three.
func bashCompletion(list []completed) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# bash completion of sluice
_sluice() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev= cmd= words= kind=words
	((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD - 1]}
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		((COMP_CWORD > 1)) && prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	((COMP_CWORD > 1)) && cmd=${COMP_WORDS[1]}
	COMPREPLY=()
	case $cmd in
	'') words="%s --help" ;;
`, strings.Join(namesOf(list), " "))
	for _, c := range list {
		fmt.Fprintf(&b, "\t%s)\n\t\tcase $prev in\n", c.name)
		for _, f := range append(c.flags, c.keys...) {
			pattern := strings.Join(f.names, " | ")
			switch {
			case f.alone:
			case len(f.values) > 0:
				fmt.Fprintf(&b, "\t\t%s) words=\"%s\" ;;\n", pattern, strings.Join(f.values, " "))
			case f.file:
				fmt.Fprintf(&b, "\t\t%s) kind=files ;;\n", pattern)
			default:
				fmt.Fprintf(&b, "\t\t%s) kind=none ;;\n", pattern)
			}
		}
		fmt.Fprintf(&b, "\t\t*)\n\t\t\twords=\"%s\"\n", strings.Join(flagNames(c.flags), " "))
		if len(c.args) > 0 { // flags are for those who begin one
			fmt.Fprintf(&b, "\t\t\t[[ $cur == -* ]] || words=\"%s\"\n", strings.Join(c.args, " "))
		}
		b.WriteString("\t\t\t;;\n\t\tesac\n\t\t;;\n")
	}
	b.WriteString(`	esac
	case $kind in
	words)
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		[[ ${COMPREPLY[*]} == *[:/=] ]] && compopt -o nospace 2>/dev/null
		;;
	files)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	esac
}
complete -F _sluice sluice
`)
	return b.String()
}

// zshCompletion writes what _arguments of zsh wants to know.
func zshCompletion(list []completed) string {
	var b strings.Builder
	b.WriteString(`#compdef sluice
_sluice() {
	local -a commands
	commands=(
`)
	for _, c := range list {
		fmt.Fprintf(&b, "\t\t%s\n", quote(c.name+":"+strings.ReplaceAll(c.help, ":", `\:`)))
	}
	b.WriteString(`	)
	if ((CURRENT == 2)); then
		_describe -t commands command commands
		return
	fi
	local cmd=$words[2]
	shift words
	((CURRENT--))
	case $cmd in
`)
	for _, c := range list {
		fmt.Fprintf(&b, "\t%s)\n\t\t_arguments -s -S", c.name)
		for _, f := range c.flags {
			for _, name := range f.names {
				spec := name
				if !f.alone && strings.HasPrefix(name, "--") {
					spec += "="
				} else if !f.alone {
					spec += "+"
				}
				spec += "[" + strings.NewReplacer("[", `\[`, "]", `\]`, `\`, `\\`).Replace(f.help) + "]"
				switch {
				case f.alone:
				case len(f.values) > 0:
					spec += ":value:(" + strings.ReplaceAll(strings.Join(f.values, " "), ":", `\:`) + ")"
				case f.file:
					spec += ":file:_files"
				default:
					spec += ":value: "
				}
				fmt.Fprintf(&b, " \\\n\t\t\t%s", quote(spec))
			}
		}
		if len(c.args) > 0 {
			spec := "1:value:(" + strings.Join(c.args, " ") + ")"
			if c.keys != nil {
				spec = "*:value:{compadd -S '' -- " + strings.Join(c.args, " ") + "}"
			}
			fmt.Fprintf(&b, " \\\n\t\t\t%s", quote(spec))
		}
		b.WriteString("\n\t\t;;\n")
	}
	b.WriteString(`	esac
}
if [[ $funcstack[1] == _sluice ]]; then
	_sluice "$@"
else
	compdef _sluice sluice
fi
`)
	return b.String()
}

// fishCompletion writes a complete command for each command and flag.
func fishCompletion(list []completed) string {
	var b strings.Builder
	b.WriteString("# fish completion of sluice\ncomplete -c sluice -f\n")
	for _, c := range list {
		fmt.Fprintf(&b, "complete -c sluice -n __fish_use_subcommand -a %s -d %s\n", c.name, fishQuote(c.help))
	}
	for _, c := range list {
		of := fmt.Sprintf("complete -c sluice -n '__fish_seen_subcommand_from %s'", c.name)
		for _, f := range c.flags {
			for _, name := range f.names {
				option := " -s " + strings.TrimPrefix(name, "-")
				if long, ok := strings.CutPrefix(name, "--"); ok {
					option = " -l " + long
				}
				switch {
				case f.alone:
				case len(f.values) > 0:
					option += " -x -a " + fishQuote(strings.Join(f.values, " "))
				case f.file:
					option += " -r -F"
				default:
					option += " -x"
				}
				fmt.Fprintf(&b, "%s%s -d %s\n", of, option, fishQuote(f.help))
			}
		}
		if len(c.args) > 0 {
			fmt.Fprintf(&b, "%s -a %s\n", of, fishQuote(strings.Join(c.args, " ")))
		}
	}
	return b.String()
}

// quote makes one word of s for zsh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fishQuote makes one word of s for fish, where a backslash counts between quotes.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

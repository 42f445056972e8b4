package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/cmd/sluice/internal/nearest"
	"github.com/sluicenet/sluice/cmd/sluice/internal/tomlfile"
	"github.com/sluicenet/sluice/internal/readfile"
)

// A source is where a value comes from. What comes first counts.
type source int

const (
	fromFlag source = iota
	fromEnv
	fromFile
	fromMemory // derived from --memory
	fromDefault
	fromAPI // which counts before all others until the next reload: inputs.asked
)

// String is how the API and config call it.
func (s source) String() string {
	return [...]string{"flag", "env", "file", "memory", "default", "api"}[s]
}

// A place is where something stands that the command was given.
type place struct {
	source source
	label  string // how it is called there: --lag, SLUICE_LAG, memory.lag
	file   string
	pos    tomlfile.Pos
}

// prefix is what an error about it begins with.
func (p place) prefix() string {
	text := ""
	if p.source == fromFile {
		text = p.file + ": "
		if p.pos.Line > 0 {
			text = fmt.Sprintf("%s:%d:%d: ", p.file, p.pos.Line, p.pos.Column)
		}
	}
	if p.label != "" {
		text += p.label + ": "
	}
	return text
}

// An item is a text that somebody gave for a setting.
type item struct {
	place
	text string
}

// inputs are what a command was given: flags, variables, a file.
type inputs struct {
	params   []*param
	byName   map[string]*param
	given    map[string][]item // for each setting what counts of them, by flag
	asked    map[string][]item // what operators have asked for over the API, and counts before; perhaps an empty list
	derived  map[string]bool   // flags whose value is made of --memory
	file     string            // empty: none
	faults   faultsError
	warnings []string
	rest     []string // of the command line: the command, and flags of its own
}

// read takes the settings out of the command line, the environment and the file that they name. What
// is wrong with them is in faults.
func read(node *kong.Node, args, environ []string) *inputs {
	in := &inputs{
		params: paramsOf(node), byName: make(map[string]*param), given: make(map[string][]item), derived: make(map[string]bool),
		rest: []string{node.Name},
	}
	for _, p := range in.params {
		in.byName[p.name] = p
	}
	in.readArgs(node, args)
	in.readEnvironment(environ)
	if file := in.given["config"]; len(file) > 0 {
		in.file = file[len(file)-1].text
		if strings.HasPrefix(in.file, "~") { // of a variable or of --config=~/..., which no shell expands
			in.file = kong.ExpandPath(in.file)
		}
		in.readFile(in.file, file[len(file)-1].place)
	}
	return in
}

// give takes what one source says of a setting: it counts unless one before it has spoken. All of it
// must be good in any case.
func (in *inputs) give(p *param, items []item) {
	ok := true
	for _, it := range items {
		if err := p.try(it.text); err != nil {
			ok = false
			in.faults = append(in.faults, fault{it.place, p.name, p.hidden(err.Error(), it.text)})
		}
	}
	if before, taken := in.given[p.name]; ok && (!taken || before[0].source > items[0].source) {
		in.given[p.name] = items
	}
}

// apply writes what was given over the defaults.
func (in *inputs) apply() {
	for name, items := range in.given {
		in.byName[name].set(items)
	}
	for name, items := range in.asked {
		in.byName[name].set(items)
	}
}

// counts are the items of a flag that count, if anybody has said anything.
func (in *inputs) counts(flag string) (items []item, ok bool) {
	if items, ok = in.asked[flag]; !ok {
		items, ok = in.given[flag]
	}
	return items, ok
}

// values are those that the settings have now, by flag.
func (in *inputs) values() map[string]any {
	values := make(map[string]any)
	for _, p := range in.params {
		values[p.name] = p.flag.Target.Interface()
	}
	return values
}

// derive notes the flags whose values are made of --memory, and has these values in values in place of
// the defaults.
func (in *inputs) derive(flags []string, values map[string]any) {
	for _, flag := range flags {
		in.derived[flag] = true
		values[flag] = in.byName[flag].flag.Target.Interface()
	}
}

// isGiven reports whether anybody has said anything of a flag.
func (in *inputs) isGiven(flag string) bool {
	_, ok := in.counts(flag)
	return ok
}

// placeOf says where a flag was given, or the value of it with an index.
func (in *inputs) placeOf(flag string, index int) place {
	items, ok := in.counts(flag)
	switch {
	case ok && len(items) == 0:
		return place{source: fromAPI, label: in.byName[flag].path()}
	case !ok:
		return place{source: fromFlag, label: "--" + flag}
	case index >= 0 && index < len(items):
		return items[index].place
	}
	return items[0].place
}

// sourceOf says where the value in force comes from.
func (in *inputs) sourceOf(flag string) place {
	switch items, ok := in.counts(flag); {
	case ok && len(items) == 0:
		return place{source: fromAPI}
	case ok:
		return items[0].place
	case in.derived[flag]:
		return place{source: fromMemory}
	}
	return place{source: fromDefault}
}

// readArgs reads the command line behind the command. Flags that are none of the settings are left in
// rest.
func (in *inputs) readArgs(node *kong.Node, args []string) {
	own, names := make(map[string]*kong.Flag), []string{}
	for _, f := range node.AllFlags(false) {
		for _, f := range f {
			own[f.Name] = f
			if !f.Hidden {
				names = append(names, "--"+f.Name)
			}
		}
	}
	items := make(map[string][]item)
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, value, joined := strings.Cut(arg, "=")
		plain, ok := strings.CutPrefix(name, "--")
		if !ok || plain == "" {
			if strings.HasPrefix(arg, "-") && arg != "-" && arg != "--" { // -h
				in.rest = append(in.rest, arg)
			} else {
				shown := strconv.Quote(arg)
				if readfile.LooksSecret(arg) { // --admin-token full TOKEN
					shown = notShown
				}
				in.faults = append(in.faults, fault{text: "unexpected argument " + shown + ": settings are flags, as --listen URL"})
			}
			continue
		}
		p, negated := in.byName[plain], false
		if p == nil {
			if of, ok := strings.CutPrefix(plain, "no-"); ok && in.byName[of] != nil && in.byName[of].flag.Tag.Negatable != "" {
				p, negated = in.byName[of], true
			}
		}
		if p == nil && own[plain] != nil {
			in.rest = append(in.rest, arg)
			if !joined && !own[plain].IsBool() && len(args) > 0 {
				in.rest, args = append(in.rest, args[0]), args[1:]
			}
			continue
		}
		at := place{source: fromFlag, label: name}
		switch {
		case p == nil:
			word := nearest.Word(name, names)
			in.faults = append(in.faults, fault{place{source: fromFlag}, strings.TrimPrefix(word, "--"), "unknown flag " + firstWord(name) + didYouMean(word)})
			if !joined && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				args = args[1:] // its value, in all likelihood
			}
			continue
		case negated && joined:
			in.faults = append(in.faults, fault{at, p.name, "takes no value"})
			continue
		case negated:
			value = "false"
		case joined:
		case p.removed():
			if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				args = args[1:]
			}
		case p.flag.IsBool():
			value = "true"
		case len(args) == 0 || strings.HasPrefix(args[0], "--"):
			in.faults = append(in.faults, fault{at, p.name, "it wants a value: " + p.form()})
			continue
		default:
			value, args = args[0], args[1:]
		}
		if p.flag.IsSlice() {
			items[p.name] = append(items[p.name], item{at, value})
		} else {
			items[p.name] = []item{{at, value}} // the last one counts
		}
	}
	for _, p := range in.params {
		if len(items[p.name]) > 0 {
			in.give(p, items[p.name])
		}
	}
}

// didYouMean is the end of an error that knows what was meant.
func didYouMean(word string) string {
	if word == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", word)
}

// firstWord is what there is before the first blank. What is behind it is no part of a flag's name, and
// may be of a key.
func firstWord(text string) string {
	if i := strings.IndexAny(text, " \t\r\n"); i >= 0 {
		return text[:i] + "..."
	}
	return text
}

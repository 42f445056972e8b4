package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/cmd/sluice/internal/tomlfile"
)

// askedFor is what the command line args comes to with what in has read already, and with what operators
// ask for besides. It reads nothing again.
func askedFor(args []string, in *inputs, settings map[string]any) (*call, error) {
	parser, err := newParserFor(commandsFor(args), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		return nil, err
	}
	node, _ := commandOf(parser.Model.Node, args)
	c := &call{parser: parser, inputs: in.with(node, settings)}
	if c.ctx, err = parser.Parse(c.inputs.rest); err != nil {
		return nil, err
	}
	c.inputs.apply()
	return c, nil
}

// with returns in with settings that operators have asked for, for the flags of node. A setting that is
// nil is one that they ask for no more.
func (in *inputs) with(node *kong.Node, settings map[string]any) *inputs {
	next := &inputs{
		params: paramsOf(node), byName: make(map[string]*param), given: in.given, asked: make(map[string][]item),
		derived: make(map[string]bool), file: in.file, rest: []string{node.Name},
	}
	maps.Copy(next.asked, in.asked)
	for _, p := range next.params {
		next.byName[p.name] = p
	}
	newFileReader(next, place{source: fromAPI}).ask(nil, settings)
	return next
}

// ask takes what operators ask for: settings by the names that a file may give them, in objects or with
// dots between the parts of a name.
func (f *fileReader) ask(table []string, settings map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		path := append(slices.Clone(table), strings.Split(key, ".")...)
		name, value := tomlfile.Join(path), settings[key]
		p := f.paths[name]
		inner, isObject := value.(map[string]any)
		switch {
		case p != nil && !isObject:
			f.askFor(p, name, value)
		case isObject && f.tables[name]:
			f.ask(path, inner)
		case p != nil:
			f.fail(tomlfile.Pos{}, p.name, "%s: want a value, %s", name, p.form())
		default:
			f.unknown(tomlfile.Entry{Path: path})
		}
	}
}

// askFor takes the value of one setting.
func (f *fileReader) askFor(p *param, name string, value any) {
	at := f.at
	at.label = name
	wrong := func(text string) { f.in.faults = append(f.in.faults, fault{at, p.name, text}) }
	if first, ok := f.first[p.name]; ok {
		wrong("given twice, also as " + first.label)
		return
	}
	f.first[p.name] = at
	values, isList := value.([]any)
	switch {
	case value == nil:
		delete(f.in.asked, p.name)
		return
	case !isList && p.flag.IsSlice() && value == "":
	case !isList || !p.flag.IsSlice():
		values = []any{value}
	}
	items := []item{}
	for _, v := range values {
		text, problem := p.asText(v)
		if problem == "" {
			if err := p.try(text); err != nil {
				problem = err.Error()
			}
		}
		if problem != "" {
			wrong(problem)
			return
		}
		items = append(items, item{at, text})
	}
	f.in.asked[p.name] = items
}

// asText is the text that a flag would have for a value of JSON. A text does for every setting, as a flag
// has it; a value of another kind must be of the setting's. The problem is empty if it is.
func (p *param) asText(value any) (text, problem string) {
	v := tomlfile.Value{Kind: tomlfile.List}
	switch value := value.(type) {
	case string:
		return value, ""
	case bool:
		v = tomlfile.Value{Kind: tomlfile.Bool, Text: fmt.Sprint(value)}
	case json.Number:
		v = tomlfile.Value{Kind: tomlfile.Integer, Text: value.String()}
		if strings.ContainsAny(v.Text, ".eE") {
			v.Kind = tomlfile.Float
		}
	case nil:
		return "", fmt.Sprintf("want %s, not null", p.form())
	case map[string]any:
		return "", fmt.Sprintf("want %s, not an object", p.form())
	}
	if p.removed() {
		return v.Text, ""
	}
	return v.Text, p.misfit(v)
}

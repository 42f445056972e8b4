package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/nearest"
	"github.com/sluicenet/sluice/cmd/sluice/internal/tomlfile"
	"github.com/sluicenet/sluice/internal/readfile"
)

// maxConfigFile bounds the file of settings, in bytes.
const maxConfigFile = 1 << 20

// readFile reads the file of settings, which somebody has named at a place.
func (in *inputs) readFile(name string, by place) {
	text, err := readfile.Read(name, maxConfigFile)
	if err != nil {
		in.faults = append(in.faults, fault{by, "config", err.Error()})
		return
	}
	newFileReader(in, place{source: fromFile, file: name}).take(tomlfile.Parse(text))
}

func newFileReader(in *inputs, at place) *fileReader {
	f := &fileReader{in: in, at: at, paths: make(map[string]*param), tables: make(map[string]bool), first: make(map[string]place)}
	for _, p := range in.params {
		f.paths[p.name], f.paths[p.path()] = p, p
		f.tables[p.table] = true
	}
	delete(f.tables, "")
	return f
}

// A fileReader takes the settings from a file, or from what is like one.
type fileReader struct {
	in     *inputs
	at     place             // where it is, but for the line
	paths  map[string]*param // by what the file may call them
	tables map[string]bool
	first  map[string]place // where each was given, by flag
}

func (f *fileReader) fail(pos tomlfile.Pos, flag, format string, args ...any) {
	at := f.at
	at.pos = pos
	f.in.faults = append(f.in.faults, fault{at, flag, fmt.Sprintf(format, args...)})
}

func (f *fileReader) take(file *tomlfile.File) {
	for _, e := range file.Errors {
		flag, text := "config", e.Text // it may concern any of them
		if p := f.paths[tomlfile.Join(e.Path)]; p != nil {
			flag = p.name
			if e.Clash && p.table == p.name {
				text += fmt.Sprintf("; in the table it is %s", p.key)
			}
		}
		f.fail(e.Pos, flag, "%s", text)
	}
	unknown := make(map[string]bool) // tables
	for _, t := range file.Tables {
		name := tomlfile.Join(t.Path)
		if f.tables[name] || len(t.Path) > 1 && unknown[tomlfile.Join(t.Path[:1])] {
			unknown[name] = !f.tables[name]
			continue
		}
		unknown[name] = true
		hint := didYouMean(inBrackets(nearest.Word(name, f.tableNames())))
		if p := f.paths[name]; p != nil {
			f.fail(t.Pos, p.name, "%s is no table: want a value, %s%s", name, p.form(), hint)
		} else {
			f.fail(t.Pos, "", "unknown table %q%s", name, hint)
		}
	}
	for _, e := range file.Entries {
		name := tomlfile.Join(e.Path)
		p := f.paths[name]
		switch {
		case p != nil && p.name == "config":
			f.fail(e.Pos, p.name, "config: one file is read, and no other that it names")
		case p != nil:
			f.setting(p, e)
		case len(e.Path) > 1 && unknown[tomlfile.Join(e.Path[:len(e.Path)-1])]:
		default:
			f.unknown(e)
		}
	}
}

func (f *fileReader) tableNames() (names []string) {
	for name := range f.tables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func inBrackets(table string) string {
	if table == "" {
		return ""
	}
	return "[" + table + "]"
}

// unknown names the key that is nearest to one that is none.
func (f *fileReader) unknown(e tomlfile.Entry) {
	key, table := e.Path[len(e.Path)-1], tomlfile.Join(e.Path[:len(e.Path)-1])
	var flat, here []string
	for _, p := range f.in.params {
		if p.removed() || p.name == "config" {
			continue
		}
		flat = append(flat, p.name)
		if p.table == table && table != "" {
			here = append(here, p.key)
		}
	}
	text := fmt.Sprintf("unknown key %q", key)
	switch {
	case table == "" && f.tables[key]:
		f.fail(e.Pos, "", "%s is a table, and has no value: want [%s], and its keys below it", key, key)
		return
	case len(e.Path) > 2 || table != "" && !f.tables[table]:
		f.fail(e.Pos, "", "%s in %s: there is no such table%s", text, table, didYouMean(inBrackets(nearest.Word(table, f.tableNames()))))
		return
	case table != "":
		text += " in [" + table + "]"
		if p := f.in.byName[key]; p != nil && p.name != "config" { // a flag's name, in a table
			f.fail(e.Pos, p.name, "%s%s", text, didYouMean(f.belongs(p, table)))
			return
		}
		if word := nearest.Word(key, here); word != "" {
			f.fail(e.Pos, f.paths[table+"."+word].name, "%s%s", text, didYouMean(fmt.Sprintf("%q", word)))
			return
		}
	}
	word := nearest.Word(key, flat)
	switch p := f.in.byName[word]; {
	case p == nil:
		f.fail(e.Pos, "", "%s", text)
	case table == "":
		f.fail(e.Pos, p.name, "%s%s", text, didYouMean(fmt.Sprintf("%q", word)))
	default:
		f.fail(e.Pos, p.name, "%s%s", text, didYouMean(f.belongs(p, table)))
	}
}

// belongs says where a setting belongs, to somebody who is in a table.
func (f *fileReader) belongs(p *param, table string) string {
	switch p.table {
	case table:
		return fmt.Sprintf("%q", p.key)
	case "":
		return fmt.Sprintf("%q before the first table", p.key)
	}
	return fmt.Sprintf("%q in [%s]", p.key, p.table)
}

// setting takes the value of a setting.
func (f *fileReader) setting(p *param, e tomlfile.Entry) {
	label := tomlfile.Join(e.Path)
	at := f.at
	at.label, at.pos = label, e.Value.Pos
	if first, ok := f.first[p.name]; ok {
		f.fail(e.Pos, p.name, "%s: given twice, first in line %d as %s", label, first.pos.Line, first.label)
		return
	}
	f.first[p.name] = at
	values := []tomlfile.Value{e.Value}
	if e.Value.Kind == tomlfile.List && p.flag.IsSlice() {
		values = e.Value.List
	}
	var items []item
	for _, v := range values {
		at.pos = v.Pos
		if text := p.misfit(v); text != "" && !p.removed() {
			f.in.faults = append(f.in.faults, fault{at, p.name, text})
			items = nil
			break
		}
		items = append(items, item{at, v.Text})
	}
	switch {
	case len(items) > 0:
		f.in.give(p, items)
	case len(values) == 0 && p.flag.HasDefault:
		f.fail(e.Value.Pos, p.name, "%s: the list is empty", label)
	}
}

// misfit says why a value is of the wrong kind, empty if it is not.
func (p *param) misfit(v tomlfile.Value) string {
	want := tomlfile.Text
	kinds := []tomlfile.Kind{tomlfile.Text}
	switch t := reflect.New(p.elem()).Elem(); {
	case t.Type() == reflect.TypeFor[time.Duration](), t.Kind() != reflect.String && reflect.PointerTo(t.Type()).NumMethod() > 0:
		kinds = append(kinds, tomlfile.Integer, tomlfile.Float) // which a size or a part may be; the others say what is missing
	case t.Kind() == reflect.Bool:
		want, kinds = tomlfile.Bool, nil
	case t.Kind() != reflect.String:
		want, kinds = tomlfile.Integer, []tomlfile.Kind{tomlfile.Float}
	case p.flag.Enum != "":
		kinds = append(kinds, tomlfile.Integer, tomlfile.Float) // tls-min = 1.3
	}
	if v.Kind == want || slices.Contains(kinds, v.Kind) {
		return ""
	}
	text := fmt.Sprintf("want %s, not %s", p.form(), strings.Replace(v.Kind.String(), "true or false", v.Text, 1))
	switch {
	case v.Kind == tomlfile.List || p.decode(reflect.New(p.elem()).Elem(), v.Text) != nil:
		return text
	case want == tomlfile.Text:
		return text + didYouMean(fmt.Sprintf("%q", v.Text))
	case want == tomlfile.Bool:
		return text + didYouMean(fmt.Sprint(truths[strings.ToLower(v.Text)]))
	}
	return text + didYouMean(v.Text)
}

// misfitsText reports whether a text is no value of the setting, whatever it says.
func (p *param) misfitsText() bool {
	return p.misfit(tomlfile.Value{Kind: tomlfile.Text, Text: ""}) != ""
}

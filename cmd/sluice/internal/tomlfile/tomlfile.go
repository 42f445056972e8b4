// Package tomlfile reads a TOML file as a list of keys and values, each with its place, and goes on
// after a mistake: who has made three wants to hear of three.
package tomlfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/sluicenet/sluice/internal/utf8bom"
)

// A Pos is a place in a file. Lines and columns count from 1, columns in characters.
type Pos struct{ Line, Column int }

// A Kind is what a value is.
type Kind int

// The kinds of values.
const (
	Text Kind = iota
	Integer
	Float
	Bool
	Time // or a date, or both
	List
)

// String says what the kind is called in errors.
func (k Kind) String() string {
	return [...]string{"a text", "a number", "a number with a fraction", "true or false", "a time", "a list"}[k]
}

// A Value is what a key is set to.
type Value struct {
	Pos  Pos
	Kind Kind
	Text string  // what a Text says, an Integer in decimal, others as they are written
	List []Value // of a List
}

// An Entry is a key and its value.
type Entry struct {
	Path  []string // the key, behind the names of the tables that it is in
	Pos   Pos      // of the key
	Value Value
}

// A Table is the header of a table, or a table within braces.
type Table struct {
	Path []string
	Pos  Pos // of its name
}

// An Error is a mistake.
type Error struct {
	Pos  Pos
	Path []string // the key that it concerns, if that is known
	Text string
	// Clash is whether it is that a key with a value is a table, too.
	Clash bool
}

// Error says where and what.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Pos.Line, e.Pos.Column, e.Text) }

// A File is what there is in one.
type File struct {
	Entries []Entry
	Tables  []Table
	Errors  []*Error // in the order of their places
}

// Parse reads a file. Of a key that is given twice the first counts, and the second is an error.
func Parse(text []byte) *File {
	r := &reader{text: text, seen: make(map[string]Pos), headers: make(map[string]Pos)}
	if len(text) > 0 && !utf8.Valid(text) {
		r.fail(invalidUTF8(text), nil, "this is not UTF-8")
		return &r.file
	}
	text = utf8bom.Trim(text)
	r.text = text
	for from := 0; from < len(text); {
		from = r.read(from)
	}
	slices.SortStableFunc(r.file.Errors, func(a, b *Error) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Column - b.Pos.Column
	})
	return &r.file
}

func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(text)
}

// A reader is a file that is being read.
type reader struct {
	text    []byte
	file    File
	table   []string       // in whose header we are
	lost    bool           // the header could not be read: nobody knows whose the keys behind it are
	seen    map[string]Pos // of keys, and of tables that keys imply
	headers map[string]Pos
}

// read reads from an offset on up to a mistake in the syntax or to the end, and says where to go on.
func (r *reader) read(from int) int {
	text := r.text[from:]
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			r.header(e, from)
		case unstable.KeyValue:
			if !r.lost {
				r.keyValue(e, from, r.table)
			}
		}
	}
	if p.Error() == nil {
		return len(r.text)
	}
	at, message := len(r.text), p.Error().Error()
	var e *unstable.ParserError
	if errors.As(p.Error(), &e) {
		at = min(from+max(cap(text)-cap(e.Highlight), 0), len(r.text))
	}
	return r.syntax(at, message)
}

var (
	// beginning is how a line begins that is a key with its value, or a header.
	beginning = regexp.MustCompile(`^[ \t]*(\[|[A-Za-z0-9_."'-][A-Za-z0-9_. "'-]*=)`)
	// unquoted is a line with a value that is not one of TOML, and more than a comment.
	unquoted = regexp.MustCompile(`^[ \t]*([A-Za-z0-9_.-]+)[ \t]*=[ \t]*([^ \t\r"'\[{#][^#"']*?)?[ \t\r]*(#.*)?$`)
	unended  = regexp.MustCompile(`not terminated by ("""|''')$`)
	keyOf    = regexp.MustCompile(`^[ \t]*([A-Za-z0-9_.-]+)`)
)

// syntax notes a mistake at an offset, and returns that of the next line that makes sense.
func (r *reader) syntax(at int, message string) int {
	if m := unended.FindStringSubmatch(message); m != nil { // it is where it begins
		if i := bytes.LastIndex(r.text[:at], []byte(m[1])); i >= 0 {
			at = i
		}
	}
	begin, end := r.lineOf(at)
	if at == end && at > 0 && at == len(r.text) && begin == at { // behind the last line
		begin, end = r.lineOf(at - 1)
	}
	line := string(r.text[begin:end])
	var path []string
	if key := keyOf.FindStringSubmatch(line); key != nil && !r.lost {
		path = slices.Concat(r.table, strings.Split(key[1], "."))
	}
	if m := unquoted.FindStringSubmatchIndex(line); m != nil {
		switch at = begin + max(m[4], 0); {
		case m[4] < 0:
			at, message = begin+strings.IndexByte(line, '=')+1, "there is no value behind ="
		default:
			message = bare(line[m[4]:m[5]])
		}
	}
	if strings.HasPrefix(strings.TrimLeft(line, " \t"), "[") {
		path, r.lost = nil, true
	}
	r.fail(at, path, "%s", message)
	if strings.Contains(line, `"""`) || strings.Contains(line, "'''") {
		return len(r.text) // what follows may be text
	}
	for end < len(r.text) {
		from := end + 1
		begin, end = r.lineOf(min(from, len(r.text)))
		if beginning.Match(r.text[begin:end]) {
			return begin
		}
	}
	return len(r.text)
}

// bare says what a value without quotes may have been meant to be.
func bare(value string) string {
	switch strings.ToLower(value) {
	case "true", "yes", "on":
		return value + " is no value of TOML; did you mean true?"
	case "false", "no", "off":
		return value + " is no value of TOML; did you mean false?"
	}
	return fmt.Sprintf("%s is no value of TOML: texts have quotes; did you mean %q?", value, value)
}

// lineOf returns where the line of an offset begins and ends.
func (r *reader) lineOf(at int) (begin, end int) {
	begin = bytes.LastIndexByte(r.text[:at], '\n') + 1
	if n := bytes.IndexByte(r.text[at:], '\n'); n >= 0 {
		return begin, at + n
	}
	return begin, len(r.text)
}

func (r *reader) pos(at int) Pos {
	before := r.text[:at]
	return Pos{
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1,
	}
}

func (r *reader) fail(at int, path []string, format string, args ...any) {
	r.file.Errors = append(r.file.Errors, &Error{Pos: r.pos(at), Path: path, Text: fmt.Sprintf(format, args...)})
}

// header takes the header of a table.
func (r *reader) header(e *unstable.Node, from int) {
	path, at, _ := keys(e.Key(), from)
	r.table, r.lost = path, false
	if e.Kind == unstable.ArrayTable {
		r.fail(at, nil, "there is one table %s, not a list of them; did you mean [%s]?", Join(path), Join(path))
		r.lost = true
		return
	}
	name := Join(path)
	if first, ok := r.headers[name]; ok {
		r.fail(at, nil, "the table %s is here twice, first in line %d", name, first.Line)
		return // its keys count nevertheless
	}
	if first, ok := r.seen[name]; ok {
		r.clash(at, path, first)
		return
	}
	r.headers[name] = r.pos(at)
	r.file.Tables = append(r.file.Tables, Table{path, r.pos(at)})
}

// clash notes a table whose name has a value already.
func (r *reader) clash(at int, path []string, first Pos) {
	r.fail(at, path, "%s has a value in line %d already, and cannot be a table, too", Join(path), first.Line)
	r.file.Errors[len(r.file.Errors)-1].Clash = true
}

// keys returns the parts of a key, and where its last part begins and ends.
func keys(it unstable.Iterator, from int) (path []string, at, end int) {
	for it.Next() {
		n := it.Node()
		path = append(path, string(n.Data))
		at = from + int(n.Raw.Offset)
		end = at + int(n.Raw.Length)
	}
	return path, at, end
}

// keyValue takes a key and its value.
func (r *reader) keyValue(e *unstable.Node, from int, table []string) {
	path, at, end := keys(e.Key(), from)
	path = slices.Concat(table, path)
	for end < len(r.text) && strings.IndexByte(" \t=", r.text[end]) >= 0 {
		end++
	}
	name := Join(path)
	first, ok := r.seen[name]
	if !ok {
		first, ok = r.headers[name]
	}
	if ok {
		r.fail(at, path, "%s is here twice, first in line %d", name, first.Line)
		return
	}
	for i := len(table) + 1; i < len(path); i++ {
		if first, ok := r.seen[Join(path[:i])]; ok {
			r.clash(at, path[:i], first)
			return
		}
	}
	v := e.Value()
	if v.Kind == unstable.InlineTable {
		r.headers[name] = r.pos(at)
		r.file.Tables = append(r.file.Tables, Table{path, r.pos(at)})
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				r.keyValue(it.Node(), from, path)
			}
		}
		return
	}
	r.seen[name] = r.pos(at)
	value, ok := r.value(v, end, from)
	if !ok {
		r.fail(end, path, "a list of tables is no value of %s", name)
		return
	}
	r.file.Entries = append(r.file.Entries, Entry{path, r.pos(at), value})
}

// value reads a value that begins at an offset. A table within a list is not ok.
func (r *reader) value(n *unstable.Node, at, from int) (v Value, ok bool) {
	v.Pos, v.Text = r.pos(at), string(n.Data)
	switch n.Kind {
	case unstable.String:
		v.Kind = Text
	case unstable.Bool:
		v.Kind = Bool
	case unstable.Integer:
		v.Kind = Integer
		if i, err := strconv.ParseInt(v.Text, 0, 64); err == nil {
			v.Text = strconv.FormatInt(i, 10)
		}
	case unstable.Float:
		v.Kind = Float
	case unstable.Array:
		v.Kind, v.Text = List, ""
		for it := n.Children(); it.Next(); {
			child := it.Node()
			if child.Kind == unstable.InlineTable {
				return v, false
			}
			where := at
			if child.Raw.Length > 0 {
				where = from + int(child.Raw.Offset)
			}
			item, ok := r.value(child, where, from)
			if !ok {
				return v, false
			}
			v.List = append(v.List, item)
		}
	case unstable.InlineTable:
		return v, false
	default:
		v.Kind = Time
	}
	return v, true
}

// Join writes a path as it stands in a file.
func Join(path []string) string {
	parts := make([]string, len(path))
	for i, part := range path {
		parts[i] = part
		if !bareKey.MatchString(part) {
			parts[i] = strconv.Quote(part)
		}
	}
	return strings.Join(parts, ".")
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Package manpage writes the manual pages of the commands, in roff's man macros, from what kong knows
// of their flags. Tests of the commands compare packaging/man with it.
package manpage

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A Page is what kong does not know.
type Page struct {
	Date        string              // of the page, YYYY-MM-DD
	Description string              // paragraphs, with an empty line between two; examples are indented
	Note        func(f Flag) string // what is said behind a flag's help; nil: nothing
	Sections    []Section           // behind the commands
}

// A Flag is one of kong's.
type Flag = kong.Flag

// A Section has a title in capitals, and text as Page.Description is.
type Section struct {
	Title, Text string
	Items       [][2]string // terms, and what they are
}

// manyCommands is from how many commands on a flag that they share is described once for all.
const manyCommands = 4

// manyFlags is from how many flags on a command that has all of another's and more refers to that one.
const manyFlags = 20

// Write returns the page of app.
func Write(app *kong.Application, p Page) string {
	name := app.Name
	w := &writer{page: p, name: name}
	w.line(`.TH %s 1 %s %s "User Commands"`, strings.ToUpper(name), p.Date, name)
	w.line(".SH NAME\n%s \\- %s", text(name), text(strings.TrimSuffix(lowerFirst(app.Help), ".")))
	w.line(".SH SYNOPSIS")
	commands := app.Leaves(true)
	for _, c := range commands {
		w.line(".br\n\\fB%s %s\\fP%s", text(name), text(c.Path()), arguments(c))
	}
	w.line(".SH DESCRIPTION")
	w.text(p.Description)
	w.line(".SH COMMANDS")
	w.shared = sharedFlags(commands)
	for _, c := range commands {
		w.command(commands, c)
	}
	if len(w.shared) > 0 {
		w.line(".SH COMMON FLAGS")
		for _, f := range w.shared {
			w.flag(f)
		}
	}
	for _, s := range p.Sections {
		w.line(".SH %s", text(s.Title))
		w.text(s.Text)
		for _, item := range s.Items {
			w.line(".TP\n\\fB%s\\fP\n%s", text(item[0]), paragraph(item[1]))
		}
	}
	return w.b.String()
}

type writer struct {
	page   Page
	name   string
	shared []*Flag
	b      strings.Builder

	heading bool // it was the last line
}

// line writes a line. A paragraph that follows a heading needs no request.
func (w *writer) line(format string, args ...any) {
	line := fmt.Sprintf(format, args...) + "\n"
	if w.heading {
		line = strings.TrimPrefix(strings.TrimPrefix(line, ".PP\n"), ".br\n")
	}
	w.heading = strings.HasPrefix(line, ".S") && strings.Count(line, "\n") == 1
	w.b.WriteString(line)
}

// flagsOf lists what is worth saying of a command's flags.
func flagsOf(c *kong.Node) (list []*Flag) {
	for _, f := range c.Flags {
		if !f.Hidden && f.Name != "help" {
			list = append(list, f)
		}
	}
	return list
}

func same(a, b *Flag) bool { return a.Name == b.Name && a.Help == b.Help && a.Default == b.Default }

// sharedFlags lists the flags that many commands have, as the first of them has them. Those that a
// command has from a twin are said there.
func sharedFlags(commands []*kong.Node) (list []*Flag) {
	count := make(map[string]int)
	for _, c := range commands {
		_, flags := twin(commands, c)
		for _, f := range flags {
			key := f.Name + "\x00" + f.Help + "\x00" + f.Default
			if count[key]++; count[key] == manyCommands {
				list = append(list, f)
			}
		}
	}
	return list
}

// twin returns the command before c all of whose flags it has, and the flags that it has besides; nil
// and all of them if there is none.
func twin(commands []*kong.Node, c *kong.Node) (other *kong.Node, rest []*Flag) {
	own := flagsOf(c)
	for _, other := range commands {
		if other == c {
			break
		}
		theirs := flagsOf(other)
		n := len(theirs)
		if n < manyCommands || len(own) < n || !slices.EqualFunc(own[:n], theirs, same) {
			continue
		}
		if len(own) == n || n >= manyFlags {
			return other, own[n:]
		}
	}
	return nil, own
}

func (w *writer) command(commands []*kong.Node, c *kong.Node) {
	w.line(".SS %s %s%s", text(w.name), text(c.Path()), arguments(c))
	w.text(c.Help)
	w.text(c.Detail)
	for _, v := range c.Positional {
		if v.Help != "" {
			w.line(".TP\n\\fI%s\\fP\n%s", text(strings.ToUpper(v.Name)), paragraph(sentence(v.Help)))
		}
	}
	other, flags := twin(commands, c)
	switch {
	case other != nil && len(flags) == 0:
		w.line(".PP\nThe flags are those of \\fB%s %s\\fP.", text(w.name), text(other.Path()))
	case other != nil:
		w.line(".PP\nThe flags are those of \\fB%s %s\\fP, and:", text(w.name), text(other.Path()))
	}
	group := ""
	var common []string
	for _, f := range flags {
		if slices.ContainsFunc(w.shared, func(s *Flag) bool { return same(s, f) }) {
			common = append(common, `\fB`+text("--"+f.Name)+`\fP`)
			continue
		}
		if f.Group != nil && f.Group.Title != group {
			group = f.Group.Title
			w.line(".PP\n\\fB%s\\fP", text(group))
		}
		w.flag(f)
	}
	if len(common) > 0 {
		w.line(".PP\n%s", wrap("Also "+strings.Join(common, ", ")+"; see COMMON FLAGS."))
	}
}

// flag writes what a flag is.
func (w *writer) flag(f *Flag) {
	names := `\fB` + text("--"+f.Name)
	if f.Tag.Negatable != "" {
		names = `\fB` + text("--[no-]"+f.Name)
	}
	if f.Short != 0 {
		names = `\fB` + text("-"+string(f.Short)) + `\fP, ` + names
	}
	names += `\fP`
	if !f.IsBool() {
		names += `=\fI` + text(placeholder(f)) + `\fP`
	}
	help := sentence(f.Help)
	if f.HasDefault && f.Default != "" && !f.IsBool() {
		help += " Default: " + f.Default + "."
	}
	if len(f.Envs) > 0 && !strings.Contains(f.Help, f.Envs[0]) {
		help += " Also $" + strings.Join(f.Envs, ", $") + "."
	}
	if w.page.Note != nil {
		help += w.page.Note(*f)
	}
	w.line(".TP\n%s\n%s", names, paragraph(help))
}

// placeholder is what stands for a flag's value.
func placeholder(f *Flag) string {
	switch kind := f.Target.Type().String(); {
	case f.PlaceHolder != "":
		return f.PlaceHolder
	case f.Enum != "":
		return strings.Join(f.EnumSlice(), "|")
	case kind == "time.Duration":
		return "TIME"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"), strings.HasPrefix(kind, "float"):
		return "N"
	case strings.HasSuffix(kind, "byteSize"):
		return "SIZE"
	}
	return "VALUE"
}

// arguments are a command's, as in its synopsis.
func arguments(c *kong.Node) string {
	var b strings.Builder
	if len(flagsOf(c)) > 0 {
		b.WriteString(` [\fIflags\fP]`)
	}
	for _, v := range c.Positional {
		name := `\fI` + text(strings.ToUpper(v.Name)) + `\fP`
		if v.IsCumulative() {
			name += " ..."
		}
		if !v.Required {
			name = "[" + name + "]"
		}
		b.WriteString(" " + name)
	}
	return b.String()
}

// text writes paragraphs; those that are indented are examples.
func (w *writer) text(s string) {
	for part := range strings.SplitSeq(strings.Trim(s, "\n"), "\n\n") {
		switch {
		case strings.TrimSpace(part) == "":
		case strings.HasPrefix(part, "    "):
			w.line(".PP\n.RS 4\n.nf")
			for line := range strings.Lines(part) {
				w.line("%s", guard(code(strings.TrimRight(strings.TrimPrefix(line, "    "), "\n"))))
			}
			w.line(".fi\n.RE")
		default:
			w.line(".PP\n%s", paragraph(part))
		}
	}
}

// paragraph is running text, a sentence a line as roff wants it.
func paragraph(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	var lines []string
	for {
		end := sentenceEnd.FindStringIndex(s)
		if end == nil {
			return strings.Join(append(lines, wrap(text(s))), "\n")
		}
		lines = append(lines, wrap(text(s[:end[0]+1])))
		s = s[end[0]+2:]
	}
}

// wrap breaks a line that is longer than sources should have.
func wrap(s string) string {
	const columns = 78
	var lines []string
	line := ""
	for word := range strings.SplitSeq(s, " ") {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > columns:
			lines, line = append(lines, guard(line)), word
		default:
			line += " " + word
		}
	}
	return strings.Join(append(lines, guard(line)), "\n")
}

// A period, a blank and a capital end a sentence here.
var sentenceEnd = regexp.MustCompile(`[.:;?] [A-Z]`)

// sentence gives help texts their period.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// wordHyphen is a hyphen within a word of letters.
var wordHyphen = regexp.MustCompile(`(^|[\s("])([A-Za-z]+)-([A-Za-z]+)`)

// text escapes s. A hyphen between letters is one, all others are what one types.
func text(s string) string {
	const hyphen = "\x00"
	for {
		next := wordHyphen.ReplaceAllString(s, "${1}${2}"+hyphen+"${3}")
		if next == s {
			break
		}
		s = next
	}
	return strings.ReplaceAll(code(s), hyphen, "-")
}

var escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

func code(s string) string { return escapes.Replace(s) }

// guard keeps a line from being taken for a request.
func guard(s string) string {
	if strings.HasPrefix(s, ".") {
		return `\&` + s
	}
	return s
}

func lowerFirst(s string) string {
	first := min(1, len(s))
	return strings.ToLower(s[:first]) + s[first:]
}

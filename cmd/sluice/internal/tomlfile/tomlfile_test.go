package tomlfile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// shown is an entry on a line: where the key is, the key, what kind of value, where, and the value.
func shown(e Entry) string {
	return fmt.Sprintf("%d:%d %s %d %d:%d %s", e.Pos.Line, e.Pos.Column, Join(e.Path), e.Value.Kind, e.Value.Pos.Line, e.Value.Pos.Column,
		shownValue(e.Value))
}

func shownValue(v Value) string {
	if v.Kind != List {
		return v.Text
	}
	var parts []string
	for _, item := range v.List {
		parts = append(parts, fmt.Sprintf("%s@%d:%d", shownValue(item), item.Pos.Line, item.Pos.Column))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, text    string
		entries, errs []string
	}{
		{"nothing", "", nil, nil},
		{"comments", "# one\n\n  # two", nil, nil},
		{"kinds", "a = \"x\"\nb = 1_000\nc = 0x10\nd = 1.5\ne = true\nf = 2026-01-02\ng = 'it\"s'\n",
			[]string{"1:1 a 0 1:5 x", "2:1 b 1 2:5 1000", "3:1 c 1 3:5 16", "4:1 d 2 4:5 1.5", "5:1 e 3 5:5 true",
				"6:1 f 4 6:5 2026-01-02", "7:1 g 0 7:5 it\"s"}, nil},
		{"lists", "a = [\"x\",\n  'y', # why\n]\nb = []\nc = [[1], 2]", []string{"1:1 a 5 1:5 [x@1:6 y@2:3]", "4:1 b 5 4:5 []",
			"5:1 c 5 5:5 [[1@5:7]@5:5 2@5:11]"}, nil},
		{"tables", "a = 1\n[tls]\n  cert = \"x\"\n[ a-b . \"c d\" ]\nx=2", []string{"1:1 a 1 1:5 1", "3:3 tls.cert 0 3:10 x", "5:1 a-b.\"c d\".x 1 5:3 2"}, nil},
		{"dots and braces", "a.b = 1\nc = { d = 2, e.f = 'x' }", []string{"1:3 a.b 1 1:7 1", "2:7 c.d 1 2:11 2", "2:16 c.e.f 0 2:20 x"}, nil},
		{"long texts", "a = \"\"\"\nb = 1\n\"\"\"\nc = 2", []string{"1:1 a 0 1:5 b = 1\n", "4:1 c 1 4:5 2"}, nil},
		{"columns are characters", "\"ä\" = [\"öö\", 1]", []string{`1:1 "ä" 5 1:7 [öö@1:8 1@1:14]`}, nil},
		{"line ends of Windows", "a = 1\r\nb = 2\r\n", []string{"1:1 a 1 1:5 1", "2:1 b 1 2:5 2"}, nil},
		{"byte order mark", "\ufeffa = 1\n", []string{"1:1 a 1 1:5 1"}, nil},

		{"no value", "a =\nb = 2", []string{"2:1 b 1 2:5 2"}, []string{"1:4 a: there is no value behind ="}},
		{"no quotes", "a = info # of course\nb = 2", []string{"2:1 b 1 2:5 2"},
			[]string{"1:5 a: info is no value of TOML: texts have quotes; did you mean \"info\"?"}},
		{"no quotes around a size", "lag = 32MiB", nil,
			[]string{"1:7 lag: 32MiB is no value of TOML: texts have quotes; did you mean \"32MiB\"?"}},
		{"a foreign truth", "a = yes\nb = False", nil,
			[]string{"1:5 a: yes is no value of TOML; did you mean true?", "2:5 b: False is no value of TOML; did you mean false?"}},
		{"several", "a = \"x\nb = 1\nc 2\nd = 3\n", []string{"2:1 b 1 2:5 1", "4:1 d 1 4:5 3"},
			[]string{"1:7 a: ", "3:3 c: expected '=' after key"}},
		{"a list without its end", "a = 1\nb = [\"x\",\n", []string{"1:1 a 1 1:5 1"}, []string{"2:10 b: array is incomplete"}},
		{"a list without a comma", "b = [\"x\"\n  \"y\",\n]\nc = 1", []string{"4:1 c 1 4:5 1"}, []string{"2:3 : expected ',' or ']' after array value"}},
		{"a header without its end", "[tls\ncert = 1\n[log]\nlevel = 2", []string{"4:1 log.level 1 4:9 2"},
			[]string{"1:5 : expected ']' to close table name"}},
		{"a text without its end", "a = \"\"\"\nb = 1\n", nil, []string{"1:5 a: multiline basic string not terminated"}},
		{"twice", "a = 1\na = 2\n[t]\nb = 1\nb = 3\n[t]\nc = 4", []string{"1:1 a 1 1:5 1", "4:1 t.b 1 4:5 1", "7:1 t.c 1 7:5 4"},
			[]string{"2:1 a: a is here twice, first in line 1", "5:1 t.b: t.b is here twice, first in line 4",
				"6:2 : the table t is here twice, first in line 3"}},
		{"value and table", "a = 1\n[a]\nb = 2\n", []string{"1:1 a 1 1:5 1", "3:1 a.b 1 3:5 2"},
			[]string{"2:2 a: a has a value in line 1 already, and cannot be a table, too"}},
		{"list of tables", "[[a]]\nb = 1\n[c]\nd = 1", []string{"4:1 c.d 1 4:5 1"},
			[]string{"1:3 : there is one table a, not a list of them; did you mean [a]?"}},
		{"tables in a list", "a = [{b = 1}]", nil, []string{"1:5 a: a list of tables is no value of a"}},
		{"not UTF-8", "a = \"x\"\nb = \"\xff\"", nil, []string{"2:6 : this is not UTF-8"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := Parse([]byte(tc.text))
			var entries []string
			for _, e := range f.Entries {
				entries = append(entries, shown(e))
			}
			if !slices.Equal(entries, tc.entries) {
				t.Errorf("entries:\n%q\nwant\n%q", entries, tc.entries)
			}
			ok := len(f.Errors) == len(tc.errs)
			var errs []string
			for i, e := range f.Errors {
				errs = append(errs, fmt.Sprintf("%d:%d %s: %s", e.Pos.Line, e.Pos.Column, Join(e.Path), e.Text))
				ok = ok && strings.HasPrefix(errs[i], tc.errs[i])
			}
			if !ok {
				t.Errorf("errors:\n%q\nwant\n%q", errs, tc.errs)
			}
		})
	}
}

// FuzzParse: whatever is in a file, its places are in it, and reading it ends.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"a = 1\n[b]\nc = [1, 'x']", "a = \"\"\"x", "[[", "a = {b = [{}]}", "\ufeff", "a\r=", "a = 1e\n'b' = 2", "=", "[a]\n[a"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file := Parse(text)
		lines := strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n")
		inside := func(p Pos) bool {
			return p.Line >= 1 && p.Line <= len(lines) && p.Column >= 1 && p.Column <= len(lines[p.Line-1])+1
		}
		for _, e := range file.Entries {
			if !inside(e.Pos) || !inside(e.Value.Pos) {
				t.Errorf("%+v is nowhere in %q", e, text)
			}
		}
		for _, e := range file.Errors {
			if !inside(e.Pos) {
				t.Errorf("%v is nowhere in %q", e, text)
			}
		}
	})
}

package tracecontext

import (
	"strings"
	"testing"
)

// example is the standard's own.
const example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		want       string // as it is written again; empty: it is refused
	}{
		{"the standard's example", example, example},
		{"not sampled", strings.TrimSuffix(example, "1") + "0", strings.TrimSuffix(example, "1") + "0"},
		{"flags that nobody knows", strings.TrimSuffix(example, "01") + "ff", example},
		{"flags without sampled", strings.TrimSuffix(example, "01") + "fe", strings.TrimSuffix(example, "1") + "0"},
		{"a later version", "cc" + example[2:], example},
		{"a later version with more", "cc" + example[2:] + "-what-the-future-has", example},
		{"a later version with a dash", "cc" + example[2:] + "-", example},

		{"nothing", "", ""},
		{"version ff", "ff" + example[2:], ""},
		{"version 00 with more", example + "-00", ""},
		{"version 00 with a dash", example + "-", ""},
		{"a later version with what is no part", "cc" + example[2:] + ".more", ""},
		{"a trace id of zeros", "00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"a parent id of zeros", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		{"upper case in the trace id", strings.Replace(example, "cd43dd", "CD43dd", 1), ""},
		{"upper case in the parent id", strings.Replace(example, "b7ad", "B7ad", 1), ""},
		{"upper case in the version", "CC" + example[2:], ""},
		{"no digits in the trace id", strings.Replace(example, "0af7", "0axx", 1), ""},
		{"no digits in the flags", strings.TrimSuffix(example, "01") + "0.", ""},
		{"no digits in the version", ".0" + example[2:], ""},
		{"spaces for dashes", strings.ReplaceAll(example, "-", " "), ""},
		{"a space before it", " " + example, ""},
		{"two joined by a comma", example + ", " + example, ""},
		{"beyond ASCII", "00-0af7651916cd43dd8448eb211c80319\u00e9-b7ad6b7169203331-01", ""},
	} {
		c, ok := Parse(tt.text)
		if got := c.String(); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q is %q, %v; want %q", tt.name, tt.text, got, ok, tt.want)
		}
		if b, ok2 := Parse([]byte(tt.text)); b != c || ok2 != ok {
			t.Errorf("%s: bytes are read as %v, %v", tt.name, b, ok2)
		}
	}
	for i := range example {
		if _, ok := Parse(example[:i]); ok {
			t.Errorf("%q is taken", example[:i])
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("cc" + example[2:] + "-more")
	f.Add("ff" + example[2:])
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := Parse(text)
		if ok != c.Valid() {
			t.Fatalf("%q: %v, %v", text, c, ok)
		}
		if again, ok2 := Parse(c.String()); ok && (!ok2 || again != c) {
			t.Fatalf("%q is written as %q", text, c.String())
		}
	})
}

func TestAllocatesNothing(t *testing.T) {
	room := make([]byte, 0, Size)
	if n := testing.AllocsPerRun(100, func() {
		c, _ := Parse(example)
		room = c.Append(room[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

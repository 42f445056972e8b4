package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Each of these files has faults on the lines that end in a comment with the names of those who find
// them.
var files = map[string]string{
	"go.mod":           "module example\n\ngo 1.26\n",
	"staticcheck.conf": `checks = ["all", "-ST1000", "-ST1020"]` + "\n",
	"a.go": `package example

import (
	"errors"
	"fmt"
	"io/ioutil" // SA1019

	"example/sub"
)

const unused = 3 // U1000

// E has comments of no form, which staticcheck.conf allows.
func Exported() error {
	fmt.Printf("%d\n", "x") // printf SA5009
	sub.Logf("%d", "x") // printf
	sub.Old()
	_, _ = ioutil.ReadFile("x")
	for true { // S1006
		break
	}
	onLinux()
	return errors.New("Bad.") // ST1005
}
`,
	"a_linux.go":   "package example\n\nfunc onLinux() {}\n",
	"a_freebsd.go": "package example\n\nfunc onLinux() { var n int } // declared and not used\n",
	"a_tagged.go":  "//go:build mytag\n\npackage example\n\nvar X int = \"x\" // cannot use\n",
	"a_test.go": `package example

import "testing"

func TestIt(t *testing.T) {
	for true { // S1006
		t.Errorf("%d", "x") // printf
	}
}
`,
	"b_test.go": `package example_test

import (
	"testing"

	"example"
)

func TestFromOutside(t *testing.T) {
	err := example.Exported()
	err = example.Exported() // SA4006 above
	_ = err
	t.Errorf("%s", 3) // printf
}
`,
	"sub/sub.go": `package sub

import "fmt"

// Deprecated: use another.
func Old() {}

// Logf is like Printf.
func Logf(format string, args ...any) { fmt.Printf(format, args...) }
`,
}

// marked returns what the comments in files of one system and set of tags promise: "a.go:11 U1000".
func marked(skip func(name string) bool) map[string]bool {
	want := make(map[string]bool)
	for name, text := range files {
		if skip(name) {
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			_, who, ok := strings.Cut(line, " // ")
			if !ok {
				continue
			}
			at := i + 1
			if who, ok = strings.CutSuffix(who, " above"); ok {
				at--
			}
			for who := range strings.FieldsSeq(who) {
				want[filepath.Base(name)+":"+strconv.Itoa(at)+" "+who] = true
			}
		}
	}
	return want
}

func TestFindings(t *testing.T) {
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GOFLAGS", "-mod=mod")
	for _, tt := range []struct {
		name, system, tags string
		static             bool
		want               map[string]bool
	}{
		{"vet and staticcheck", "linux/arm64", "", true, marked(func(name string) bool { return name == "a_freebsd.go" || name == "a_tagged.go" })},
		{"types that do not fit on a system", "freebsd/amd64", "", true, map[string]bool{"a_freebsd.go:3 declared and not used": true}},
		{"with a tag", "linux/amd64", "mytag", false, map[string]bool{"a_tagged.go:5 cannot use": true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := look(tt.system, tt.tags, tt.static, []string{"./..."})
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range found {
				known := false
				for want := range tt.want {
					at, who, _ := strings.Cut(want, " ")
					if strings.Contains(line, string(filepath.Separator)+at+":") && strings.Contains(line, who) {
						known = true
						delete(tt.want, want)
					}
				}
				if !known {
					t.Errorf("found as well: %s", line)
				}
			}
			for want := range tt.want {
				t.Errorf("not found: %s", want)
			}
		})
	}
}

func TestBadSystem(t *testing.T) {
	for _, system := range []string{"", "linux", "linux/vax"} {
		if _, err := look(system, "", false, []string{"."}); err == nil {
			t.Errorf("%q is a system", system)
		}
	}
}

package server_test

import (
	"cmp"
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the public API that is to testdata/api")

const module = "github.com/sluicenet/sluice/"

// public are the packages that programs import.
var public = []string{"engine", "engine/login", "engine/server", "engine/worker"}

// The public API is kept as text, so that each change of it shows: go test -run API -update.
func TestAPI(t *testing.T) {
	for _, p := range loadPublic(t) {
		name := strings.TrimPrefix(p.Path(), module)
		file := filepath.Join("testdata", "api", strings.ReplaceAll(name, "/", ".")+".txt")
		got := strings.Join(api(p), "\n") + "\n"
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range missing(string(want), got) {
			t.Errorf("%s: gone: %s", name, line)
		}
		for _, line := range missing(got, string(want)) {
			t.Errorf("%s: new: %s", name, line)
		}
		if t.Failed() {
			t.Log("if that is meant: go test ./engine/server -run TestAPI -update, and a line in CHANGELOG.md")
		}
	}
}

// missing returns the lines of a that b has not.
func missing(a, b string) (lines []string) {
	have := strings.Split(b, "\n")
	for line := range strings.Lines(a) {
		if line = strings.TrimSuffix(line, "\n"); !slices.Contains(have, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// What a program can get hold of, it can name: each internal type in the API has an alias.
func TestAPINamesItsTypes(t *testing.T) {
	for _, p := range loadPublic(t) {
		for _, line := range api(p) {
			if strings.Contains(line, "/internal/") && !strings.HasPrefix(line, "type ") {
				t.Errorf("%s: no name for a type in: %s", p.Path(), line)
			}
		}
	}
}

// loadPublic reads the packages' types out of what the compiler has exported.
func loadPublic(t *testing.T) (packages []*types.Package) {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}"}
	for _, p := range public {
		args = append(args, module+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		exports[path] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	for _, name := range public {
		p, err := imp.Import(module + name)
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

// api returns a line for each thing that p exports: constants with their values, the fields and
// methods of types, those of aliased internal types too.
func api(p *types.Package) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	inside := func(other *types.Package) string { // names of other packages are whole
		if other == p {
			return ""
		}
		return strings.TrimPrefix(other.Path(), module)
	}
	aliases := make(map[string]string)
	for _, name := range p.Scope().Names() {
		if o, ok := p.Scope().Lookup(name).(*types.TypeName); ok && o.Exported() && o.IsAlias() {
			aliases[types.TypeString(types.Unalias(o.Type()), inside)] = name
		}
	}
	str := func(t types.Type) string { // with names that a program can write
		return qualified.ReplaceAllStringFunc(types.TypeString(t, inside), func(name string) string {
			return cmp.Or(aliases[name], name)
		})
	}
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		switch o := o.(type) {
		case *types.Const:
			add("const %s %s = %s", name, str(o.Type()), o.Val())
		case *types.Var:
			add("var %s %s", name, str(o.Type()))
		case *types.Func:
			add("func %s%s", name, strings.TrimPrefix(str(o.Type()), "func"))
		case *types.TypeName:
			t := types.Unalias(o.Type())
			if o.IsAlias() {
				add("type %s = %s", name, types.TypeString(t, inside))
				if n, ok := t.(*types.Named); !ok || !strings.Contains(n.Obj().Pkg().Path(), "/internal/") {
					continue
				}
			}
			under := t.Underlying()
			switch u := under.(type) {
			case *types.Struct:
				if !o.IsAlias() {
					add("type %s struct", name)
				}
				for f := range u.Fields() {
					if f.Exported() {
						kind := "field"
						if f.Embedded() {
							kind = "embeds"
						}
						add("%s %s.%s %s", kind, name, f.Name(), str(f.Type()))
					}
				}
			case *types.Interface:
				if !o.IsAlias() {
					add("type %s interface", name)
				}
				for m := range u.Methods() {
					if m.Exported() {
						add("method %s.%s%s", name, m.Name(), strings.TrimPrefix(str(m.Type()), "func"))
					} else {
						add("method %s.%s, which none outside can have", name, m.Name())
					}
				}
				continue
			default:
				if !o.IsAlias() {
					add("type %s %s", name, str(under))
				}
			}
			methods := types.NewMethodSet(types.NewPointer(t))
			for m := range methods.Methods() {
				if f := m.Obj(); f.Exported() {
					add("method %s.%s%s", name, f.Name(), strings.TrimPrefix(str(f.Type()), "func"))
				}
			}
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return cmp.Or(cmp.Compare(subject(a), subject(b)), cmp.Compare(a, b)) })
	return lines
}

// qualified is the name of an internal type.
var qualified = regexp.MustCompile(`[a-z/]+/internal/[a-z/]+\.[A-Za-z]+`)

// subject is what a line is about: the type of a field or method, else the name.
func subject(line string) string {
	_, rest, _ := strings.Cut(line, " ")
	if i := strings.IndexAny(rest, ".( "); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

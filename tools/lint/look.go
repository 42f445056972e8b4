package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// look returns what the analyzers find on a system in the packages that patterns name, sorted, each
// once.
func look(system, tags string, static bool, patterns []string) ([]string, error) {
	goos, goarch, ok := strings.Cut(system, "/")
	sizes := types.SizesFor("gc", goarch)
	if !ok || sizes == nil {
		return nil, errors.New("no GOOS/GOARCH")
	}
	fset := token.NewFileSet()
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.LoadImports | packages.NeedDeps | packages.NeedModule | packages.NeedForTest,
		Env:  append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch), Fset: fset,
		BuildFlags: []string{"-tags=" + tags},
		Tests:      true,
	}, patterns...)
	if err != nil {
		return nil, err
	}
	if len(loaded) == 0 {
		return nil, fmt.Errorf("no packages in %q", patterns)
	}
	found := make(map[string]bool)
	for p := range packages.Postorder(loaded) {
		check(p, fset, sizes, slices.Contains(loaded, p), static)
		for _, err := range p.Errors {
			found[err.Error()] = true
		}
		for _, err := range p.TypeErrors {
			found[fmt.Sprintf("%v: %s", fset.Position(err.Pos), err.Msg)] = true
		}
	}
	if len(found) == 0 { // analyzers want what compiles
		if err := analyze(withTests(loaded), static, found); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// check parses p and checks its types, without the bodies of functions unless it is to be analyzed.
// What it imports has been checked. With comments they are read anyway, for what is deprecated.
func check(p *packages.Package, fset *token.FileSet, sizes types.Sizes, whole, comments bool) {
	p.Fset, p.TypesSizes = fset, sizes
	if p.PkgPath == "unsafe" {
		p.Types = types.Unsafe
		return
	}
	mode := parser.SkipObjectResolution
	if whole || comments {
		mode |= parser.ParseComments
		p.TypesInfo = &types.Info{Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object)}
	}
	if whole {
		p.TypesInfo = &types.Info{
			Types: make(map[ast.Expr]types.TypeAndValue), Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object),
			Implicits: make(map[ast.Node]types.Object), Instances: make(map[*ast.Ident]types.Instance),
			Scopes: make(map[ast.Node]*types.Scope), Selections: make(map[*ast.SelectorExpr]*types.Selection),
			FileVersions: make(map[*ast.File]string),
		}
	}
	for _, name := range p.CompiledGoFiles {
		file, err := parser.ParseFile(fset, name, nil, mode)
		if err != nil {
			p.Errors = append(p.Errors, packages.Error{Msg: err.Error()})
			continue
		}
		p.Syntax = append(p.Syntax, file)
	}
	config := types.Config{
		IgnoreFuncBodies: !whole,
		Sizes:            sizes,
		Importer: importer(func(path string) (*types.Package, error) {
			if path == "unsafe" {
				return types.Unsafe, nil
			}
			if of := p.Imports[path]; of != nil && of.Types != nil {
				return of.Types, nil
			}
			return nil, fmt.Errorf("no package %s", path)
		}),
		Error: func(err error) {
			if err, ok := err.(types.Error); ok {
				p.TypeErrors = append(p.TypeErrors, err)
			}
		},
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		config.GoVersion = "go" + p.Module.GoVersion
	}
	p.Types, _ = config.Check(p.PkgPath, fset, p.Syntax, p.TypesInfo) // its errors are the Error function's
}

type importer func(path string) (*types.Package, error)

// Import implements types.Importer.
func (f importer) Import(path string) (*types.Package, error) { return f(path) }

// isWhole reports whether p was read with the bodies of its functions.
func isWhole(p *packages.Package) bool { return p.TypesInfo != nil && p.TypesInfo.Scopes != nil }

// forgetOthers takes away the imports that were read for their declarations, so that no facts are
// looked for there.
func forgetOthers(list []*packages.Package) {
	for p := range packages.Postorder(list) {
		maps.DeleteFunc(p.Imports, func(_ string, of *packages.Package) bool { return !isWhole(of) })
	}
}

// withTests leaves out the main packages of tests, which are generated, and packages that are there
// once more with their tests' files.
func withTests(loaded []*packages.Package) []*packages.Package {
	tested := make(map[string]bool)
	for _, p := range loaded {
		if p.ForTest == p.PkgPath {
			tested[p.PkgPath] = true
		}
	}
	return slices.DeleteFunc(loaded, func(p *packages.Package) bool {
		return strings.HasSuffix(p.ID, ".test") || p.ForTest == "" && tested[p.PkgPath]
	})
}

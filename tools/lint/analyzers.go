package main

import (
	"fmt"
	"go/token"
	"path"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/analysis/suite/vet"
	"golang.org/x/tools/go/packages"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/config"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/staticcheck/sa1019"
	"honnef.co/go/tools/stylecheck"
	"honnef.co/go/tools/unused"
)

// vetSuite is what this version of go vet has.
var vetSuite = slices.DeleteFunc(slices.Clone(vet.Suite), func(a *analysis.Analyzer) bool {
	return a.Name == "scannererr" || a.Name == "sqlrowserr"
})

// staticSuite is what staticcheck has and staticcheck.conf does not leave out.
func staticSuite() ([]*analysis.Analyzer, error) {
	c, err := config.Load(".")
	if err != nil {
		return nil, err
	}
	var list []*analysis.Analyzer
	for _, a := range slices.Concat(staticcheck.Analyzers, simple.Analyzers, stylecheck.Analyzers, []*lint.Analyzer{unused.Analyzer}) {
		if !slices.ContainsFunc(c.Checks, func(check string) bool {
			pattern, out := strings.CutPrefix(check, "-")
			fits, _ := path.Match(pattern, a.Analyzer.Name)
			return out && fits
		}) {
			list = append(list, a.Analyzer)
		}
	}
	return list, nil
}

// analyze adds what the analyzers find in list to found. Facts are of these packages alone, but for
// what is deprecated.
func analyze(list []*packages.Package, static bool, found map[string]bool) error {
	suite := vetSuite
	if static {
		more, err := staticSuite()
		if err != nil {
			return err
		}
		isDeprecated := func(a *analysis.Analyzer) bool { return a == sa1019.Analyzer }
		if slices.ContainsFunc(more, isDeprecated) {
			if err := run([]*analysis.Analyzer{sa1019.Analyzer}, list, found); err != nil {
				return err
			}
		}
		suite = append(slices.Clone(suite), slices.DeleteFunc(more, isDeprecated)...)
	}
	forgetOthers(list)
	return run(suite, list, found)
}

func run(suite []*analysis.Analyzer, list []*packages.Package, found map[string]bool) error {
	graph, err := checker.Analyze(suite, list, nil)
	if err != nil {
		return err
	}
	for _, a := range graph.Roots {
		if a.Err != nil {
			return fmt.Errorf("%v: %w", a, a.Err)
		}
		note := func(at token.Position, message string) {
			found[fmt.Sprintf("%v: %s (%s)", at, message, a.Analyzer.Name)] = true
		}
		for _, d := range a.Diagnostics {
			note(a.Package.Fset.Position(d.Pos), d.Message)
		}
		if result, ok := a.Result.(unused.Result); ok {
			for _, o := range result.Unused {
				note(o.DisplayPosition, fmt.Sprintf("%s %s is unused", o.Kind, o.Name))
			}
		}
	}
	return nil
}

// Command vetsystems is go vet for other systems than this one. It has the same analyzers and looks
// at tests, too, but reads all packages from their source, those of the standard library among them:
// go vet compiles them first, for each system, which takes ten times as long where nothing is
// cached.
//
//	vetsystems -systems darwin/arm64,freebsd/amd64 -tags portable ./...
//
// It prints what it finds and ends with exit code 1 then, 2 when packages cannot be loaded. A
// package whose types do not fit on a system is a finding.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/analysis/suite/vet"
	"golang.org/x/tools/go/packages"
)

func main() {
	systems := flag.String("systems", "", "GOOS/GOARCH of each system, with commas between them")
	tags := flag.String("tags", "", "build tags, with commas between them")
	flag.Parse()
	debug.SetGCPercent(200) // the memory is needed for seconds, and given back at the end
	code := 0
	for system := range strings.SplitSeq(*systems, ",") {
		goos, goarch, ok := strings.Cut(system, "/")
		if !ok {
			fmt.Fprintf(os.Stderr, "vetsystems: %q is no GOOS/GOARCH\n", system)
			os.Exit(2)
		}
		found, err := look(goos, goarch, *tags, flag.Args())
		if err != nil {
			fmt.Fprintf(os.Stderr, "vetsystems: %s: %v\n", system, err)
			os.Exit(2)
		}
		for _, line := range found {
			fmt.Printf("%s: %s\n", system, line)
			code = 1
		}
	}
	os.Exit(code)
}

// suite is what this version of go vet has.
var suite = slices.DeleteFunc(slices.Clone(vet.Suite), func(a *analysis.Analyzer) bool {
	return a.Name == "scannererr" || a.Name == "sqlrowserr"
})

// look returns what the analyzers find in the packages that patterns name, sorted, each once.
func look(goos, goarch, tags string, patterns []string) ([]string, error) {
	loaded, err := packages.Load(&packages.Config{
		Mode:       packages.LoadAllSyntax | packages.NeedModule,
		Env:        append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch),
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
		for _, err := range p.Errors {
			found[err.Error()] = true
		}
	}
	if len(found) == 0 { // analyzers want what compiles
		graph, err := checker.Analyze(suite, withTests(loaded), nil)
		if err != nil {
			return nil, err
		}
		for _, a := range graph.Roots {
			if a.Err != nil {
				return nil, a.Err
			}
			for _, d := range a.Diagnostics {
				at := a.Package.Fset.Position(d.Pos)
				found[fmt.Sprintf("%v: %s (%s)", at, d.Message, a.Analyzer.Name)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
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

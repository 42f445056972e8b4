// Command lint is go vet for several systems at once, and staticcheck. It has their analyzers and looks
// at tests, too, but reads packages from their source: go vet compiles them first, for each system,
// and those of tests once more, and staticcheck analyzes all that they import, the standard library
// among it. Where nothing is cached that takes ten times as long.
//
//	lint -systems darwin/arm64,freebsd/amd64 -tags portable ./...
//	lint -systems linux/amd64 -static ./...
//
// With -static it has those of staticcheck, too, but for the checks that the nearest staticcheck.conf
// leaves out, and the suggestions (QF).
//
// What others have written is read for its declarations only: the analyzers do not know that a
// function of theirs does not return, has no effect or formats as Printf does, unless they know it by
// its name.
//
// It prints what it finds and ends with exit code 1 then, 2 when packages cannot be loaded. A
// package whose types do not fit on a system is a finding.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

func main() {
	systems := flag.String("systems", "", "GOOS/GOARCH of each system, with commas between them")
	tags := flag.String("tags", "", "build tags, with commas between them")
	static := flag.Bool("static", false, "staticcheck's analyzers, too")
	flag.Parse()
	debug.SetGCPercent(200) // the memory is needed for seconds, and given back at the end
	names := strings.Split(*systems, ",")
	found := make([][]string, len(names))
	var all errgroup.Group
	all.SetLimit(2) // each takes some hundred megabytes
	for i, name := range names {
		all.Go(func() (err error) {
			if found[i], err = look(name, *tags, *static, flag.Args()); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	}
	for i, lines := range found {
		for _, line := range lines {
			fmt.Printf("%s: %s\n", names[i], line)
		}
	}
	if slices.ContainsFunc(found, func(lines []string) bool { return len(lines) > 0 }) {
		os.Exit(1)
	}
}

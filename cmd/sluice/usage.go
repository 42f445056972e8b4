package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/cmd/sluice/internal/nearest"
)

// usage says what is wrong with a command line, and where to look.
func usage(args []string, err error) error {
	var parsing *kong.ParseError
	if !errors.As(err, &parsing) {
		return err
	}
	root := parsing.Context.Model.Node
	var names []string
	for _, node := range root.Children {
		names = append(names, node.Name)
	}
	switch verb := parsing.Context.Command(); {
	case len(args) == 0:
		return errors.New("which command? sluice --help lists them; to try it out: sluice serve --dev")
	case verb != "":
		verb, _, _ = strings.Cut(verb, " ")
		return fmt.Errorf("%s: %w; sluice %s --help has examples", verb, err, verb)
	case strings.HasPrefix(args[0], "-"):
		return fmt.Errorf("%w; sluice --help lists commands", err)
	}
	return fmt.Errorf("unknown command %q%s sluice --help lists them", args[0], cmp.Or(didYouMean(nearest.Word(args[0], names)), ";"))
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
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
	names := []string{"help"}
	for _, node := range root.Children {
		names = append(names, node.Name)
	}
	err = plainly(err)
	switch verb := parsing.Context.Command(); {
	case len(args) == 0:
		return errors.New("which command? sluice --help lists them; to try it out: sluice serve --dev")
	case verb != "":
		verb, _, _ = strings.Cut(verb, " ")
		return fmt.Errorf("%s: %w; sluice %s --help has examples", verb, err, verb)
	case strings.HasPrefix(args[0], "-"):
		return fmt.Errorf("%w; sluice --help lists commands", err)
	}
	meant := cmp.Or(otherNames[args[0]], nearest.Word(args[0], names))
	return fmt.Errorf("unknown command %q%s sluice --help lists them", args[0], cmp.Or(didYouMean(meant), ";"))
}

// otherNames are what commands are called elsewhere.
var otherNames = map[string]string{
	"start": "serve", "run": "serve", "server": "serve", "validate": "check", "test": "check",
	"status": "health", "ready": "health", "ping": "health", "info": "top", "stats": "top",
	"connections": "conns", "clients": "conns", "users": "conns", "nodes": "cluster",
	"pub": "publish", "send": "publish", "sub": "watch", "subscribe": "watch", "tail": "watch", "follow": "watch",
	"disconnect": "kick", "close": "kick", "stop": "drain", "shutdown": "drain", "quit": "drain",
	"patch": "set",
}

// oneOf is what the parser says of a value that is none of a list.
var oneOf = regexp.MustCompile(`must be one of ("[^ ]*") but got`)

// choices makes a sentence of a list of quoted words. Of a list that has each word and the same behind
// a -, as what lists are sorted by, the words are said once.
func choices(list string) string {
	words, sorted := []string(nil), false
	for word := range strings.SplitSeq(list, ",") {
		switch word = strings.Trim(word, `"`); {
		case word == "": // nothing is a choice, too: that of who says nothing
		case strings.HasPrefix(word, "-"):
			sorted = true
		default:
			words = append(words, word)
		}
	}
	text := orList(words)
	if sorted {
		return "one of " + text + ", a - before it or not"
	}
	return text
}

// orList is "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// plainly has the parser's words for a wrong value in ours.
func plainly(err error) error {
	text := oneOf.ReplaceAllStringFunc(err.Error(), func(list string) string {
		return "want " + choices(oneOf.FindStringSubmatch(list)[1]) + ", not"
	})
	for _, r := range [...]struct{ from, to string }{
		{`expected a valid \d+ bit u?int but got`, "want a whole number, not"},
		{`expected duration but got ("[^ ]*"): .*`, "$1 is no duration: want a duration such as 500ms, 10s or 20m"},
		{`^expected "<(\w+)>"`, "want <$1>"},
		{`\[<(\w+)>\]: want`, "$1: want"},
		{`^<(\w+)> want`, "$1: want"},
		{`^(--[^:\s]+) want`, "$1: want"},
		{`missing flags: --dev`, "want --dev: no certificates are made but self-signed ones, for trying out"},
	} {
		text = regexp.MustCompile(r.from).ReplaceAllString(text, r.to)
	}
	return errors.New(text)
}

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sluicenet/sluice/cmd/sluice/internal/nearest"
	"github.com/sluicenet/sluice/cmd/sluice/internal/tomlfile"
)

// prefix is what the names of variables begin with.
const prefix = "SLUICE_"

// kubernetes is what Kubernetes tells every process of services whose names begin with sluice.
var kubernetes = regexp.MustCompile(`^SLUICE_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// leastMisspelt is how long the name of an unknown variable must be at least behind SLUICE_ to be taken
// for one that is misspelt: among short ones too many are alike.
const leastMisspelt = 6

// readEnvironment reads the variables SLUICE_..., which are as in os.Environ. An empty one says
// nothing. One that nobody knows is a mistake if it is like one that there is, and else a warning:
// the environment is not sluice's alone.
func (in *inputs) readEnvironment(environ []string) {
	known, names := make(map[string]*param), []string{}
	for _, p := range in.params {
		known[p.env] = p
		if !p.removed() {
			names = append(names, strings.TrimPrefix(p.env, prefix))
		}
	}
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, text, ok := strings.Cut(variable, "=")
		if !ok || text == "" || !strings.HasPrefix(name, prefix) {
			continue
		}
		at := place{source: fromEnv, label: name}
		p := known[name]
		switch {
		case p != nil && p.flag.IsSlice():
			in.giveList(p, at, text)
		case p != nil:
			in.give(p, []item{{at, text}})
		case slices.Contains(ofCommands(), name) || kubernetes.MatchString(name):
		default:
			// What follows SLUICE_ must be near: that is the same in all of them.
			rest := strings.TrimPrefix(name, prefix)
			if word := nearest.Misspelt(rest, names); word != "" && len(rest) >= leastMisspelt {
				in.faults = append(in.faults, fault{place{source: fromEnv}, known[prefix+word].name,
					fmt.Sprintf("unknown variable %s%s", name, didYouMean(prefix+word))})
				continue
			}
			hint := "it is for no setting"
			word := nearest.Related(rest, names)
			if _, key, ok := strings.Cut(rest, "_"); word == "" && ok { // SLUICE_LIMITS_MAX_TOPICS, as in the file
				word = nearest.Related(key, names)
			}
			if word != "" {
				hint += didYouMean(prefix + word)
			}
			in.warnings = append(in.warnings, fmt.Sprintf("unknown variable %s: %s", name, hint))
		}
	}
}

// giveList takes a variable of a repeatable flag: values with blanks or line ends between them, or a
// list as in the file.
func (in *inputs) giveList(p *param, at place, text string) {
	var items []item
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		f := tomlfile.Parse([]byte("list = " + text))
		if len(f.Errors) > 0 || len(f.Entries) != 1 {
			in.faults = append(in.faults, fault{at, p.name, `this is no list such as ["a", "b"]`})
			return
		}
		for _, v := range f.Entries[0].Value.List {
			items = append(items, item{at, v.Text})
		}
	} else {
		for _, word := range strings.Fields(text) {
			items = append(items, item{at, word})
		}
	}
	if len(items) > 0 {
		in.give(p, items)
	}
}

// ofCommands are the variables of commands that ask a gateway.
var ofCommands = sync.OnceValue(func() (names []string) {
	for _, f := range flagsOf(new(struct{ adminFlag })) {
		names = append(names, f.Envs...)
	}
	return names
})

package main

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/alecthomas/kong"
)

// A param is a setting, with all the names it has.
type param struct {
	flag  *kong.Flag
	name  string // of the flag
	table string // of the file; empty: it stands at the top
	key   string // in the table
	env   string // the variable
}

// path is how the file calls it.
func (p *param) path() string {
	if p.table == "" {
		return p.key
	}
	return p.table + "." + p.key
}

// secret reports whether its value is not to be shown.
func (p *param) secret() bool { return p.flag.Tag.Has("secret") }

// variable is the environment's name for a flag.
func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configured are the commands that take settings.
var configured = []string{"serve", "check", "config", "doctor"}

// A group is what settings say of the flags of one group.
type group struct{ table, cut string }

// groups are the tags of settings, by the groups' names.
var groups = sync.OnceValue(func() map[string]group {
	of := make(map[string]group)
	for t, i := reflect.TypeFor[settings](), 0; i < t.NumField(); i++ {
		if tag := t.Field(i).Tag; tag.Get("group") != "" {
			table := tag.Get("table")
			cut, ok := tag.Lookup("cut")
			if !ok {
				cut = table + "-"
			}
			of[tag.Get("group")] = group{table, cut}
		}
	}
	return of
})

// paramsOf lists the settings of a command, in the order of its flags.
func paramsOf(node *kong.Node) (list []*param) {
	of, known := groups(), settingNames()
	for _, f := range node.Flags {
		if !known[f.Name] {
			continue // a flag of the command alone
		}
		p := &param{flag: f, name: f.Name, key: f.Name, env: variable(f.Name)}
		if f.Group != nil {
			g := of[f.Group.Key]
			p.table = g.table
			if rest, ok := strings.CutPrefix(f.Name, g.cut); ok {
				p.key = rest
			}
		}
		if table := f.Tag.Get("table"); table != "" {
			p.table = table
		}
		if key := f.Tag.Get("key"); key != "" {
			p.key = key
		}
		if len(f.Envs) > 0 {
			p.env = f.Envs[0]
		}
		list = append(list, p)
	}
	return list
}

// settingNames are the names of the flags of settings.
var settingNames = sync.OnceValue(func() map[string]bool {
	names := make(map[string]bool)
	for _, f := range flagsOf(new(struct{ settings })) {
		names[f.Name] = f.Name != "help"
	}
	return names
})

// flagsOf are the flags that a struct declares.
func flagsOf(declared any) []*kong.Flag {
	parser, err := kong.New(declared, kong.Name("sluice"))
	if err != nil {
		panic(err) // of the struct, which is a constant
	}
	return parser.Model.Flags
}

// commandOf returns the command that args are for, and the rest of args, if it is one that takes
// settings.
func commandOf(root *kong.Node, args []string) (node *kong.Node, rest []string) {
	if len(args) == 0 || !slices.Contains(configured, args[0]) {
		return nil, args
	}
	for _, child := range root.Children {
		if child.Name == args[0] {
			return child, args[1:]
		}
	}
	return nil, args
}

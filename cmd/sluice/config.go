package main

import (
	"fmt"
	"maps"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/internal/readfile"
)

// A configFile is the name of a TOML file to read flags from. It is read anew whenever a command
// line is parsed.
type configFile string

// maxConfigFile bounds it, in bytes.
const maxConfigFile = 1 << 20

// BeforeResolve has the file's values stand in for flags that the command line does not give.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	name := kong.ExpandPath(string(ctx.FlagValue(trace.Flag).(configFile)))
	text, err := readfile.Read(name, maxConfigFile)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	values, err := parseTOML(text)
	if err != nil {
		return fmt.Errorf("config: %s: %w", name, err)
	}
	ctx.AddResolver(values)
	return nil
}

// parseTOML reads a config file: a flat table whose keys are flag names. A key that is no flag is
// an error, since it would be a setting without effect.
func parseTOML(text []byte) (tomlResolver, error) {
	values := make(tomlResolver)
	_, err := toml.Decode(string(text), (*map[string]any)(&values))
	return values, err
}

type tomlResolver map[string]any

// Validate implements kong.Resolver.
func (v tomlResolver) Validate(app *kong.Application) error {
	known := make(map[string]bool)
	for _, cmd := range app.Children {
		names := make(map[string]bool)
		for _, flag := range cmd.Flags {
			names[flag.Name] = true
		}
		if names["config"] { // the others read no file
			maps.Copy(known, names)
		}
	}
	delete(known, "config") // one file is read, not another that it names
	for key := range v {
		if !known[key] {
			return fmt.Errorf("config: unknown key %q", key)
		}
	}
	return nil
}

// Resolve implements kong.Resolver.
func (v tomlResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	switch value := v[flag.Name].(type) {
	case nil:
		return nil, nil
	case []any:
		return value, nil
	case map[string]any:
		return nil, fmt.Errorf("config: %s: want a value, not a table", flag.Name)
	case bool:
		return value, nil
	default:
		return fmt.Sprint(value), nil
	}
}

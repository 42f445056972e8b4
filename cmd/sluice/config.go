package main

import (
	"fmt"
	"io"
	"maps"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"
)

// loadTOML reads a config file: a flat table whose keys are flag names. A key that is no flag is
// an error, since it would be a setting without effect.
func loadTOML(r io.Reader) (kong.Resolver, error) {
	values := make(map[string]any)
	if _, err := toml.NewDecoder(r).Decode(&values); err != nil {
		if f, ok := r.(interface{ Name() string }); ok {
			err = fmt.Errorf("%s: %w", f.Name(), err)
		}
		return nil, fmt.Errorf("config: %w", err)
	}
	return tomlResolver(values), nil
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

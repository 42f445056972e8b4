package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type setCmd struct {
	adminFlag
	jsonFlag
	Unset    []string `help:"Let what flags, environment and file say of this setting count again; repeatable." placeholder:"KEY" sep:"none"`
	Settings []string `arg:"" optional:"" name:"key=value" help:"A setting by its flag's name, or by table and key of the file, and its value. A repeatable one is there several times; KEY= empties its list." sep:"none"`
}

// Help implements kong.HelpProvider.
func (*setCmd) Help() string {
	return examples(
		"sluice set log-level=debug                            # until the next reload",
		"sluice set limits.max-connections=50000 drain=30s",
		"sluice set 'route=chat.*=1' 'route=cmd:6-20=2'         # the whole list",
		"sluice set --unset log-level                          # what file and flags say counts again",
		"sluice config --running | grep 'the API'              # what was set so") +
		"All of them change, or none. A reload or a restart ends it: what is to stay belongs into the file.\n\n" + readingCodes
}

// Run changes settings of a running gateway.
func (cmd *setCmd) Run(s *streams) error { return named("set", cmd.run(s)) }

func (cmd *setCmd) run(s *streams) error {
	body, err := cmd.body()
	if err != nil {
		return usageError{err}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Patch(context.Background(), "config", body)
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(s.stdout, answer)
	}
	return printChanged(s, answer)
}

// body is what the API is asked: lists of texts, and null for what is taken back.
func (cmd *setCmd) body() (map[string]any, error) {
	body := make(map[string]any)
	for _, text := range cmd.Settings {
		key, value, ok := strings.Cut(text, "=")
		key = strings.TrimPrefix(key, "--") // as of serve
		if !ok || key == "" {
			return nil, errors.New("want KEY=VALUE, as log-level=debug")
		}
		switch have := body[key].(type) {
		case nil:
			body[key] = value
		case string:
			body[key] = []string{have, value}
		case []string:
			body[key] = append(have, value)
		}
	}
	for _, key := range cmd.Unset {
		key = strings.TrimPrefix(key, "--")
		if _, ok := body[key]; ok {
			return nil, fmt.Errorf("--unset %s: it is set, too", key)
		}
		body[key] = nil
	}
	if len(body) == 0 {
		return nil, errors.New("which setting? want KEY=VALUE, as log-level=debug; docs/flags.md has them")
	}
	return body, nil
}

// printChanged prints an AdminReloaded.
func printChanged(s *streams, answer json.RawMessage) error {
	var done struct {
		Changed []string `json:"changed"`
		Login   bool     `json:"login"`
	}
	if err := decodeAnswer(answer, &done); err != nil {
		return err
	}
	var l table.List
	l.Add("changed", strings.Join(done.Changed, " "))
	if done.Login {
		l.Add("read again", "files of tokens, keys and users")
	}
	if l.Len() == 0 {
		_, err := fmt.Fprintln(s.stdout, "nothing has changed")
		return err
	}
	return l.Write(s.stdout)
}

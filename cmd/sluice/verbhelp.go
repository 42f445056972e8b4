package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// examples are what a command's help ends with.
func examples(lines ...string) string {
	return "For example:\n\n    " + strings.Join(lines, "\n    ") + "\n\n"
}

// What the help of verbs says of their exit codes; docs/commands.md has the same.
const (
	readingCodes = "Exit codes: 0 done, 1 the gateway refuses or cannot be reached, 2 wrong usage, 3 not found."
	localCodes   = "Exit codes: 0 done, 1 failed, 2 wrong usage."
)

// helpOf is a flag's help with its default, where something else stands behind the flag's name: kong
// shows one of the two.
func helpOf(value *kong.Value) string {
	if f := value.Flag; f != nil && f.PlaceHolder != "" && value.HasDefault && value.Default != "" {
		with := *value
		with.Help += " Default: " + value.Default + "."
		value = &with
	}
	return kong.DefaultHelpValueFormatter(value)
}

// named puts a verb's name before its error.
func named(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// Help implements kong.HelpProvider.
func (*serveCmd) Help() string {
	return examples(
		"sluice serve --dev                                    # on 127.0.0.1:7000, to try it out",
		"sluice serve --login tokens:users.txt                 # in earnest, for this machine",
		"sluice serve --login tokens:users.txt --listen tls://0.0.0.0:7443 --tls-cert c.pem --tls-key k.pem",
		"sluice serve --config /etc/sluice.toml") +
		"Exit codes: 0 stopped as asked and every client was told, 1 something failed while running, 2 wrong flags or config."
}

// Help implements kong.HelpProvider.
func (*checkCmd) Help() string {
	return examples("sluice check --config /etc/sluice.toml") +
		"It takes all flags of sluice serve, which are in sluice serve --help and in docs/flags.md.\n\n" + localCodes
}

// Help implements kong.HelpProvider.
func (*tokenCmd) Help() string {
	return examples(
		"sluice token --user ann --api-key-file key.txt",
		"sluice token --quiet      # the token alone; serve --dev --login otp wants neither user nor key") +
		"Exit codes: 0 done, 1 the gateway refuses or cannot be reached, 2 wrong usage."
}

// Help implements kong.HelpProvider.
func (*certCmd) Help() string {
	return examples(
		"sluice cert --dev",
		"sluice cert --dev --cert c.pem --key k.pem gateway.example 10.0.0.5") + localCodes
}

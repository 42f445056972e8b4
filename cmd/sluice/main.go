// Command sluice is a gateway for very many long-lived connections.
//
//	sluice serve --dev        serve clients on 127.0.0.1:7000, with open login and development routes
//	sluice serve --help       all flags
//	sluice check [flags]      say whether the flags and the config file would do
//	sluice token --user ID    ask a running gateway for a one-time login token
//	sluice cert --dev         write a self-signed certificate and its key, for trying out
//	sluice health             ask a running gateway whether it is ready
//	sluice version
//
// Flags come from the command line, then from the TOML file named by --config, where each key is
// a flag's name. Exit codes: 0 done, 1 something failed while running, 2 bad flags or config.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/cmd/sluice/internal/logsink"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is the caller's fault: bad flags, or a file that a flag names.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run the gateway."`
	Check   checkCmd   `cmd:"" help:"Check flags and config file without listening."`
	Token   tokenCmd   `cmd:"" help:"Ask a running gateway for a one-time login token (serve --login otp)."`
	Cert    certCmd    `cmd:"" help:"Write a self-signed certificate and its key, for trying out TLS."`
	Health  healthCmd  `cmd:"" help:"Ask a running gateway whether it is ready: exit 0, or 1 and why."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// lastWords is how long the last lines of the log may take at the end: nobody may be reading them.
const lastWords = 500 * time.Millisecond

func main() {
	// Nothing may wait for standard error, nor die of it.
	stderr := logsink.New(os.Stderr)
	code := run(os.Args[1:], os.Stdout, stderr)
	stderr.Close(lastWords)
	os.Exit(code)
}

// run is main with its surroundings passed in.
func run(args []string, stdout, stderr io.Writer) int {
	exited := -1
	parser, err := newParser(
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "sluice:", err)
		return exitFailed
	}
	ctx, err := parser.Parse(args)
	if exited >= 0 { // --help has printed
		return exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "sluice:", err)
		return exitUsage
	}
	ctx.BindTo(stdout, (*io.Writer)(nil))
	ctx.Bind(&streams{stdout, stderr, args})
	err = ctx.Run()
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "sluice:", err)
		return exitUsage
	}
	fmt.Fprintln(stderr, "sluice:", err)
	return exitFailed
}

// newParser makes the parser of commands and flags.
func newParser(options ...kong.Option) (*kong.Kong, error) {
	return newParserFor(new(cli), options...)
}

// newParserFor makes the parser that fills in c.
func newParserFor(c *cli, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append([]kong.Option{
		kong.Name("sluice"),
		kong.Description("A gateway for very many long-lived connections."),
	}, options...)...)
}

// streams are a command's surroundings.
type streams struct {
	stdout, stderr io.Writer
	args           []string // of the whole command line
}

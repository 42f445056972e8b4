// Command sluice is a gateway for very many long-lived connections.
//
//	sluice serve --dev        serve clients on 127.0.0.1:7000, with open login and development routes
//	sluice serve --help       all flags; also sluice help serve
//	sluice check [flags]      say whether the flags and the config file would do
//	sluice config [flags]     print all settings, and where each comes from
//	sluice token --user ID    ask a running gateway for a one-time login token
//	sluice cert --dev         write a self-signed certificate and its key, for trying out
//	sluice health             ask a running gateway whether it is ready
//	sluice doctor             what is wrong with machine, gateway and flags, and the lines that fix it
//	sluice conns              who is connected; also topics, workers, sessions, cluster
//	sluice publish TOPIC DATA publish a message; sluice watch TOPIC prints what comes
//	sluice session ID         one session, and its end; sluice session --user ID all of a user's
//	sluice kick --user ID     end connections; also reload and drain
//	sluice set KEY=VALUE      change settings of a running gateway
//	sluice completion bash    a script for the shell
//	sluice version            also sluice --version
//
// Settings of serve, check and config come from the command line, then from variables SLUICE_..., then
// from the TOML file named by --config; see docs/configuration.md. Exit codes: 0 done, 1 something
// failed, or the gateway refuses or cannot be reached, 2 bad flags or config, 3 not found.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/cmd/sluice/internal/early"
	"github.com/sluicenet/sluice/cmd/sluice/internal/logsink"
)

type cli struct {
	Serve      serveCmd      `cmd:"" help:"Run the gateway."`
	Check      checkCmd      `cmd:"" help:"Check flags and config file without listening."`
	Config     configCmd     `cmd:"" help:"Print the settings in force, and where each comes from."`
	Token      tokenCmd      `cmd:"" help:"Ask a running gateway for a one-time login token (serve --login otp)."`
	Cert       certCmd       `cmd:"" help:"Write a self-signed certificate and its key, for trying out TLS."`
	Health     healthCmd     `cmd:"" help:"Ask a running gateway whether it is ready: exit 0, or 1 and why."`
	Doctor     doctorCmd     `cmd:"" help:"Look at machine, gateway and flags: what is wrong, why it matters, and the line that fixes it."`
	Conns      connsCmd      `cmd:"" help:"List connections: traffic, queue, lag, memory; or all that is known of one."`
	Topics     topicsCmd     `cmd:"" help:"List topics that have subscribers."`
	Sessions   sessionsCmd   `cmd:"" help:"List sessions that can be resumed."`
	Session    sessionCmd    `cmd:"" help:"Describe a session, or all of a user's, or end them: they cannot be resumed then."`
	Workers    workersCmd    `cmd:"" help:"List the links of workers: queue, silence, latency of their answers."`
	Cluster    clusterCmd    `cmd:"" help:"List the gateways of the cluster."`
	Publish    publishCmd    `cmd:"" help:"Publish a message to a topic."`
	Watch      watchCmd      `cmd:"" help:"Print what is published to a topic, as it comes."`
	Kick       kickCmd       `cmd:"" help:"End a connection, or all of a user's."`
	Reload     reloadCmd     `cmd:"" help:"Have the gateway read its configuration again, as SIGHUP does."`
	Set        setCmd        `cmd:"" help:"Change settings of a running gateway, until its next reload."`
	Drain      drainCmd      `cmd:"" help:"Begin a shutdown, as SIGTERM does."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands and flags in bash, zsh or fish."`
	Top        topCmd        `cmd:"" help:"Show counters, connections and topics, again and again."`
	Version    versionCmd    `cmd:"" help:"Print the version, as sluice --version does."`
}

// flushTimeout is how long the last lines of the log may take at the end: nobody may be reading them.
const flushTimeout = 500 * time.Millisecond

func main() {
	// Nothing may wait for standard error, nor die of it.
	stderr := logsink.New(os.Stderr)
	kept := early.Kept()
	code := untilReady(kept.Ends, stderr, func(start *startup) int {
		return runWith(os.Args[1:], os.Stdout, stderr, kept, start)
	})
	stderr.Close(flushTimeout)
	os.Exit(code)
}

// run is main with its surroundings passed in.
func run(args []string, stdout, stderr io.Writer) int {
	return runWith(args, stdout, stderr, early.Signals{}, &startup{ready: func() {}})
}

// runWith is run, with signals that are kept already, if they are, and who is to hear of the start of a
// command that takes them over.
func runWith(args []string, stdout, stderr io.Writer, kept early.Signals, start *startup) int {
	exited := -1
	args = asOthers(args)
	c, err := parse(joinSort(configSet(args)), os.Environ(),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if exited >= 0 { // --help has printed
		return exited
	}
	if err != nil {
		printError(stderr, usage(args, err))
		return exitUsage
	}
	c.ctx.BindTo(stdout, (*io.Writer)(nil))
	c.ctx.Bind(c.parser)
	c.ctx.Bind(c.inputs)
	c.ctx.Bind(&streams{stdout: stdout, stderr: stderr, args: args, signals: kept, start: start})
	err = c.ctx.Run()
	if logged := (loggedError{}); err != nil && !errors.As(err, &logged) {
		printError(stderr, err)
	}
	return exitCode(err)
}

// asOthers has what most programs know mean what it means there: --version, and help before a command.
func asOthers(args []string) []string {
	switch {
	case len(args) == 0:
	case args[0] == "--version":
		return append([]string{"version"}, args[1:]...)
	case args[0] == "help" && (len(args) == 1 || args[1] == "help"):
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	}
	return args
}

// configSet has "config set" mean set, which is what some look for there.
func configSet(args []string) []string {
	if len(args) > 1 && args[0] == "config" && args[1] == "set" {
		return args[1:]
	}
	return args
}

// printError writes a line for each mistake.
func printError(w io.Writer, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(w, "sluice:", line)
	}
}

// A call is a command line that has been read.
type call struct {
	parser *kong.Kong
	ctx    *kong.Context
	inputs *inputs // nil: the command takes no settings
}

// settings are those of the command, which takes some.
func (c *call) settings() *settings {
	return c.ctx.Selected().Target.Addr().Interface().(interface{ own() *settings }).own()
}

// own is for commands, which hold settings.
func (cmd *settings) own() *settings { return cmd }

// parse reads a command line, and what else says something of settings, if its command takes any. What
// is wrong with settings is left in inputs.
func parse(args, environ []string, options ...kong.Option) (*call, error) {
	parser, err := newParserFor(commandsFor(args), options...)
	if err != nil {
		return nil, err
	}
	c := &call{parser: parser}
	if node, rest := commandOf(parser.Model.Node, args); node != nil {
		c.inputs = read(node, rest, environ)
		args = c.inputs.rest
	}
	if c.ctx, err = parser.Parse(args); err != nil {
		return nil, err
	}
	if c.inputs != nil {
		c.inputs.apply()
	}
	return c, nil
}

// commandsFor returns the struct of the command that args begin with, or of all: most of the time that
// a command takes would go into making out what the others take.
func commandsFor(args []string) any {
	all := reflect.TypeFor[cli]()
	for i := range all.NumField() {
		if f := all.Field(i); len(args) > 0 && args[0] == strings.ToLower(f.Name) && f.Type != reflect.TypeFor[completionCmd]() {
			return reflect.New(reflect.StructOf([]reflect.StructField{f})).Interface()
		}
	}
	return new(cli)
}

// newParser makes the parser of all commands and flags.
func newParser(options ...kong.Option) (*kong.Kong, error) {
	return newParserFor(new(cli), options...)
}

// newParserFor makes the parser that fills in a struct of commands.
func newParserFor(commands any, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(commands, append([]kong.Option{
		kong.Name("sluice"),
		kong.Description("A gateway for very many long-lived connections."),
		kong.Help(shortHelp),
		kong.ValueFormatter(helpOf),
	}, options...)...)
}

// streams are a command's surroundings.
type streams struct {
	stdout, stderr io.Writer
	args           []string      // of the whole command line
	stdin          io.Reader     // nil: the process's
	signals        early.Signals // those that are kept; none: nobody listens yet
	start          *startup      // of a command that listens to them itself
}

func (s *streams) input() io.Reader {
	if s.stdin == nil {
		return os.Stdin
	}
	return s.stdin
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/report"
	"github.com/sluicenet/sluice/internal/buildinfo"
)

// cli is the command line, declared to kong: typed flags with their help beside them.
type cli struct {
	Fanout  fanoutCmd  `cmd:"" help:"Publishers send to topics; count what every subscriber receives."`
	Echo    echoCmd    `cmd:"" help:"Requests that the gateway answers itself: closed loop, or open loop at a rate."`
	Worker  workerCmd  `cmd:"" help:"Requests that an attached worker answers."`
	Connect connectCmd `cmd:"" help:"Login storm; with --resume, a reconnect storm with sessions."`
	Churn   churnCmd   `cmd:"" help:"Connections that close and come back all the time."`
	Idle    idleCmd    `cmd:"" help:"Hold connections with one subscription each; memory per connection."`
	Compare compareCmd `cmd:"" help:"Say how the runs in B.json differ from those in A.json."`
	Version versionCmd `cmd:"" help:"Print the version, as sluice-bench --version does."`
}

// common is what every scenario takes.
type common struct {
	Target      []string      `group:"Target" short:"t" aliases:"url" sep:"none" default:"tcp://127.0.0.1:7000" help:"tcp://HOST:PORT or ws://HOST:PORT[/PATH]; tls:// and wss:// are the same with TLS, whose certificate is not verified; unix:///PATH and ws+unix:///PATH. Repeatable: connections are dealt among the gateways of a cluster."`
	Protocol    string        `group:"Target" short:"p" default:"gosoc" enum:"gosoc,gosoc-fixed6,longbridge,netsvr" help:"gosoc, gosoc-fixed6, longbridge or netsvr."`
	Gzip        bool          `group:"Target" help:"Compress bodies, where the protocol can."`
	TokenPrefix string        `group:"Target" placeholder:"TEXT" help:"Log in with this and a number as the token; without it, with none."`
	TopicPrefix string        `group:"Target" default:"bench." help:"Topics are this and a number."`
	PID         string        `group:"Target" name:"pid" default:"auto" help:"Processes of the gateway to watch, separated by commas; auto: the one that listens at the target, if it is here; none."`
	Admin       string        `group:"Target" placeholder:"URL" help:"The gateway's admin address, http://HOST:PORT: report its own counters too."`
	WorkerAddr  string        `group:"Target" placeholder:"ADDRESS" help:"The gateway's worker address, HOST:PORT or unix:///PATH, over which netsvr topics are subscribed and published."`
	Connections int           `group:"Load" short:"c" default:"100" help:"Connections, publishers not counted."`
	Duration    time.Duration `group:"Load" short:"d" default:"10s" help:"Measured time."`
	Warmup      time.Duration `group:"Load" default:"1s" help:"Time before it that is not measured."`
	Drain       time.Duration `group:"Load" default:"5s" help:"Longest wait at the end while nothing arrives of what is in flight."`
	Dialing     int           `group:"Load" default:"256" help:"Connections being brought up at once."`
	Timeout     time.Duration `group:"Load" default:"10s" help:"For a connection to come up."`
	Ping        time.Duration `group:"Load" default:"50s" help:"Between keep-alives of a connection."`
	Repeat      int           `group:"Load" default:"1" help:"Runs, one after another."`
	Loops       int           `group:"Generator" default:"1" help:"Event loops per process."`
	Procs       int           `group:"Generator" default:"1" help:"Processes; one holds 19,500 connections."`
	Sources     int           `group:"Generator" help:"Source addresses from 127.0.0.2 on; as many as needed if not given." placeholder:"N"`

	outputs
}

type outputs struct {
	Expect string `group:"Output" placeholder:"LIST" help:"Conditions such as 'p99<20ms,lost=0'; exit code 3 if one is not met. Metrics: p50, p99.9 and so on, min, mean, max, raw.p99 (uncorrected), rate, publishes, sent, delivered, lost, inflight, unsent, late, refused, mismatch, closed, failed, cpu (time per unit), cores, rss, conn."`
	JSON   string `group:"Output" name:"json" placeholder:"FILE" help:"Everything, for compare and other programs; - is standard output."`
	CSV    string `group:"Output" name:"csv" placeholder:"FILE" help:"A line per second."`
	HLog   string `group:"Output" name:"hlog" placeholder:"FILE" help:"HdrHistogram log, an interval per second; of the last run."`
	HTML   string `group:"Output" name:"html" placeholder:"FILE" help:"A page with plots."`
	Quiet  bool   `group:"Output" short:"q" help:"No progress."`
}

func (c common) config(scenario string) bench.Config {
	return bench.Config{
		Scenario: scenario, Target: c.Target[0], Others: c.Target[1:], Protocol: c.Protocol, Gzip: c.Gzip, Connections: c.Connections,
		Duration: c.Duration, Warmup: c.Warmup, Drain: c.Drain, StepTimeout: c.Timeout, Ping: c.Ping,
		Loops: c.Loops, Procs: c.Procs, Sources: c.Sources, Dialing: c.Dialing,
		TokenPrefix: c.TokenPrefix, TopicPrefix: c.TopicPrefix, Admin: c.Admin, Worker: c.WorkerAddr,
	}
}

type paced struct {
	Rate   float64 `group:"Load" short:"r" help:"Events per second, in all. Without it, as fast as possible." placeholder:"N"`
	Stages string  `group:"Load" placeholder:"LIST" help:"Instead of --rate and --duration: 10s:1000,30s:20000 holds rates, 30s:0-20000 climbs. The warm-up is part of it."`
}

type fanoutCmd struct {
	common
	paced
	Topics     int `group:"Load" default:"1" help:"Topics; every subscriber hears at least one."`
	Publishers int `group:"Load" default:"1" help:"Connections that publish."`
	Size       int `group:"Load" short:"s" default:"100" help:"Bytes of a message."`
}

func (c fanoutCmd) Run(e *env) error {
	cfg := c.config("fanout")
	cfg.Rate, cfg.Stages, cfg.Topics, cfg.Publishers, cfg.Size = c.Rate, c.Stages, c.Topics, c.Publishers, c.Size
	return e.do(c.common, cfg)
}

type requests struct {
	common
	paced
	Depth int `group:"Load" help:"Requests in flight per connection; 1, or at most 1,024 with --rate." placeholder:"N"`
	Size  int `group:"Load" short:"s" default:"100" help:"Bytes of a body."`
}

func (c requests) config(scenario string) bench.Config {
	cfg := c.common.config(scenario)
	cfg.Rate, cfg.Stages, cfg.Depth, cfg.Size = c.Rate, c.Stages, c.Depth, c.Size
	return cfg
}

type echoCmd struct{ requests }

func (c echoCmd) Run(e *env) error { return e.do(c.common, c.config("echo")) }

type workerCmd struct {
	requests
	Route string `group:"Target" required:"" help:"What to ask for: a GOSOC route, a Longbridge command number, a netsvr worker id (1 to 999)." placeholder:"ROUTE"`
}

func (c workerCmd) Run(e *env) error {
	cfg := c.config("worker")
	cfg.Route = c.Route
	return e.do(c.common, cfg)
}

type connectCmd struct {
	common
	paced
	Resume bool `group:"Load" help:"Log in first, be cut off, and come back with sessions."`
}

func (c connectCmd) Run(e *env) error {
	cfg := c.config("connect")
	cfg.Rate, cfg.Stages, cfg.Resume = c.Rate, c.Stages, c.Resume
	cfg.Warmup = 0 // a storm has no calm before it
	return e.do(c.common, cfg)
}

type churnCmd struct {
	common
	Rate       float64 `group:"Load" short:"r" default:"100" help:"Connections that close and come back, per second."`
	Background float64 `group:"Load" help:"Publishes per second beside it." placeholder:"N"`
	Topics     int     `group:"Load" default:"1" help:"Topics; every connection hears at least one."`
	Size       int     `group:"Load" short:"s" default:"100" help:"Bytes of a message."`
}

func (c churnCmd) Run(e *env) error {
	cfg := c.config("churn")
	cfg.Rate, cfg.Background, cfg.Topics, cfg.Size = c.Rate, c.Background, c.Topics, c.Size
	return e.do(c.common, cfg)
}

type idleCmd struct{ common }

func (c idleCmd) Run(e *env) error { return e.do(c.common, c.config("idle")) }

type compareCmd struct {
	A string `arg:"" type:"existingfile" help:"What --json wrote."`
	B string `arg:"" type:"existingfile" help:"The same, of what to judge."`
}

func (c compareCmd) Run(e *env) error {
	a, err := report.Read(c.A)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	b, err := report.Read(c.B)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return report.Compare(e.stdout, a, b)
}

// release is what a release is: -ldflags "-X main.release=v1.2.3".
var release string

type versionCmd struct{}

func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.stdout, "sluice-bench", buildinfo.Version(release), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return err
}

// usage says what is wrong with a command line, and where to look.
func usage(args []string, err error) error {
	var parsing *kong.ParseError
	switch {
	case len(args) == 0:
		return errors.New("which scenario? sluice-bench --help lists them; to try it out: sluice-bench fanout")
	case errors.As(err, &parsing) && parsing.Context.Command() != "":
		verb, _, _ := strings.Cut(parsing.Context.Command(), " ")
		return fmt.Errorf("%s: %w; sluice-bench %s --help lists its flags", verb, err, verb)
	case strings.HasPrefix(args[0], "-"):
		return fmt.Errorf("%w; sluice-bench --help lists scenarios", err)
	}
	return fmt.Errorf("unknown scenario %q; sluice-bench --help lists them", args[0])
}

func run(ctx context.Context, args []string, stdout, stderr *os.File) int {
	if len(args) > 0 && args[0] == "--version" {
		args = append([]string{"version"}, args[1:]...)
	}
	var c cli
	done := -1
	parser, err := kong.New(&c, kong.Name("sluice-bench"), kong.Writers(stdout, stderr),
		kong.Description("Loads a gateway and reports what it does. Exit codes: 0, 1 the run failed or is incomplete, 2 bad usage, 3 an expectation was not met, 130 interrupted; what was measured until then is reported."),
		kong.Exit(func(code int) { done = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		complain(stderr, err)
		return exitFailed
	}
	k, err := parser.Parse(args)
	if done >= 0 {
		return done // it was asked for help
	}
	if err != nil {
		complain(stderr, usage(args, err))
		return exitUsage
	}
	err = k.Run(&env{ctx: ctx, stdout: stdout, stderr: stderr, args: args})
	if err != nil {
		complain(stderr, err)
	}
	return codeOf(err)
}

// number is a flag's text as an int, or a usage error.
func number(flag, text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%w: --%s: %q is not a number", errUsage, flag, text)
	}
	return n, nil
}

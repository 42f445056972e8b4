package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/report"
)

// cli is the command line.
type cli struct {
	Fanout  fanoutCmd  `cmd:"" help:"Publishers send to topics; count what every subscriber receives."`
	Echo    echoCmd    `cmd:"" help:"Requests that the gateway answers itself: closed loop, or open loop at a rate."`
	Connect connectCmd `cmd:"" help:"Login storm; with --resume, a reconnect storm with sessions."`
	Idle    idleCmd    `cmd:"" help:"Hold connections with one subscription each; memory per connection."`
}

type common struct {
	Target      string        `short:"t" default:"tcp://127.0.0.1:7000" help:"tcp://HOST:PORT or ws://HOST:PORT/PATH."`
	Protocol    string        `short:"p" default:"gosoc" enum:"gosoc,gosoc-fixed6,longbridge,netsvr" help:"gosoc, gosoc-fixed6, longbridge or netsvr."`
	Gzip        bool          `help:"Compress bodies, where the protocol can."`
	Connections int           `short:"c" default:"100" help:"Connections, publishers not counted."`
	Duration    time.Duration `short:"d" default:"10s" help:"Measured time."`
	Warmup      time.Duration `default:"1s" help:"Time before it that is not measured."`
	Drain       time.Duration `default:"5s" help:"Longest wait for what is in flight at the end."`
	Loops       int           `default:"1" help:"Event loops per process."`
	Procs       int           `default:"1" help:"Processes; one holds 19,500 connections."`
	Sources     int           `help:"Source addresses from 127.0.0.2 on; as needed if not given."`
	Dialing     int           `default:"256" help:"Connections being brought up at once."`
	TokenPrefix string        `help:"Log in with this and a number as the token; without it, with none."`
	TopicPrefix string        `default:"bench." help:"Topics are this and a number."`
	PID         []int         `name:"pid" help:"Processes of the gateway, for CPU and memory."`
}

func (c common) config(scenario string) bench.Config {
	return bench.Config{
		Scenario: scenario, Target: c.Target, Protocol: c.Protocol, Gzip: c.Gzip, Connections: c.Connections,
		Duration: c.Duration, Warmup: c.Warmup, Drain: c.Drain, Loops: c.Loops, Procs: c.Procs, Sources: c.Sources,
		Dialing: c.Dialing, TokenPrefix: c.TokenPrefix, TopicPrefix: c.TopicPrefix, PIDs: c.PID,
	}
}

type paced struct {
	Rate   float64 `short:"r" help:"Per second, in all; as fast as possible without."`
	Stages string  `help:"Instead of --rate and --duration: 10s:1000,30s:20000, or 30s:0-20000 to climb."`
}

type fanoutCmd struct {
	common
	paced
	Topics     int `default:"1" help:"Topics; every subscriber hears at least one."`
	Publishers int `default:"1" help:"Connections that publish."`
	Size       int `short:"s" default:"100" help:"Bytes of a message."`
}

func (c fanoutCmd) Run(e *env) error {
	cfg := c.config("fanout")
	cfg.Rate, cfg.Stages, cfg.Topics, cfg.Publishers, cfg.Size = c.Rate, c.Stages, c.Topics, c.Publishers, c.Size
	return e.do(cfg)
}

type echoCmd struct {
	common
	paced
	Depth int `help:"Requests in flight per connection; 1, or 1,024 at most with --rate."`
	Size  int `short:"s" default:"100" help:"Bytes of a body."`
}

func (c echoCmd) Run(e *env) error {
	cfg := c.config("echo")
	cfg.Rate, cfg.Stages, cfg.Depth, cfg.Size = c.Rate, c.Stages, c.Depth, c.Size
	return e.do(cfg)
}

type connectCmd struct {
	common
	paced
	Resume bool `help:"Log in first, be cut off, and come back with sessions."`
}

func (c connectCmd) Run(e *env) error {
	cfg := c.config("connect")
	cfg.Rate, cfg.Stages, cfg.Resume = c.Rate, c.Stages, c.Resume
	cfg.Warmup = 0
	return e.do(cfg)
}

type idleCmd struct{ common }

func (c idleCmd) Run(e *env) error { return e.do(c.config("idle")) }

// env is what commands work with.
type env struct {
	ctx    context.Context
	stdout *os.File
}

func (e *env) do(c bench.Config) error {
	r, err := bench.Run(e.ctx, c, bench.Observer{})
	if err != nil {
		return err
	}
	return report.Text(e.stdout, r)
}

func run(ctx context.Context, args []string, stdout, stderr *os.File) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("sluice-bench"), kong.Writers(stdout, stderr), kong.UsageOnError(),
		kong.Description("Loads a gateway and reports what it does."))
	if err != nil {
		complain(stderr, err)
		return exitFailed
	}
	k, err := parser.Parse(args)
	if err != nil {
		complain(stderr, fmt.Errorf("%w: %w", errUsage, err))
		return exitUsage
	}
	if err := k.Run(&env{ctx: ctx, stdout: stdout}); err != nil {
		complain(stderr, err)
		return codeOf(err)
	}
	return exitOK
}

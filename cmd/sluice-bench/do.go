package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/expect"
	"github.com/sluicenet/sluice/bench/report"
)

// env is what commands work with.
type env struct {
	ctx            context.Context
	stdout, stderr *os.File
	args           []string
}

// do makes the runs, shows them and writes them where they were asked for.
func (e *env) do(c common, cfg bench.Config) error {
	var conditions []expect.Condition
	var err error
	if c.Expect != "" {
		if conditions, err = expect.Parse(c.Expect, bench.MetricKind); err != nil {
			return fmt.Errorf("%w: --expect: %w", errUsage, err)
		}
	}
	if c.Repeat < 1 {
		return fmt.Errorf("%w: --repeat must be at least 1", errUsage)
	}
	if cfg.PIDs, err = pids(c.PID, cfg); err != nil {
		return err
	}
	text := io.Writer(e.stdout)
	if c.JSON == "-" {
		text = e.stderr
	}
	var runs []*bench.Result
	met := true
	for i := range c.Repeat {
		if c.Repeat > 1 {
			fmt.Fprintf(text, "run %d of %d\n", i+1, c.Repeat)
		}
		var r *bench.Result
		if r, err = e.once(c, cfg); err != nil {
			break
		}
		met = r.Check(conditions) && met
		if err := report.Text(text, r); err != nil {
			return err
		}
		runs = append(runs, r)
		if err = e.ctx.Err(); err == nil && r.Incomplete != "" {
			err = fmt.Errorf("%w: %s", errIncomplete, r.Incomplete)
		}
		if err != nil {
			break
		}
	}
	if len(runs) > 0 { // some, even if not all that was asked for
		if err := e.write(c.outputs, runs); err != nil {
			return err
		}
	}
	if err == nil && !met {
		err = errBreach
	}
	return err
}

func (e *env) once(c common, cfg bench.Config) (*bench.Result, error) {
	live := &report.Live{W: e.stderr, Unit: bench.Unit(cfg.Scenario)}
	if size, err := unix.IoctlGetWinsize(int(e.stderr.Fd()), unix.TIOCGWINSZ); err == nil {
		live.Terminal, live.Columns = true, int(size.Col)
	}
	var o bench.Observer
	if !c.Quiet {
		o = live.Observer()
	}
	r, err := bench.Run(e.ctx, cfg, o)
	live.Done()
	return r, err
}

// pids are the processes to watch.
func pids(flag string, cfg bench.Config) ([]int, error) {
	switch flag {
	case "none", "":
		return nil, nil
	case "auto":
		return bench.FindGateways(cfg), nil
	}
	var all []int
	for part := range strings.SplitSeq(flag, ",") {
		n, err := number("pid", part)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func (e *env) write(o outputs, runs []*bench.Result) error {
	command := "sluice-bench " + strings.Join(e.args, " ")
	for _, out := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{o.JSON, func(w io.Writer) error { return report.JSON(w, runs) }},
		{o.CSV, func(w io.Writer) error { return report.CSV(w, runs) }},
		{o.HLog, func(w io.Writer) error { return report.HistogramLog(w, runs[len(runs)-1]) }},
		{o.HTML, func(w io.Writer) error { return report.HTML(w, runs, command) }},
	} {
		if out.path == "" {
			continue
		}
		if err := e.writeTo(out.path, out.write); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) writeTo(path string, write func(io.Writer) error) error {
	if path == "-" {
		return write(e.stdout)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

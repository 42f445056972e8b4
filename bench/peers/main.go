package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/bench"
)

// settings are the flags.
type settings struct {
	out    string
	rows   string
	peers  string
	repeat int
	resume bool
	into   string
	plots  string

	growthRepeat int
	duration     time.Duration
	loops        int
	genLoops     int
	rssLimit     int64
	quick        bool
	list         bool
	render       string
}

func main() {
	bench.ServeIfWorker()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "peers: interrupted; the same command with -resume goes on from here")
		os.Exit(130)
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage")

func parse(args []string) (s settings, err error) {
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.StringVar(&s.out, "out", "results", "`directory` for results.json, RESULTS.md and plots")
	f.StringVar(&s.rows, "rows", "all", "rows to measure, separated by commas; main, growth and all are groups. Others in -out stay as they are")
	f.BoolVar(&s.resume, "resume", false, "go on with what is in -out: measure only runs that are missing")
	f.StringVar(&s.peers, "peers", "all", "servers to measure, separated by commas; sluice is always among them")
	f.IntVar(&s.repeat, "repeat", 5, "repeats of every comparison")
	f.IntVar(&s.growthRepeat, "growth-repeat", 3, "repeats of growth rows, and of those about sluice alone")
	f.DurationVar(&s.duration, "duration", 4*time.Second, "measured time of a run; some rows take a part of it")
	f.IntVar(&s.loops, "loops", 0, "event loops of sluice, gnetecho and sender; 0: one per core")
	f.IntVar(&s.genLoops, "generator-loops", 1, "event loops of the load generator")
	f.Int64Var(&s.rssLimit, "rss-limit", 6, "GiB at which a server is ended, so that it does not take the machine along")
	f.BoolVar(&s.quick, "quick", false, "two seconds per run, one repeat, a tenth of the connections: shows that it works, measures nothing")
	f.BoolVar(&s.list, "list", false, "list rows and peers")
	f.StringVar(&s.render, "render", "", "measure nothing: write tables and plots of this results.json again, to -out")
	f.StringVar(&s.into, "into", "", "Markdown `file` to put the tables into as well, between its markers")
	f.StringVar(&s.plots, "plots", "plots", "`directory` for the plots of that file, from there")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, err
		}
		return s, fmt.Errorf("%w: %w", errUsage, err)
	}
	if f.NArg() > 0 || s.repeat < 1 || s.growthRepeat < 1 || s.duration <= 0 || s.loops < 0 || s.genLoops < 1 || s.rssLimit < 1 {
		return s, fmt.Errorf("%w: numbers must be above 0, and there are no arguments", errUsage)
	}
	if s.quick {
		s.repeat, s.duration = 1, 2*time.Second
	}
	return s, nil
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if s.list {
		return list(os.Stdout)
	}
	if s.render != "" {
		r, err := load(s.render)
		if err != nil {
			return err
		}
		if err := r.render(s.out); err != nil {
			return err
		}
		return r.publish(s)
	}
	chosen, err := chooseRows(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "sluice-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	peers, err := preparePeers(ctx, s, chosen, work)
	if err != nil {
		return err
	}
	r, err := openResults(args, s, peers)
	if err != nil {
		return err
	}
	m := &matrix{settings: s, peers: peers, results: r, work: work, log: os.Stderr}
	if err := m.measure(ctx, chosen); err != nil {
		if ctx.Err() != nil && len(r.Records) > 0 {
			return errors.Join(ctx.Err(), r.render(s.out))
		}
		return err
	}
	return r.publish(s)
}

// raiseFileLimit lets us and the servers we start have as many files open as we may. Go does so for its own process only.
func raiseFileLimit() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	l.Cur = l.Max
	return os.NewSyscallError("setrlimit", syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l))
}

func chooseRows(s settings) ([]row, error) {
	all := rows(s)
	var chosen []row
	for name := range strings.SplitSeq(s.rows, ",") {
		found := false
		for _, r := range all {
			if name == "all" || name == r.Name || name == "growth" && r.Axis != "" || name == "main" && r.Axis == "" {
				found = true
				if !slices.ContainsFunc(chosen, func(c row) bool { return c.Name == r.Name }) {
					chosen = append(chosen, r)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("%w: no row %q; -list shows them", errUsage, name)
		}
	}
	return chosen, nil
}

func list(w *os.File) error {
	for _, r := range rows(settings{duration: 4 * time.Second}) {
		fmt.Fprintf(w, "%-14s %s (%s)\n", r.Name, r.Title, strings.Join(r.Peers, ", "))
	}
	fmt.Fprintln(w)
	for _, p := range allPeers() {
		fmt.Fprintf(w, "%-14s %s\n", p.name, p.about)
	}
	return nil
}

func resultsFile(dir string) string { return filepath.Join(dir, "results.json") }

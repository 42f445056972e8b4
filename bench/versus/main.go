package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/bench"
)

func main() {
	if addr := os.Getenv(workerEnv); addr != "" {
		serveWorker(addr)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "versus:", err)
		os.Exit(1)
	case !ok:
		os.Exit(3)
	}
}

// A load is what both builds are put under.
type load struct {
	name   string
	config bench.Config
	worker bool // one process answers the requests
	// rate is the least share of the old build's rate; 0: the rate is the load's own.
	rate float64
}

// The tolerated ratios.
const (
	tolerateCPU  = 1.03
	tolerateRSS  = 1.03
	tolerateRate = 0.97
	tolerateFlat = 0.9 // flat out, the order of the machine's threads decides much
)

func loads(d time.Duration) []load {
	return []load{
		{name: "fanout-150", config: bench.Config{Scenario: "fanout", Connections: 1000, Rate: 150, Duration: d}},
		{name: "fanout-flat", config: bench.Config{Scenario: "fanout", Connections: 1000, Duration: d}, rate: tolerateFlat},
		{name: "echo-1", config: bench.Config{Scenario: "echo", Connections: 100, Depth: 1, Duration: d}, rate: tolerateRate},
		{name: "echo-16", config: bench.Config{Scenario: "echo", Connections: 100, Depth: 16, Duration: d}, rate: tolerateRate},
		{name: "worker-1", config: bench.Config{Scenario: "worker", Route: workerRoute, Connections: 100, Depth: 1, Duration: d}, worker: true, rate: tolerateRate},
		{name: "worker-16", config: bench.Config{Scenario: "worker", Route: workerRoute, Connections: 100, Depth: 16, Duration: d}, worker: true, rate: tolerateRate},
		{name: "connect", config: bench.Config{Scenario: "connect", Connections: 10_000, Duration: d}, rate: tolerateRate},
		{name: "idle", config: bench.Config{Scenario: "idle", Connections: 10_000, Duration: d}},
	}
}

// run is the program. ok says that the newer build is no worse.
func run(ctx context.Context, args []string) (ok bool, err error) {
	f := flag.NewFlagSet("versus", flag.ContinueOnError)
	before := f.String("old", "", "gateway to compare with, a `program`")
	after := f.String("new", "", "gateway to judge, a `program`")
	repeat := f.Int("repeat", 5, "runs of each load and build")
	duration := f.Duration("duration", 4*time.Second, "measured time of a run")
	names := f.String("loads", "", "loads, separated by commas; all if not given")
	together := f.Bool("together", false, "both builds at once, for a machine whose speed changes from run to run")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	if *before == "" || *after == "" || *repeat < 1 {
		return false, errors.New("-old and -new are needed, and -repeat of 1 at least")
	}
	var chosen []load
	for _, l := range loads(*duration) {
		if *names == "" || slices.Contains(strings.Split(*names, ","), l.name) {
			chosen = append(chosen, l)
		}
	}
	if len(chosen) == 0 {
		return false, fmt.Errorf("no load is called %q", *names)
	}
	ok = true
	fmt.Printf(format, "load", "median of", "old", "new", "ratio", "between", "verdict")
	for _, l := range chosen {
		var results [2][]*bench.Result
		for i := range *repeat {
			pair, err := l.pair(ctx, [2]string{*before, *after}, i%2, *together)
			if err != nil {
				return false, err
			}
			for which, r := range pair {
				results[which] = append(results[which], r)
			}
		}
		if *together {
			l.rate = 0 // they compete
		}
		ok = l.judge(results) && ok
	}
	return ok, nil
}

// judge prints what a load has shown.
func (l load) judge(results [2][]*bench.Result) bool {
	all := true
	row := func(name, metric string, scale float64, good func(ratio float64) bool) {
		var values [2][]float64
		var ratios []float64
		for i := range results[0] {
			old, young := results[0][i].Metric(metric)/scale, results[1][i].Metric(metric)/scale
			values[0], values[1] = append(values[0], old), append(values[1], young)
			ratios = append(ratios, young/old)
		}
		ratio := median(ratios) // of neighbours, so that a machine that slows down does not count
		verdict := ""
		if good != nil {
			verdict = "ok"
			if !good(ratio) {
				verdict, all = "NOT OK", false
			}
		}
		low, high := interval(ratios)
		fmt.Printf(format, l.name, name, number(median(values[0])), number(median(values[1])), number(ratio),
			number(low)+" to "+number(high), verdict)
	}
	atMost := func(bound float64) func(float64) bool { return func(r float64) bool { return r <= bound } }
	if l.config.Scenario == "idle" {
		row("KiB per connection", "conn", 1<<10, atMost(tolerateRSS))
		row("cores", "cores", 1, nil)
	} else {
		row("CPU each, us", "cpu", 1000, atMost(tolerateCPU))
	}
	if l.rate > 0 {
		row("rate, thousands/s", "rate", 1000, func(r float64) bool { return r >= l.rate })
	}
	if l.config.Scenario != "idle" && l.config.Scenario != "connect" {
		row("p50, ms", "p50", 1e6, nil)
		row("p99, ms", "p99", 1e6, nil)
	}
	lost, closed := 0.0, 0.0
	for _, r := range results[1] {
		lost += r.Metric("lost") + r.Metric("failed") + r.Metric("refused") + r.Metric("mismatch")
		closed += r.Metric("closed")
	}
	verdict := "ok"
	if lost+closed > 0 {
		verdict, all = "NOT OK", false
	}
	fmt.Printf(format, l.name, "lost or closed, in all", "", fmt.Sprint(lost+closed), "", "", verdict)
	return all
}

// format is that of a line of the table.
const format = "%-12s %-22s %12s %12s %7s %16s  %s\n"

func number(v float64) string { return fmt.Sprintf("%.3f", v) }

// median sorts values.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// pair puts both builds under the load, first the one that is told: one after the other, or at once, so
// that what else the machine does strikes both alike.
func (l load) pair(ctx context.Context, programs [2]string, first int, together bool) (pair [2]*bench.Result, err error) {
	if together {
		l.config.Connections = min(l.config.Connections, 5000) // twice their descriptors are this process's
	}
	debug.FreeOSMemory() // so that every run begins alike
	var errs [2]error
	var running sync.WaitGroup
	for _, which := range []int{first, 1 - first} {
		running.Go(func() {
			if pair[which], errs[which] = l.once(ctx, programs[which]); errs[which] != nil {
				errs[which] = fmt.Errorf("%s, %s: %w", l.name, []string{"old", "new"}[which], errs[which])
			}
		})
		if !together {
			running.Wait()
		}
	}
	running.Wait()
	return pair, errors.Join(errs[:]...)
}

// interval sorts values and returns the narrowest pair of them, as far from one end as from the other,
// that has the median of what they are a sample of between them in 95 of 100 cases. Of fewer than six it
// is the least and the largest.
func interval(values []float64) (low, high float64) {
	slices.Sort(values)
	n := len(values)
	// Each value is below the true median as often as not: below is the probability that at most k are.
	below, one := 0.0, math.Pow(0.5, float64(n))
	k := 0
	for ; k < n/2; k++ {
		if below += one; 2*below > 0.05 {
			break
		}
		one *= float64(n-k) / float64(k+1)
	}
	k = max(k-1, 0)
	return values[k], values[n-1-k]
}

// once puts one build under the load.
func (l load) once(ctx context.Context, program string) (*bench.Result, error) {
	g, err := startGateway(program)
	if err != nil {
		return nil, err
	}
	defer g.stop()
	if l.worker {
		w, err := startWorker(g.worker)
		if err != nil {
			return nil, err
		}
		defer w.stop()
	}
	c := l.config
	c.Target, c.PIDs, c.Warmup = g.listen, []int{g.cmd.Process.Pid}, time.Second
	ctx, cancel := context.WithTimeout(ctx, c.Duration+time.Minute)
	defer cancel()
	r, err := bench.Run(ctx, c, bench.Observer{})
	if err == nil && r.Incomplete != "" {
		err = errors.New(r.Incomplete)
	}
	return r, err
}

// A program is a running process.
type program struct {
	cmd    *exec.Cmd
	listen string // of a gateway: where clients connect, tcp://...
	worker string // and workers, host:port
}

// stop ends the process and waits until it is gone.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(15*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Wait()
}

// startGateway runs a gateway on free ports and waits until it listens.
func startGateway(path string) (*program, error) {
	dir, err := os.MkdirTemp("", "versus-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ports := filepath.Join(dir, "ports.json")
	p := &program{cmd: exec.Command(path, "serve", "--dev", "--listen", "tcp://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0", "--admin", "none",
		"--log-level", "error", "--route", "bench.*=2", "--ports-file", ports)}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for range 1000 {
		var real struct {
			Listen []string `json:"listen"`
			Worker string   `json:"worker"`
		}
		if b, err := os.ReadFile(ports); err == nil && json.Unmarshal(b, &real) == nil && len(real.Listen) > 0 {
			p.listen = real.Listen[0]
			if u, err := url.Parse(real.Worker); err == nil {
				p.worker = u.Host
			}
			return p, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("%s does not listen", path)
}

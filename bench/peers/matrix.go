package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/report"
)

// A matrix is everything to measure.
type matrix struct {
	settings
	peers   map[string]*peer
	results *results
	work    string // directory for programs
	log     io.Writer
	clock   countdown
}

// measure runs all rows. Whatever was measured is in the results file, and after each row in tables and plots, even if it
// ends early.
func (m *matrix) measure(ctx context.Context, chosen []row) error {
	todo := m.results.plan(chosen, m.settings, m.present, m.sluiceVersion())
	m.clock.begin(todo)
	fmt.Fprintf(m.log, "%d runs, some %s\n", len(todo), minutes(m.clock.left()))
	last := ""
	for i, t := range todo {
		if t.row.Name != last {
			last = t.row.Name
			fmt.Fprintf(m.log, "%s: %s\n", t.row.Name, t.row.Title)
		}
		begun := time.Now()
		rec := m.steady(ctx, m.peers[t.peer], *t.row, t.point)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rec.Repeat = t.repeat
		m.clock.done(t, time.Since(begun))
		fmt.Fprintf(m.log, "  %s  [%d/%d, %s left]\n", rec.line(*t.row), i+1, len(todo), minutes(m.clock.left()))
		m.results.add(rec)
		if err := m.results.save(m.out); err != nil {
			return err
		}
		if i+1 == len(todo) || todo[i+1].row.Name != t.row.Name {
			if err := m.results.render(m.out); err != nil {
				return err
			}
		}
	}
	return nil
}

// present are the peers of a row that are here.
func (m *matrix) present(r row) (there []string) {
	for _, name := range r.Peers {
		if m.peers[name] != nil {
			there = append(there, name)
		}
	}
	return there
}

func (m *matrix) sluiceVersion() string {
	if p := m.peers[sluice]; p != nil {
		return p.version
	}
	return ""
}

// patience is how much longer than its window a run may take.
const patience = 2 * time.Minute

// standstills is how many runs a machine that stands still may spoil in a row.
const standstills = 5

// steady is once, done again when the machine stood still meanwhile.
func (m *matrix) steady(ctx context.Context, p *peer, r row, pt point) record {
	for n := 1; ; n++ {
		rec := m.once(ctx, p, r, pt)
		if rec.standstill == 0 || n == standstills || ctx.Err() != nil {
			return rec
		}
		fmt.Fprintf(m.log, "  %-10s stood still for %v: again\n", p.name, rec.standstill.Round(time.Millisecond))
	}
}

// once runs one peer at one point, in a process of its own.
func (m *matrix) once(ctx context.Context, p *peer, r row, pt point) record {
	rec := record{Row: r.Name, X: pt.X, Peer: p.name, Started: time.Now()}
	var err error
	if r.How == inProcess {
		err = m.fillMaps(ctx, &rec, pt)
	} else {
		err = m.load(ctx, &rec, p, r, pt)
	}
	if err != nil && rec.Failure == "" {
		rec.Failure = err.Error()
	}
	return rec
}

// load puts a load on a server.
func (m *matrix) load(ctx context.Context, rec *record, p *peer, r row, pt point) (err error) {
	// The server ends with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	debug.FreeOSMemory() // of the generator, so that every run begins alike
	at, env := place{loops: m.loops, flags: r.Flags}, []string(nil)
	if pt.Loops > 0 {
		at.loops = pt.Loops
	}
	if r.TLS {
		if at.tls, err = m.tlsPair(); err != nil {
			return err
		}
	}
	ports := []*int{&at.port}
	switch r.How {
	case attached:
		ports = append(ports, &at.worker)
	case objects:
		ports = append(ports, &at.admin)
		env = []string{"GODEBUG=memprofilerate=1"}
	}
	if err := freePorts(ports...); err != nil {
		return err
	}
	server, err := p.run(ctx, at, env...)
	if err != nil {
		return err
	}
	defer server.stop()
	rec.Command = strings.Join(append(env, server.cmd.Args...), " ")
	if r.How == attached {
		worker, err := m.attach(ctx, at.worker)
		if err != nil {
			return err
		}
		defer worker.stop()
	}
	c := pt.Config
	c.Target, c.Protocol, c.PIDs = at.scheme()+"://"+server.addr, p.protocol, []int{server.cmd.Process.Pid}
	if p.hoards && c.Rate == 0 {
		c.Drain = time.Nanosecond
	}
	if p.adjust != nil {
		p.adjust(&c)
	}
	var count *allocations
	var o bench.Observer
	if r.How == objects {
		count = &allocations{admin: fmt.Sprintf("http://127.0.0.1:%d", at.admin)}
		o.Phase = count.phase
	}
	ctx, cancel := context.WithTimeout(ctx, c.Warmup+c.Duration+patience)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go server.guard(m.rssLimit<<30, done)
	result, err := bench.Run(ctx, c, o)
	if fate := server.fate(); fate != "" {
		rec.Failure = fate
	} else if result != nil {
		rec.Failure = result.Incomplete
	}
	if result == nil {
		return err
	}
	rec.take(result)
	m.results.machine(r.Name, result.Machine)
	if count != nil {
		return count.fill(rec, result.InWindow.Delivered)
	}
	return nil
}

// attach starts a worker of the gateway that takes workers on a port.
func (m *matrix) attach(ctx context.Context, port int) (*process, error) {
	program, err := m.program(ctx, "echoworker")
	if err != nil {
		return nil, err
	}
	return startSaying(ctx, []string{
		program, "-gateway", fmt.Sprintf("127.0.0.1:%d", port), "-id", fmt.Sprint(workerID), "-route", workerRoute,
	}, "ready")
}

// fillMaps runs the program that has entries and no sockets.
func (m *matrix) fillMaps(ctx context.Context, rec *record, pt point) error {
	program, err := m.program(ctx, "entries")
	if err != nil {
		return err
	}
	c := pt.Config
	args := []string{
		"-n", fmt.Sprint(c.Connections), "-topics", fmt.Sprint(c.Topics), "-limit", c.Duration.String(), fmt.Sprintf("-sessions=%v", c.Resume),
	}
	rec.Command = "entries " + strings.Join(args, " ")
	text, err := output(ctx, "", program, args...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), &rec.Metrics)
}

// program builds one of the programs beside this one.
func (m *matrix) program(ctx context.Context, name string) (string, error) {
	path := filepath.Join(m.work, name)
	return path, buildGo(ctx, "", "./"+name, path)
}

// line is a run in a few words.
func (rec record) line(r row) string {
	s := fmt.Sprintf("%-10s %d", rec.Peer, rec.Repeat+1)
	if r.Axis != "" {
		s += fmt.Sprintf("  %s %s", report.Number(rec.X), r.Axis)
	}
	if pt, ok := r.at(rec.X); ok && pt.Label != "" {
		s += "  " + pt.Label
	}
	names := []string{"cpu", "rate", "p50", "p99", "rss", "conn", "lost", "closed"}
	if r.Columns != nil {
		names = r.Columns
	}
	for _, name := range names {
		v, ok := rec.Metrics[name]
		if !ok || v == 0 && (name == "lost" || name == "closed") || name == "conn" && r.Main != "conn" {
			continue
		}
		s += "  " + name + " " + show(name, v)
	}
	if rec.Failure != "" {
		s += "  FAILED: " + rec.Failure
	}
	return s
}

// at is the row's point at x.
func (r row) at(x float64) (point, bool) {
	for _, pt := range r.Points {
		if pt.X == x {
			return pt, true
		}
	}
	return point{}, false
}

package main

import (
	"context"
	"fmt"
	"io"
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
	log     io.Writer
}

// measure runs all rows. What was measured is in the results file even if it ends early.
func (m *matrix) measure(ctx context.Context, chosen []row) error {
	for _, r := range chosen {
		fmt.Fprintf(m.log, "%s: %s\n", r.Name, r.Title)
		m.results.Rows = append(m.results.Rows, r)
		for _, pt := range r.Points {
			if err := m.point(ctx, r, pt); err != nil {
				return err
			}
		}
	}
	return nil
}

// point runs all repeats of a point.
func (m *matrix) point(ctx context.Context, r row, pt point) error {
	var there []*peer
	for _, name := range r.Peers {
		if p := m.peers[name]; p != nil {
			there = append(there, p)
		}
	}
	for repeat := range m.repeat {
		for i := range there {
			p := there[(i+repeat)%len(there)]
			rec := m.once(ctx, p, r, pt)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			rec.Repeat = repeat
			fmt.Fprintf(m.log, "  %s\n", rec.line(r))
			m.results.Records = append(m.results.Records, rec)
			if err := m.results.save(m.out); err != nil {
				return err
			}
		}
	}
	return nil
}

// patience is how much longer than its window a run may take.
const patience = 2 * time.Minute

// once runs one peer at one point, in a process of its own.
func (m *matrix) once(ctx context.Context, p *peer, r row, pt point) record {
	rec := record{Row: r.Name, X: pt.X, Peer: p.name, Started: time.Now()}
	// The server ends with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	debug.FreeOSMemory() // of the generator, so that every run begins alike
	loops := m.loops
	if pt.Loops > 0 {
		loops = pt.Loops
	}
	server, err := p.run(ctx, loops)
	if err != nil {
		rec.Failure = err.Error()
		return rec
	}
	defer server.stop()
	rec.Command = strings.Join(server.cmd.Args, " ")
	c := pt.Config
	c.Target, c.Protocol, c.PIDs = "tcp://"+server.addr, p.protocol, []int{server.cmd.Process.Pid}
	if p.hoards && c.Rate == 0 {
		c.Drain = time.Nanosecond
	}
	ctx, cancel := context.WithTimeout(ctx, c.Warmup+c.Duration+patience)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go server.guard(m.rssLimit<<30, done)
	result, err := bench.Run(ctx, c, bench.Observer{})
	if err != nil {
		rec.Failure = err.Error()
	}
	if fate := server.fate(); fate != "" {
		rec.Failure = fate
	}
	if result != nil {
		rec.take(result)
		m.results.Machine = result.Machine
	}
	return rec
}

// line is a run in a few words.
func (rec record) line(r row) string {
	s := fmt.Sprintf("%-10s %d", rec.Peer, rec.Repeat+1)
	if r.Axis != "" {
		s += fmt.Sprintf("  %s %s", report.Number(rec.X), r.Axis)
	}
	for _, name := range []string{"cpu", "rate", "p50", "p99", "rss", "conn", "lost", "closed"} {
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

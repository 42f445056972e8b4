package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/bench/report"
)

// metricNames say what columns and plots show.
var metricNames = map[string]string{
	"cpu": "CPU", "rate": "rate", "conn": "memory per connection", "p50": "p50", "p99": "p99", "p99.9": "p99.9", "rss": "peak memory",
	"lost": "lost", "closed": "connections closed", "allocs": "objects allocated", "entry": "heap per entry", "pause99": "GC pauses, p99",
}

// show writes a metric in its unit.
func show(metric string, v float64) string {
	switch metric {
	case "cpu", "user", "system":
		return fmt.Sprintf("%.3g us", v/1000)
	case "p50", "p99", "p99.9", "max", "pause50", "pause99", "pausemax", "stop99", "gccpu":
		return report.Duration(int64(v))
	case "rss", "conn", "entry":
		return report.Bytes(int64(v))
	case "rate":
		return report.Short(v) + "/s"
	case "units", "objects":
		return report.Short(v)
	case "allocs":
		return fmt.Sprintf("%.2g", v)
	case "cores":
		return fmt.Sprintf("%.3f", v)
	case "generator":
		return fmt.Sprintf("%.0f%%", 100*v)
	}
	return report.Number(v)
}

func factor(v float64) string {
	if v < 0.1 {
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func ratioText(s spread) string {
	if s.n == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s - %s)", factor(s.median), factor(s.low), factor(s.high))
}

// spreads are metrics whose spread is worth its room in a table; of others the median will do.
var spreads = []string{"cpu", "rate", "p99", "conn", "entry", "allocs", "pause99"}

// cell is a median, perhaps with its spread.
func (r *results) cell(row row, x float64, peer, metric string) string {
	s := r.of(row.Name, x, peer, metric)
	switch {
	case s.n == 0:
		return "-"
	case !slices.Contains(spreads, metric):
		return show(metric, s.median)
	}
	return withSpread(metric, s)
}

// withSpread writes a median, the least and the greatest; their unit once if it is the same.
func withSpread(metric string, s spread) string {
	median, low, high := show(metric, s.median), show(metric, s.low), show(metric, s.high)
	if low == high {
		return median
	}
	if unit := unitOf(median); unit == unitOf(low) && unit == unitOf(high) {
		low, high = strings.TrimSuffix(low, unit), strings.TrimSuffix(high, unit)
	}
	return fmt.Sprintf("%s (%s - %s)", median, low, high)
}

// unitOf is what stands behind the number.
func unitOf(s string) string { return strings.TrimLeft(s, "0123456789.,e+-") }

// peersOf are the peers of a row that took part in it.
func (r *results) peersOf(row row) []string {
	return slices.DeleteFunc(slices.Clone(row.Peers), func(name string) bool {
		return !slices.ContainsFunc(r.Records, func(rec record) bool { return rec.Row == row.Name && rec.Peer == name })
	})
}

// comparison is a table with a line for each peer.
func (r *results) comparison(b *strings.Builder, row row) {
	x := row.Points[0].X
	columns := row.Columns
	if columns == nil {
		columns = []string{"cpu", "user", "system", "rate", "p50", "p99", "p99.9", "rss", "lost", "closed", "generator"}
	}
	fmt.Fprintf(b, "| server | sluice / it: %s |", metricNames[row.Main])
	if row.Main == "rate" {
		fmt.Fprintf(b, " sluice / it: CPU |")
	}
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", columnName(c, row))
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(columns)+1+btoi(row.Main == "rate")))
	for _, name := range r.peersOf(row) {
		ratio := func(metric string) string {
			if name == sluice {
				return ""
			}
			return ratioText(r.ratio(row.Name, x, name, metric))
		}
		fmt.Fprintf(b, "| %s | %s |", name, ratio(row.Main))
		if row.Main == "rate" {
			fmt.Fprintf(b, " %s |", ratio("cpu"))
		}
		for _, c := range columns {
			fmt.Fprintf(b, " %s |", r.cell(row, x, name, c))
		}
		fmt.Fprintln(b)
	}
	r.remarks(b, row)
}

// loads is a table with a line for each point, about sluice alone.
func (r *results) loads(b *strings.Builder, row row) {
	fmt.Fprintf(b, "| |")
	for _, c := range row.Columns {
		fmt.Fprintf(b, " %s |", columnName(c, row))
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(row.Columns)))
	for _, pt := range row.Points {
		fmt.Fprintf(b, "| %s |", pt.Label)
		for _, c := range row.Columns {
			fmt.Fprintf(b, " %s |", r.cell(row, pt.X, sluice, c))
		}
		fmt.Fprintln(b)
	}
	for _, pt := range row.Points {
		for _, rec := range slices.Backward(r.Records) { // the last run speaks for all
			if rec.Row == row.Name && rec.X == pt.X && rec.Failure == "" {
				if len(rec.Notes) > 0 {
					fmt.Fprintf(b, "\n%s, most of them: %s.\n", strings.ToUpper(pt.Label[:1])+pt.Label[1:], strings.Join(rec.Notes, "; "))
				}
				break
			}
		}
	}
	r.remarks(b, row)
}

// remarks say which runs do not count and which left something undelivered.
func (r *results) remarks(b *strings.Builder, row row) {
	for _, pt := range row.Points {
		for _, name := range r.peersOf(row) {
			who := name
			if row.Axis != "" {
				who = fmt.Sprintf("%s at %s %s", name, report.Number(pt.X), row.Axis)
			}
			if why := r.failures(row.Name, pt.X, name); len(why) > 0 {
				fmt.Fprintf(b, "\n%s: %d of %d runs do not count: %s.\n", who, len(why), row.repeats(), oneLine(why[0]))
			}
			if left, sent, n := r.undelivered(row.Name, pt.X, name); n > 0 {
				fmt.Fprintf(b, "\n%s: in %d of %d runs %.1f%% of all was not delivered when the run ended.\n", who, n, row.repeats(), 100*left/sent)
			}
		}
	}
}

// undelivered is how much of what was sent, in the runs that count, was still under way at the end, and in how many of them.
func (r *results) undelivered(row string, x float64, peer string) (left, sent float64, n int) {
	for _, rec := range r.Records {
		if rec.Row == row && rec.X == x && rec.Peer == peer && rec.Failure == "" && rec.Accounting.InFlight > 0 {
			left += float64(rec.Accounting.InFlight)
			sent += float64(rec.Accounting.Sent)
			n++
		}
	}
	return left, sent, n
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func columnName(metric string, row row) string {
	switch metric {
	case "cpu":
		return "CPU per " + row.Unit
	case "allocs":
		return "objects per " + row.Unit
	case "objects":
		return "objects"
	case "units":
		return "in so many"
	case "entry":
		return "heap per entry"
	case "pause50", "pause99":
		return "GC pauses, p" + metric[len("pause"):]
	case "pausemax":
		return "longest"
	case "stop99":
		return "until all have stopped, p99"
	case "cycles":
		return "collections"
	case "gccpu":
		return "CPU per collection"
	case "rss":
		return "peak memory"
	case "conn":
		return "memory per connection"
	case "cores":
		return "cores busy"
	case "generator":
		return "generator busy"
	}
	return metric
}

func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "/")
}

// growth is a table with a line for each point.
func (r *results) growth(b *strings.Builder, row row) {
	peers := r.peersOf(row)
	metrics := []string{row.Main, "p99"}
	if row.Main == "rate" {
		metrics = []string{"rate", "cpu"}
	}
	for _, metric := range metrics {
		fmt.Fprintf(b, "%s, by %s:\n\n| %s |", strings.ToUpper(metric[:1])+metric[1:], row.Axis, row.Axis)
		for _, name := range peers {
			fmt.Fprintf(b, " %s |", name)
		}
		fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(peers)))
		for _, pt := range row.Points {
			fmt.Fprintf(b, "| %s |", report.Number(pt.X))
			for _, name := range peers {
				fmt.Fprintf(b, " %s |", r.cell(row, pt.X, name, metric))
			}
			fmt.Fprintln(b)
		}
		fmt.Fprintln(b)
	}
	r.remarks(b, row)
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/bench/report"
)

// metricNames say what columns and plots show.
var metricNames = map[string]string{
	"cpu": "CPU", "rate": "rate", "conn": "memory per connection", "p99": "p99", "rss": "peak memory", "lost": "lost", "closed": "closed",
}

// show writes a metric in its unit.
func show(metric string, v float64) string {
	switch metric {
	case "cpu", "user", "system":
		return fmt.Sprintf("%.3g us", v/1000)
	case "p50", "p99", "p99.9", "max":
		return report.Duration(int64(v))
	case "rss", "conn":
		return report.Bytes(int64(v))
	case "rate":
		return report.Short(v) + "/s"
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

// cell is a median with its spread.
func (r *results) cell(row row, x float64, peer, metric string) string {
	s := r.of(row.Name, x, peer, metric)
	if s.n == 0 {
		return "-"
	}
	if s.n == 1 || s.low == s.high {
		return show(metric, s.median)
	}
	return fmt.Sprintf("%s (%s - %s)", show(metric, s.median), show(metric, s.low), show(metric, s.high))
}

func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Side by side\n\n")
	fmt.Fprintf(&b, "%s, %s to %s, `%s`.\n", r.Started.Format(time.DateOnly), r.Started.Format(time.TimeOnly), r.Ended.Format(time.TimeOnly), r.Command)
	fmt.Fprintf(&b, "Machine: %s, %d cores, %s of memory, Linux %s; generator: %s.\n", r.Machine.CPU, r.Machine.Cores, r.Memory, r.Machine.Kernel, r.Machine.Go)
	fmt.Fprintf(&b, "Servers and generator share the cores. Numbers are medians of %d repeats, in brackets least and greatest. CPU is that of the server's process.\n", r.Repeats)
	fmt.Fprintf(&b, "Ratios are sluice over the other, of the two runs of each repeat: below 1 sluice has less of it. A dash is what was not\nmeasured: percentiles where nothing that was due in the window arrived before its end.\n\n")
	fmt.Fprintf(&b, "| server | version | what | command |\n|---|---|---|---|\n")
	for _, p := range r.Peers {
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` |\n", p.Name, p.Version, p.About, p.Command)
	}
	for _, p := range r.Peers {
		if p.Config != "" {
			fmt.Fprintf(&b, "\nConfiguration of %s:\n\n```\n%s```\n", p.Name, p.Config)
		}
	}
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "\n## %s\n\n", row.Title)
		if row.Axis == "" {
			r.comparison(&b, row)
		} else {
			r.growth(&b, row)
		}
		if r.plot(row) != "" {
			fmt.Fprintf(&b, "\n![%s](%s)\n", row.Title, plotName(row))
		}
	}
	return b.String()
}

// peersOf are the peers of a row that took part in it.
func (r *results) peersOf(row row) []string {
	return slices.DeleteFunc(slices.Clone(row.Peers), func(name string) bool {
		return !slices.ContainsFunc(r.Records, func(rec record) bool { return rec.Row == row.Name && rec.Peer == name })
	})
}

// comparison is a table with a line for each peer.
func (r *results) comparison(b *strings.Builder, row row) {
	x := row.Points[0].X
	columns := []string{"cpu", "user", "system", "rate", "p50", "p99", "p99.9", "rss", "lost", "closed", "generator"}
	if row.Main == "conn" {
		columns = []string{"conn", "rss", "cores"}
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
	for _, name := range r.peersOf(row) {
		if why := r.failures(row.Name, x, name); len(why) > 0 {
			fmt.Fprintf(b, "\n%s: %d of %d runs do not count: %s.\n", name, len(why), r.Repeats, oneLine(why[0]))
		}
	}
	r.verdicts(b, row)
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

func (r *results) verdicts(b *strings.Builder, row row) {
	if len(row.Targets) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| target | found | |\n|---|---|---|\n")
	for _, t := range row.Targets {
		v, ok := r.judge(row, t)
		bound := "at most"
		if t.AtLeast {
			bound = "at least"
		}
		what, found, limit := "sluice's "+metricNames[t.Metric], "", show(t.Metric, t.Bound)
		if t.Against != "" {
			what, limit, found = fmt.Sprintf("%s, sluice / %s", metricNames[t.Metric], t.Against), factor(t.Bound), ratioText(v.got)
		} else if ok {
			found = fmt.Sprintf("%s (%s - %s)", show(t.Metric, v.got.median), show(t.Metric, v.got.low), show(t.Metric, v.got.high))
		}
		mark := "met"
		if !ok {
			found, mark = "not measured", ""
		} else if !v.met {
			mark = "**not met**"
		}
		fmt.Fprintf(b, "| %s: %s %s | %s | %s |\n", what, bound, limit, found, mark)
	}
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
	for _, name := range peers {
		for _, pt := range row.Points {
			if why := r.failures(row.Name, pt.X, name); len(why) > 0 {
				fmt.Fprintf(b, "%s at %s %s: %d of %d runs do not count: %s.\n\n", name, report.Number(pt.X), row.Axis, len(why), r.Repeats, oneLine(why[0]))
			}
		}
	}
}

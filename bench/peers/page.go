package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A section is a part of the page that can stand in another one, between the markers <!-- bench-peers:NAME --> and
// <!-- /bench-peers:NAME -->.
type section struct {
	name  string
	title string
	write func(r *results, b *strings.Builder, plots string)
}

var sections = []section{
	{"targets", "Targets", (*results).targets},
	{"behind", "Where sluice is behind", (*results).behind},
	{"rows", "Comparisons", func(r *results, b *strings.Builder, plots string) { r.chapters(b, plots, false) }},
	{"growth", "How cost grows", func(r *results, b *strings.Builder, plots string) { r.chapters(b, plots, true) }},
	{"setup", "Machine, versions, commands", (*results).setup},
}

// markdown is the page that holds everything.
func (r *results) markdown() string {
	var b strings.Builder
	b.WriteString("# Side by side\n")
	for _, s := range sections {
		if text := r.text(s, ""); text != "" {
			b.WriteString("\n" + text)
		}
	}
	return b.String()
}

// text is a section with its title, empty if there is nothing to say.
func (r *results) text(s section, plots string) string {
	var b strings.Builder
	if s.write(r, &b, plots); b.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("## %s\n\n%s\n", s.title, strings.TrimRight(b.String(), "\n"))
}

var errMarkers = errors.New("has no markers <!-- bench-peers:NAME --> and <!-- /bench-peers:NAME -->")

// publish puts the sections into the file that -into names, and the plots beside it.
func (r *results) publish(s settings) error {
	if s.into == "" {
		return nil
	}
	b, err := os.ReadFile(s.into)
	if err != nil {
		return err
	}
	text, found := string(b), false
	for _, part := range sections {
		begin, end := "<!-- bench-peers:"+part.name+" -->\n", "<!-- /bench-peers:"+part.name+" -->"
		head, rest, ok := strings.Cut(text, begin)
		_, tail, closed := strings.Cut(rest, end)
		if !ok || !closed {
			continue
		}
		if now := r.text(part, s.plots+"/"); now != "" {
			begin += "\n" + now + "\n"
		}
		text, found = head+begin+end+tail, true
	}
	if !found {
		return fmt.Errorf("%s %w", s.into, errMarkers)
	}
	if err := r.drawAll(filepath.Join(filepath.Dir(s.into), s.plots)); err != nil {
		return err
	}
	return os.WriteFile(s.into, []byte(text), 0o644)
}

// chapters are the tables and plots, of growth rows or of all others.
func (r *results) chapters(b *strings.Builder, plots string, growth bool) {
	for _, row := range r.Rows {
		if (row.Axis != "") != growth || len(r.peersOf(row)) == 0 {
			continue
		}
		fmt.Fprintf(b, "### %s\n\n%s\n\n", row.Title, row.About)
		switch {
		case row.Axis != "":
			r.growth(b, row)
		case row.How == inProcess || row.How == objects:
			r.loads(b, row)
		default:
			r.comparison(b, row)
		}
		if r.plot(row) != "" {
			fmt.Fprintf(b, "\n![%s](%s%s)\n", row.Title, plots, plotName(row))
		}
		fmt.Fprintln(b)
	}
}

// load is the row's title without what grows, which the axis says.
func (r row) load() string {
	if _, load, ok := strings.Cut(r.short(), ": "); ok {
		return load
	}
	return r.short()
}

// targets is the table that says at once where sluice stands.
func (r *results) targets(b *strings.Builder, _ string) {
	fmt.Fprintf(b, "| load | target | sluice | other | sluice / other | |\n|---|---|---|---|---|---|\n")
	for _, row := range r.Rows {
		for _, t := range row.Targets {
			v, ok := r.judge(row, t)
			if !ok {
				continue
			}
			bound, mark := "at most ", "met"
			if t.AtLeast {
				bound = "at least "
			}
			if !v.met {
				mark = "**not met**"
			}
			limit, own, other, ratio := show(t.Metric, t.Bound), withSpread(t.Metric, v.got), "", ""
			if t.Against != "" {
				x := row.Points[0].X
				limit = factor(t.Bound) + " x " + t.Against
				own, other = show(t.Metric, r.of(row.Name, x, sluice, t.Metric).median), show(t.Metric, r.of(row.Name, x, t.Against, t.Metric).median)
				ratio = ratioText(v.got)
			}
			fmt.Fprintf(b, "| %s | %s: %s%s | %s | %s | %s | %s |\n", row.short(), metricNames[t.Metric], bound, limit, own, other, ratio, mark)
		}
	}
}

// short is the row's title without what the targets make plain.
func (r row) short() string { return strings.TrimSuffix(r.Title, ", 100 B") }

// notable is how far a ratio has to be from 1 to be spoken of, in every repeat on the same side of it.
const notable = 1.05

// bounds are servers that do less than a gateway has to: the least memory is no merit of theirs.
var bounds = []string{sender, gnetecho, dev}

// behind lists what sluice does worse than another server, in the rows that are no growth.
func (r *results) behind(b *strings.Builder, _ string) {
	var lines []string
	for _, row := range r.Rows {
		if row.Axis != "" || row.How == attached {
			continue
		}
		x := row.Points[0].X
		for _, name := range r.peersOf(row) {
			var worse []string
			for _, metric := range []string{"cpu", "rate", "p50", "p99", "p99.9", "conn", "rss"} {
				switch {
				case name == sluice,
					metric == "rate" && row.Points[0].Config.Rate > 0, // it is the load's
					metric == "rss" && slices.Contains(bounds, name),
					metric == "conn" && row.Main != "conn":
					continue
				}
				s := r.ratio(row.Name, x, name, metric)
				behind := s.median > notable && s.low > 1
				if metric == "rate" {
					behind = s.median < 1/notable && s.high < 1
				}
				if s.n > 0 && behind {
					worse = append(worse, fmt.Sprintf("%s %s x (%s, %s)", metricNames[metric], factor(s.median),
						show(metric, r.of(row.Name, x, sluice, metric).median), show(metric, r.of(row.Name, x, name, metric).median)))
				}
			}
			if len(worse) > 0 {
				lines = append(lines, fmt.Sprintf("| %s | %s | %s |\n", row.short(), name, strings.Join(worse, "; ")))
			}
		}
	}
	if len(lines) == 0 {
		fmt.Fprintf(b, "Nowhere by more than %.0f%%.\n", 100*(notable-1))
		return
	}
	fmt.Fprintf(b, "More than %.0f%% behind, and in every repeat; sluice's number comes first.\n\n", 100*(notable-1))
	fmt.Fprintf(b, "| load | against | what |\n|---|---|---|\n%s", strings.Join(lines, ""))
}

// setup is how it was measured.
func (r *results) setup(b *strings.Builder, _ string) {
	var cpu []string
	for _, row := range r.Rows {
		if m := row.Measured; m != nil && m.Machine.Cores > 0 {
			text := fmt.Sprintf("%s, %d cores, Linux %s; generator and sluice built with %s", m.Machine.CPU, m.Machine.Cores, m.Machine.Kernel, m.Machine.Go)
			if !slices.Contains(cpu, text) {
				cpu = append(cpu, text)
			}
		}
	}
	fmt.Fprintf(b, "%s, %s of memory. Servers and generator share the cores, over loopback.\n\n", strings.Join(cpu, "; "), r.Memory)
	fmt.Fprintf(b, "Numbers are medians of the repeats, in brackets the least and the greatest. CPU is that of the server's process. Ratios are sluice over the\n")
	fmt.Fprintf(b, "other, of the two runs of each repeat: below 1 sluice has less of it. A dash is what was not measured: percentiles where nothing\n")
	fmt.Fprintf(b, "that was due in the window arrived before its end, or where a body of 16 bytes has no room for the time it was due.\n\n")
	fmt.Fprintf(b, "| row | measured | repeats | sluice |\n|---|---|---|---|\n")
	for _, row := range r.Rows {
		if m := row.Measured; m != nil && len(r.peersOf(row)) > 0 {
			fmt.Fprintf(b, "| %s | %s to %s | %d | %s |\n", row.Name, m.Started.Format(time.DateTime), m.Ended.Format(time.TimeOnly), row.repeats(), m.Sluice)
		}
	}
	fmt.Fprintf(b, "\n| server | version | what | command |\n|---|---|---|---|\n")
	for _, p := range r.Peers {
		fmt.Fprintf(b, "| %s | %s | %s | `%s` |\n", p.Name, p.Version, p.About, p.Command)
	}
	for _, p := range r.Peers {
		if p.Config != "" {
			fmt.Fprintf(b, "\nConfiguration of %s:\n\n```\n%s```\n", p.Name, p.Config)
		}
	}
	fmt.Fprintf(b, "\nCommands, in bench/peers:\n\n```\n")
	for _, c := range r.Commands {
		fmt.Fprintf(b, "go run . %s\n", strings.TrimSpace(strings.TrimPrefix(c, "peers")))
	}
	fmt.Fprintf(b, "```\n")
}

// repeats is how often a row was measured.
func (r row) repeats() int {
	if r.Measured == nil {
		return 0
	}
	return r.Measured.Repeats
}

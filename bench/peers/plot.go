package main

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/sluicenet/sluice/bench/report"
)

// Sizes in the units of the drawing.
const (
	plotWidth               = 720.0
	padLeft, padRight       = 90.0, 16.0
	padTop, padBottom       = 34.0, 40.0
	linesHeight             = 300.0
	barHeight, barGap       = 20.0, 12.0
	barValueRoom            = 130.0
	legendStep, legendWidth = 18.0, 100.0
)

// style follows the reader's system, light or dark; colours are told apart without red and green too.
const style = `<style>
:root { --ink: #1b2430; --soft: #8a94a3; --grid: #dfe4ea; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #8d97a6; --grid: #333c48; --paper: #161b22; } }
.paper { fill: var(--paper); } text { fill: var(--ink); font: 13px system-ui, sans-serif; } .tick { fill: var(--soft); font-size: 12px; }
.title { font-weight: 600; } .grid { stroke: var(--grid); fill: none; } .whisker { stroke: var(--ink); fill: none; stroke-width: 1.2; }
.line { fill: none; stroke-width: 2; }
</style>
`

var colours = map[string]string{
	sluice: "#1f77d0", sender: "#7f8896", gnetecho: "#7f8896", dev: "#7f8896", natsOld: "#e39a2d", natsNew: "#c2571a", mosquitto: "#9257c2",
}

// plot draws a row's main metric: bars for a comparison, lines for growth; empty if nothing was measured.
func (r *results) plot(row row) string {
	if row.How == inProcess || row.How == objects {
		return "" // nothing to compare with
	}
	if row.Axis == "" {
		return r.bars(row)
	}
	return r.lines(row)
}

func open(b *strings.Builder, height float64, title string) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-label="%s">`+"\n",
		plotWidth, height, plotWidth, height, html.EscapeString(title))
	b.WriteString(style)
	fmt.Fprintf(b, `<rect class="paper" width="%g" height="%g"/><text class="title" x="12" y="20">%s</text>`+"\n",
		plotWidth, height, html.EscapeString(title))
}

// bars has a bar for each peer's median, and a whisker from the least to the greatest.
func (r *results) bars(row row) string {
	type bar struct {
		name string
		s    spread
	}
	var all []bar
	top := 0.0
	for _, name := range r.peersOf(row) {
		if s := r.of(row.Name, row.Points[0].X, name, row.Main); s.n > 0 {
			all = append(all, bar{name, s})
			top = max(top, s.high)
		}
	}
	if len(all) == 0 || top <= 0 {
		return ""
	}
	var b strings.Builder
	title := fmt.Sprintf("%s: %s", metricTitle(row), row.short())
	open(&b, padTop+float64(len(all))*(barHeight+barGap)+10, title)
	px := func(v float64) float64 { return padLeft + (plotWidth-padLeft-padRight-barValueRoom)*v/top }
	for i, x := range all {
		y := padTop + float64(i)*(barHeight+barGap)
		mid := y + barHeight/2
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`, padLeft-8, mid+4.5, x.name)
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%g" fill="%s"/>`, padLeft, y, max(px(x.s.median)-padLeft, 1), barHeight, colours[x.name])
		fmt.Fprintf(&b, `<path class="whisker" d="M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8"/>`, px(x.s.low), mid, px(x.s.high), px(x.s.low), mid-4, px(x.s.high), mid-4)
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", px(x.s.high)+8, mid+4.5, html.EscapeString(show(row.Main, x.s.median)))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func metricTitle(row row) string {
	switch row.Main {
	case "cpu":
		return "Server CPU per " + row.Unit
	case "conn":
		return "Resident memory per connection"
	}
	return strings.ToUpper(row.Unit[:1]) + row.Unit[1:] + " rate"
}

// lines has a line for each peer over the row's axis, both scales logarithmic.
func (r *results) lines(row row) string {
	lowX, highX := row.Points[0].X, row.Points[len(row.Points)-1].X
	low, high := math.Inf(1), 0.0
	peers := r.peersOf(row)
	for _, name := range peers {
		for _, pt := range row.Points {
			if s := r.of(row.Name, pt.X, name, row.Main); s.n > 0 && s.low > 0 {
				low, high = min(low, s.low), max(high, s.high)
			}
		}
	}
	if high == 0 || highX <= lowX {
		return ""
	}
	low, high = low*0.8, high*1.25
	height := padTop + linesHeight + padBottom
	var b strings.Builder
	open(&b, height, fmt.Sprintf("%s: %s", metricTitle(row), row.load()))
	at := func(v, from, to float64) float64 { return math.Log(v/from) / math.Log(to/from) }
	right := plotWidth - padRight - legendWidth
	px := func(v float64) float64 { return padLeft + (right-padLeft)*at(v, lowX, highX) }
	py := func(v float64) float64 { return padTop + linesHeight*(1-at(v, low, high)) }
	for _, v := range ticks(low, high) {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
			padLeft, py(v), right, padLeft-8, py(v)+4, html.EscapeString(tick(row.Main, v)))
	}
	for _, pt := range row.Points {
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, px(pt.X), height-padBottom+18, report.Number(pt.X))
	}
	fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n", right, height-5, row.Axis)
	for i, name := range peers {
		colour := colours[name]
		path, step := "", "M"
		for _, pt := range row.Points {
			s := r.of(row.Name, pt.X, name, row.Main)
			if s.n == 0 || s.low <= 0 {
				step = "M"
				continue
			}
			path += fmt.Sprintf("%s%.1f %.1f", step, px(pt.X), py(s.median))
			step = "L"
			fmt.Fprintf(&b, `<path class="whisker" d="M%.1f %.1fV%.1f"/>`, px(pt.X), py(s.low), py(s.high))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>%s at %s: %s</title></circle>`,
				px(pt.X), py(s.median), colour, name, report.Number(pt.X), html.EscapeString(show(row.Main, s.median)))
		}
		fmt.Fprintf(&b, `<path class="line" stroke="%s" d="%s"/>`, colour, path)
		y := padTop + 10 + float64(i)*legendStep
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="14" height="4" fill="%s"/><text x="%.1f" y="%.1f">%s</text>`+"\n", right+14, y-6, colour, right+34, y, name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// tick writes a round number in the metric's unit.
func tick(metric string, v float64) string {
	if metric == "rate" {
		return report.Round(v) + "/s"
	}
	return show(metric, v)
}

// ticks are 1, 2 and 5 times powers of ten, or those powers only where there are many.
func ticks(low, high float64) (t []float64) {
	steps := []float64{1, 2, 5}
	if high/low > 300 {
		steps = steps[:1]
	}
	for e := math.Floor(math.Log10(low)); e <= math.Log10(high); e++ {
		for _, m := range steps {
			if v := m * math.Pow(10, e); v >= low && v <= high {
				t = append(t, v)
			}
		}
	}
	return t
}

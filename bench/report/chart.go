package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// A series is a line of a chart. NaN leaves a gap.
type series struct {
	name   string
	values []float64
}

// A chart is drawn as SVG whose colours come from the page's style sheet: line i has class "s<i>".
type chart struct {
	x       []float64 // of the values
	series  []series
	binary  bool // y counts bytes: round numbers are powers of two
	bars    bool // of the first series; value i reaches from x[i] to x[i+1]
	log     bool // y
	logX    bool
	area    bool                 // fills below the first line
	format  func(float64) string // of y
	formatX func(float64) string // of x
	marks   []mark               // vertical lines
	label   string               // for those who cannot see it
}

type mark struct {
	x    float64
	text string
}

// Sizes in the units of the drawing.
const (
	chartW, chartH           = 560.0, 220.0
	padL, padR, padT, padB   = 62.0, 12.0, 12.0, 28.0
	plotW, plotH             = chartW - padL - padR, chartH - padT - padB
	minLabelGap              = 54.0
	pointRadius, hoverRadius = 2.2, 9.0
)

type scale struct {
	lo, hi float64
	log    bool
	step   float64 // between ticks, unless log
}

func (s scale) at(v float64) float64 {
	if s.log {
		return (math.Log10(v) - math.Log10(s.lo)) / (math.Log10(s.hi) - math.Log10(s.lo))
	}
	return (v - s.lo) / (s.hi - s.lo)
}

// ticks are round numbers inside the scale.
func (s scale) ticks() []float64 {
	var t []float64
	if s.log {
		for e := math.Floor(math.Log10(s.lo)); e <= math.Ceil(math.Log10(s.hi)); e++ {
			steps := []float64{1}
			if s.hi/s.lo < 1000 {
				steps = []float64{1, 2, 5}
			}
			for _, m := range steps {
				if v := m * math.Pow(10, e); v >= s.lo*0.999 && v <= s.hi*1.001 {
					t = append(t, v)
				}
			}
		}
		return t
	}
	for k := math.Ceil(s.lo/s.step - 1e-9); k*s.step <= s.hi+s.step*1e-9; k++ {
		t = append(t, k*s.step+0) // + 0: no negative zero
	}
	return t
}

func niceStep(raw float64) float64 {
	if raw <= 0 {
		return 1
	}
	base := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if m*base >= raw {
			return m * base
		}
	}
	return 10 * base
}

func (c *chart) scales() (x, y scale, ok bool) {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, s := range c.series {
		for _, v := range s.values {
			if !math.IsNaN(v) && (!c.log || v > 0) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	if len(c.x) == 0 || hi < lo {
		return x, y, false
	}
	x = scale{lo: c.x[0], hi: c.x[len(c.x)-1], log: c.logX}
	if x.hi <= x.lo {
		x.hi = x.lo + 1
		if c.logX {
			x.hi = x.lo * 2
		}
	}
	if x.step = niceStep((x.hi - x.lo) / 8); x.step > 1 {
		x.step = math.Ceil(x.step) // seconds
	}
	if c.log {
		return x, scale{lo: lo * 0.8, hi: hi * 1.25, log: true}, true
	}
	step := niceStep(max(hi, 1e-12) / 5)
	if c.binary {
		step = math.Pow(2, math.Ceil(math.Log2(max(hi, 4)/5)))
	}
	return x, scale{hi: max(math.Ceil(hi/step)*step, step), step: step}, true
}

func (c *chart) svg() template.HTML {
	x, y, ok := c.scales()
	if !ok {
		return `<p class="none">nothing was measured</p>`
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartW, chartH, html.EscapeString(c.label))
	px := func(v float64) float64 { return padL + plotW*x.at(v) }
	py := func(v float64) float64 { return padT + plotH*(1-y.at(v)) }
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
			padL, py(v), chartW-padR, padL-8, py(v)+4, html.EscapeString(c.format(v)))
	}
	last := math.Inf(-1)
	for _, v := range x.ticks() {
		at := px(v)
		if at-last < minLabelGap {
			continue
		}
		last = at
		anchor := "middle"
		if at > chartW-padR-minLabelGap/4 { // it would reach beyond the edge
			at, anchor = chartW, "end"
		}
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, at, chartH-padB+18, anchor, html.EscapeString(c.formatX(v)))
	}
	fmt.Fprintf(&b, `<path class="axis" d="M%.1f %.1fH%.1f"/>`, padL, padT+plotH, chartW-padR)
	if c.bars {
		c.drawBars(&b, px, py)
	} else {
		for i, s := range c.series {
			c.drawLine(&b, i, s, px, py)
		}
		c.drawPoints(&b, px, py)
	}
	c.drawMarks(&b, x, px)
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func (c *chart) drawLine(b *strings.Builder, i int, s series, px, py func(float64) float64) {
	var path, fill strings.Builder
	up, from := false, 0.0
	for k, v := range s.values {
		if math.IsNaN(v) || c.log && v <= 0 {
			up = false
			continue
		}
		cmd := "L"
		if !up {
			cmd, from = "M", px(c.x[k])
		}
		up = true
		fmt.Fprintf(&path, "%s%.1f %.1f", cmd, px(c.x[k]), py(v))
	}
	if c.area && i == 0 && up {
		fmt.Fprintf(&fill, `<path class="area s%d" d="%sL%.1f %.1fL%.1f %.1fZ"/>`, i, path.String(),
			px(c.x[len(c.x)-1]), padT+plotH, from, padT+plotH)
	}
	b.WriteString(fill.String())
	fmt.Fprintf(b, `<path class="line s%d" d="%s"/>`, i, path.String())
}

// drawPoints makes dots that say their numbers when pointed at.
func (c *chart) drawPoints(b *strings.Builder, px, py func(float64) float64) {
	if len(c.x) > 400 {
		return
	}
	for i, s := range c.series {
		for k, v := range s.values {
			if math.IsNaN(v) || c.log && v <= 0 {
				continue
			}
			text := fmt.Sprintf("%s: %s at %s", s.name, c.format(v), c.formatX(c.x[k]))
			if len(c.x) <= 60 {
				fmt.Fprintf(b, `<circle class="dot s%d" cx="%.1f" cy="%.1f" r="%g"/>`, i, px(c.x[k]), py(v), pointRadius)
			}
			fmt.Fprintf(b, `<circle class="hover" cx="%.1f" cy="%.1f" r="%g"><title>%s</title></circle>`, px(c.x[k]), py(v), hoverRadius, html.EscapeString(text))
		}
	}
}

func (c *chart) drawBars(b *strings.Builder, px, py func(float64) float64) {
	for k := range len(c.x) - 1 {
		left, right := px(c.x[k]), px(c.x[k+1])
		v := c.series[0].values[k]
		if v <= 0 {
			continue
		}
		top := min(py(v), padT+plotH-1)
		fmt.Fprintf(b, `<rect class="bar s0" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s to %s: %s</title></rect>`,
			left+0.5, top, max(right-left-1, 0.5), padT+plotH-top, html.EscapeString(c.formatX(c.x[k])), html.EscapeString(c.formatX(c.x[k+1])), html.EscapeString(c.format(v)))
	}
}

func (c *chart) drawMarks(b *strings.Builder, x scale, px func(float64) float64) {
	last, row := math.Inf(-1), 0
	for _, m := range c.marks {
		if m.x < x.lo || m.x > x.hi {
			continue
		}
		at := px(m.x)
		if at-last < minLabelGap {
			row++
		} else {
			row = 0
		}
		last = at
		anchor, off := "start", 4.0
		if at > chartW-padR-60 {
			anchor, off = "end", -4
		}
		fmt.Fprintf(b, `<path class="mark" d="M%.1f %.1fV%.1f"/><text class="marktext" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`,
			at, padT, padT+plotH, at+off, padT+10+14*float64(row%4), anchor, html.EscapeString(m.text))
	}
}

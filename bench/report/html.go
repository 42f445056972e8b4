package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/latency"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{"number": Number}).Parse(pageText))

// HTML writes runs as one page that needs nothing else: plots are SVG, there is no script. It is
// light or dark as the reader's system is.
func HTML(w io.Writer, runs []*bench.Result, command string) error {
	p := pageData{Command: command}
	for i, r := range runs {
		p.Runs = append(p.Runs, newRunView(i, len(runs), r))
	}
	first := runs[0]
	p.Title = fmt.Sprintf("%s, %s", first.Scenario, first.Config.Protocol)
	p.Started = first.Started.Format(time.RFC1123)
	p.Machine = fmt.Sprintf("%s, %d cores, Linux %s, %s", first.Machine.CPU, first.Machine.Cores, first.Machine.Kernel, first.Machine.Go)
	if len(runs) > 1 {
		p.Repeats = repeats(runs)
	}
	return page.Execute(w, p)
}

type pageData struct {
	Title, Started, Machine, Command string
	Runs                             []runView
	Repeats                          []row
}

type runView struct {
	Name        string
	Open        bool
	Incomplete  string
	Tiles       []tile
	Checks      []bench.Check
	Plots       []plot
	Percentiles []row
	Accounts    []row
	Errors      []string
	Gateway     []row
	Agreements  []bench.Agreement
}

type tile struct{ Name, Value, Note, Class string }

type row struct{ Name, A, B string }

type plot struct {
	Title  string
	Note   string
	SVG    template.HTML
	Legend []string
}

func newRunView(i, of int, r *bench.Result) runView {
	v := runView{Open: i == 0, Incomplete: r.Incomplete, Checks: r.Checks, Errors: r.Errors, Agreements: r.Agreements}
	if of > 1 {
		v.Name = fmt.Sprintf("Run %d of %d", i+1, of)
	}
	v.Tiles = tiles(r)
	v.Plots = append(v.Plots, throughput(r), percentiles(r), histogram(r), tail(r))
	if r.Server.Watched {
		v.Plots = append(v.Plots, cpu(r), memory(r))
	}
	v.Percentiles = percentileRows(r)
	a := r.Accounting
	for _, x := range []struct {
		name string
		n    uint64
	}{
		{"sent", a.Sent}, {"= delivered", a.Delivered}, {"+ lost", a.Lost}, {"+ in flight", a.InFlight},
		{"due, never sent", a.Unsent}, {"late or repeated", a.Late}, {"refused", a.Refused}, {"mismatched", a.Mismatch},
		{"connections closed", a.Closed}, {"connections failed", a.Failed},
	} {
		v.Accounts = append(v.Accounts, row{Name: x.name, A: count(x.n)})
	}
	for _, name := range sortedKeys(r.Gateway) {
		v.Gateway = append(v.Gateway, row{Name: name, A: Number(r.Gateway[name])})
	}
	return v
}

func tiles(r *bench.Result) []tile {
	t := []tile{{Name: r.Unit + " per second", Value: Short(r.Rate), Note: Number(r.Rate)}}
	if r.Latency.Count > 0 {
		t = append(t,
			tile{Name: "latency p50", Value: Duration(r.Latency.P50), Note: "uncorrected " + Duration(r.Raw.P50)},
			tile{Name: "latency p99", Value: Duration(r.Latency.P99), Note: "uncorrected " + Duration(r.Raw.P99)})
	}
	lost := tile{Name: "lost", Value: count(r.Accounting.Lost), Note: "of " + count(r.Accounting.Sent)}
	if r.Accounting.Lost+r.Accounting.Late+r.Accounting.Closed > 0 || !r.Accounting.Balanced {
		lost.Class = "bad"
	}
	t = append(t, lost)
	if s := r.Server; s.Watched {
		if s.PerUnit > 0 {
			t = append(t, tile{Name: "gateway CPU per " + singular(r.Unit), Value: Duration(int64(s.PerUnit * 1000)),
				Note: fmt.Sprintf("user %.3f, system %.3f us", s.PerUnitUser, s.PerUnitSystem)})
		}
		memory := tile{Name: "gateway memory", Value: Bytes(s.PeakRSS), Note: "at its peak"}
		if s.PerConnection > 0 {
			memory.Note = Bytes(int64(s.PerConnection)) + " per connection"
		}
		t = append(t, memory)
	}
	return t
}

// seconds are the ends of the seconds, and of each what get says.
func seconds(r *bench.Result, get func(bench.Second) float64) (x, y []float64) {
	for _, s := range r.Seconds {
		x = append(x, s.At.Seconds())
		y = append(y, get(s))
	}
	return x, y
}

// onAxis is a latency without needless digits.
func onAxis(v float64) string { return short(Duration(int64(math.Round(v)))) }

// short takes trailing zeros off a number with a unit.
func short(s string) string {
	n, unit, _ := strings.Cut(s, " ")
	if strings.Contains(n, ".") {
		n = strings.TrimSuffix(strings.TrimRight(n, "0"), ".")
	}
	return n + " " + unit
}

func atSecond(v float64) string { return fmt.Sprintf("%g s", math.Round(v*100)/100) }

func throughput(r *bench.Result) plot {
	x, y := seconds(r, func(s bench.Second) float64 { return s.Rate })
	c := chart{x: x, series: []series{{r.Unit + "/s", y}}, area: true, format: Round, formatX: atSecond, label: "throughput over time"}
	return plot{Title: "Throughput", Note: r.Unit + " per second, each second of the run", SVG: c.svg()}
}

func percentiles(r *bench.Result) plot {
	c := chart{log: true, format: onAxis, formatX: atSecond, label: "latency percentiles over time"}
	p := plot{Title: "Latency over time", Note: "from when it was due; logarithmic"}
	for _, q := range []struct {
		name string
		get  func(latency.Distribution) int64
	}{
		{"p50", func(d latency.Distribution) int64 { return d.P50 }},
		{"p90", func(d latency.Distribution) int64 { return d.P90 }},
		{"p99", func(d latency.Distribution) int64 { return d.P99 }},
		{"p99.9", func(d latency.Distribution) int64 { return d.P999 }},
	} {
		x, y := seconds(r, func(s bench.Second) float64 {
			if s.Latency.Count == 0 {
				return math.NaN()
			}
			return float64(q.get(s.Latency))
		})
		c.x = x
		c.series = append(c.series, series{q.name, y})
		p.Legend = append(p.Legend, q.name)
	}
	p.SVG = c.svg()
	return p
}

// histogramBars is how many bars a power of ten gets.
const histogramBars = 20

func histogram(r *bench.Result) plot {
	p := plot{Title: "Latency distribution", Note: "share of all, by latency; time is logarithmic"}
	h, err := latency.Unpack(r.Latency.Histogram)
	if err != nil || h == nil {
		p.SVG = (&chart{}).svg()
		return p
	}
	lo := math.Floor(math.Log10(max(float64(h.Min()), 100)) * histogramBars)
	hi := math.Ceil(math.Log10(max(float64(h.Max()), 200))*histogramBars) + 1
	c := chart{bars: true, logX: true, label: "latency histogram",
		format:  func(v float64) string { return fmt.Sprintf("%.3g%%", v) },
		formatX: onAxis,
	}
	shares := make([]float64, int(hi-lo)+1)
	for i := range shares {
		c.x = append(c.x, math.Pow(10, (lo+float64(i))/histogramBars))
	}
	for _, bar := range h.Distribution() {
		if bar.Count > 0 {
			i := int(math.Log10(max(float64(bar.To), 1))*histogramBars - lo)
			shares[min(max(i, 0), len(shares)-1)] += 100 * float64(bar.Count) / float64(h.TotalCount())
		}
	}
	c.series = []series{{"share", shares}}
	for _, q := range []float64{50, 90, 99, 99.9} {
		c.marks = append(c.marks, mark{float64(h.ValueAtPercentile(q)), fmt.Sprintf("p%g", q)})
	}
	p.SVG = c.svg()
	return p
}

// tail shows the slow ones: percentiles as far as there are ten values beyond them.
func tail(r *bench.Result) plot {
	p := plot{Title: "Latency by percentile", Note: "from when it was due, and from when it left"}
	c := chart{log: true, logX: true, format: onAxis, label: "latency by percentile",
		formatX: func(v float64) string { return fmt.Sprintf("p%.6g", 100*(1-1/v)) }}
	due, err := latency.Unpack(r.Latency.Histogram)
	raw, err2 := latency.Unpack(r.Raw.Histogram)
	if err == nil && err2 == nil && due != nil && raw != nil {
		var a, b []float64
		for v := 1.0; v <= float64(due.TotalCount())/10 || v == 1; v *= math.Pow(10, 0.125) {
			c.x = append(c.x, v)
			q := 100 * (1 - 1/v)
			a, b = append(a, float64(due.ValueAtPercentile(q))), append(b, float64(raw.ValueAtPercentile(q)))
		}
		c.series = []series{{"due", a}}
		p.Legend = []string{"from when due"}
		if paced(r) {
			c.series = append(c.series, series{"sent", b})
			p.Legend = append(p.Legend, "from when sent")
		}
	}
	p.SVG = c.svg()
	return p
}

// paced reports whether the run had a schedule, without which there is nothing to be late for.
func paced(r *bench.Result) bool { return r.Config.Rate > 0 || r.Config.Stages != "" }

func cpu(r *bench.Result) plot {
	x, total := seconds(r, func(s bench.Second) float64 { return s.Server.Cores() })
	_, system := seconds(r, func(s bench.Second) float64 {
		return float64(s.Server.System) / math.Max(float64(s.Server.Span), 1)
	})
	c := chart{x: x, series: []series{{"all", total}, {"system", system}}, area: true, formatX: atSecond, label: "CPU of the gateway",
		format: func(v float64) string { return fmt.Sprintf("%.3g", v) }}
	return plot{Title: "Gateway CPU", Note: "cores", SVG: c.svg(), Legend: []string{"all", "system"}}
}

func memory(r *bench.Result) plot {
	x, y := seconds(r, func(s bench.Second) float64 { return float64(s.Server.RSS) })
	c := chart{x: x, series: []series{{"resident", y}}, area: true, binary: true, formatX: atSecond, label: "memory of the gateway",
		format: func(v float64) string { return short(Bytes(int64(v))) }}
	return plot{Title: "Gateway memory", Note: "resident", SVG: c.svg()}
}

func percentileRows(r *bench.Result) []row {
	if r.Latency.Count == 0 {
		return nil
	}
	var rows []row
	for _, m := range []string{"min", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"} {
		rows = append(rows, row{m, Duration(int64(r.Metric(m))), Duration(int64(r.Metric("raw." + m)))})
	}
	return rows
}

// repeats are the means of all runs.
func repeats(runs []*bench.Result) []row {
	f := &File{Runs: runs}
	var rows []row
	for _, m := range compared {
		v := values(f, m.metric)
		if i := Confidence(v); !math.IsNaN(i.Mean) && i.Mean != 0 {
			lo, hi := math.Inf(1), math.Inf(-1)
			for _, x := range v {
				lo, hi = min(lo, x), max(hi, x)
			}
			rows = append(rows, row{m.title, interval(i, m.metric), amount(lo, m.metric) + " to " + amount(hi, m.metric)})
		}
	}
	return rows
}

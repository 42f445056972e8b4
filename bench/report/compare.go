package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/bench/expect"
)

// compared is what Compare shows, with whether more of it is better.
var compared = []struct {
	metric string
	title  string
	better int // +1 more, -1 less
}{
	{"rate", "rate, 1/s", +1}, {"p50", "p50", -1}, {"p99", "p99", -1}, {"p99.9", "p99.9", -1}, {"max", "max", -1},
	{"lost", "lost", -1}, {"late", "late", -1}, {"cpu", "gateway CPU each", -1}, {"cores", "gateway cores", -1},
	{"rss", "gateway peak RSS", -1}, {"conn", "RSS per connection", -1},
}

// An Interval is the mean of repeats and how far the true mean may be from it, with 95% confidence.
type Interval struct {
	Mean, Half float64 // Half is +Inf for a single value
	N          int
}

// Confidence is the interval of values by Student's t. NaN values do not count.
func Confidence(values []float64) Interval {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	n := len(values)
	if n == 0 {
		return Interval{Mean: math.NaN(), Half: math.NaN()}
	}
	mean, variance := moments(values)
	if n == 1 {
		return Interval{mean, math.Inf(1), 1}
	}
	return Interval{mean, student(float64(n-1)) * math.Sqrt(variance/float64(n)), n}
}

// Difference is the interval of mean(b) - mean(a), by Welch: the spreads need not be equal.
func Difference(a, b []float64) Interval {
	a = slices.DeleteFunc(slices.Clone(a), math.IsNaN)
	b = slices.DeleteFunc(slices.Clone(b), math.IsNaN)
	if len(a) == 0 || len(b) == 0 {
		return Interval{Mean: math.NaN(), Half: math.NaN()}
	}
	ma, va := moments(a)
	mb, vb := moments(b)
	d := Interval{mb - ma, math.Inf(1), min(len(a), len(b))}
	if d.N < 2 {
		return d
	}
	ea, eb := va/float64(len(a)), vb/float64(len(b))
	if ea+eb == 0 {
		d.Half = 0
		return d
	}
	freedom := (ea + eb) * (ea + eb) / (ea*ea/float64(len(a)-1) + eb*eb/float64(len(b)-1))
	d.Half = student(freedom) * math.Sqrt(ea+eb)
	return d
}

// moments are the mean and the variance of a sample.
func moments(values []float64) (mean, variance float64) {
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	for _, v := range values {
		variance += (v - mean) * (v - mean)
	}
	if len(values) > 1 {
		variance /= float64(len(values) - 1)
	}
	return mean, variance
}

// student is the 97.5% quantile of Student's t: the table to 10 degrees of freedom, which may be
// fractions, then the expansion of Cornish and Fisher, exact to three digits there.
func student(freedom float64) float64 {
	table := []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228}
	if freedom < 10 {
		i := int(max(freedom, 1))
		part := max(freedom, 1) - float64(i)
		return table[i-1] + part*(table[i]-table[i-1])
	}
	const z = 1.959964
	z3, z5, z7 := math.Pow(z, 3), math.Pow(z, 5), math.Pow(z, 7)
	return z + (z3+z)/(4*freedom) + (5*z5+16*z3+3*z)/(96*freedom*freedom) +
		(3*z7+19*z5+17*z3-15*z)/(384*freedom*freedom*freedom)
}

// Compare writes how the runs of b differ from those of a. A difference whose interval holds 0 is
// called none.
func Compare(w io.Writer, a, b *File) error {
	x, y := a.Runs[0].Config, b.Runs[0].Config
	if x.Scenario != y.Scenario {
		return fmt.Errorf("%s cannot be compared with %s", x.Scenario, y.Scenario)
	}
	if d := differences(x, y); len(d) > 0 {
		fmt.Fprintf(w, "not the same run: %s\n", strings.Join(d, ", "))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\tA (n=%d)\tB (n=%d)\tB/A\tverdict, 95%%\n", len(a.Runs), len(b.Runs))
	for _, m := range compared {
		av, bv := values(a, m.metric), values(b, m.metric)
		ia, ib, d := Confidence(av), Confidence(bv), Difference(av, bv)
		if math.IsNaN(d.Mean) || ia.Mean == 0 && ib.Mean == 0 {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.title, interval(ia, m.metric), interval(ib, m.metric),
			ratio(ia.Mean, ib.Mean), verdict(d, m.better))
	}
	return t.Flush()
}

func values(f *File, metric string) []float64 {
	var v []float64
	for _, r := range f.Runs {
		v = append(v, r.Metric(metric))
	}
	return v
}

func interval(i Interval, metric string) string {
	s := amount(i.Mean, metric)
	if !math.IsInf(i.Half, 0) {
		s += " ± " + amount(i.Half, metric)
	}
	return s
}

func amount(v float64, metric string) string {
	switch k, _ := bench.MetricKind(metric); k {
	case expect.Duration:
		return Duration(int64(math.Round(v)))
	case expect.Bytes:
		return Bytes(int64(math.Round(v)))
	default:
		return Short(v)
	}
}

func ratio(a, b float64) string {
	if a == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", b/a)
}

func verdict(d Interval, better int) string {
	switch {
	case math.IsInf(d.Half, 0):
		return "one run is no evidence; use --repeat"
	case math.Abs(d.Mean) <= d.Half:
		return "no difference"
	case (d.Mean > 0) == (better > 0):
		return "B is better"
	default:
		return "B is worse"
	}
}

// differences names what was asked differently, where it matters.
func differences(a, b bench.Config) []string {
	var d []string
	diff := func(name string, x, y any) {
		if x != y {
			d = append(d, fmt.Sprintf("%s %v and %v", name, x, y))
		}
	}
	diff("protocol", a.Protocol, b.Protocol)
	diff("connections", a.Connections, b.Connections)
	diff("topics", a.Topics, b.Topics)
	diff("publishers", a.Publishers, b.Publishers)
	diff("size", a.Size, b.Size)
	diff("rate", a.Rate, b.Rate)
	diff("stages", a.Stages, b.Stages)
	diff("depth", a.Depth, b.Depth)
	diff("gzip", a.Gzip, b.Gzip)
	return d
}

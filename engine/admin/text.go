package admin

import (
	"math"
	"strconv"
	"strings"
)

// A kind is what a metric family is, in the words of the text format.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
	summary   kind = "summary"
)

// contentType names the exposition format that a page is in, version 0.0.4.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// A page is metrics in Prometheus' text format, as they are written. Families come whole, one
// behind the other; names and labels are the program's own, never a client's.
type page struct{ b []byte }

// family begins a family; its samples follow.
func (p *page) family(name string, k kind, help string) {
	p.b = append(p.b, "# HELP "...)
	p.b = append(p.b, name...)
	p.b = append(p.b, ' ')
	p.b = append(p.b, helpEscaper.Replace(help)...)
	p.b = append(p.b, "\n# TYPE "...)
	p.b = append(p.b, name...)
	p.b = append(p.b, ' ')
	p.b = append(p.b, k...)
	p.b = append(p.b, '\n')
}

var (
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// sample adds one line; labels are names and values in turn.
func (p *page) sample(name string, v float64, labels ...string) {
	p.b = append(p.b, name...)
	for i := 0; i+1 < len(labels); i += 2 {
		if i == 0 {
			p.b = append(p.b, '{')
		} else {
			p.b = append(p.b, ',')
		}
		p.b = append(p.b, labels[i]...)
		p.b = append(p.b, `="`...)
		p.b = append(p.b, labelEscaper.Replace(labels[i+1])...)
		p.b = append(p.b, '"')
	}
	if len(labels) > 0 {
		p.b = append(p.b, '}')
	}
	p.b = append(p.b, ' ')
	p.b = appendValue(p.b, v)
	p.b = append(p.b, '\n')
}

// appendValue writes whole numbers without an exponent, which people read more easily.
func appendValue(b []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// counter adds a family of one counter without labels.
func (p *page) counter(name, help string, v uint64) {
	p.family(name, counter, help)
	p.sample(name, float64(v))
}

// gauge adds a family of one gauge without labels.
func (p *page) gauge(name, help string, v float64) {
	p.family(name, gauge, help)
	p.sample(name, v)
}

// histogram adds a family of one histogram. counts has one element more than bounds.
func (p *page) histogram(name, help string, bounds []float64, counts []uint64, sum float64) {
	p.family(name, histogram, help)
	total := uint64(0)
	for i, n := range counts {
		bound := math.Inf(1)
		if i < len(bounds) {
			bound = bounds[i]
		}
		total += n
		p.sample(name+"_bucket", float64(total), "le", string(appendValue(nil, bound)))
	}
	p.sample(name+"_sum", sum)
	p.sample(name+"_count", float64(total))
}

package admin

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// A kind is what a metric family is, in the words of the text format.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
	summary   kind = "summary"
)

// A page takes the metrics of one scrape. Families come whole, one behind the other; names and
// labels are the program's own, never a client's. It is used for one scrape after the other: what
// was there at the last one has its place, and gets its new value there, so that a scrape leaves next to
// no garbage. Garbage has the collector go over all that is kept for connections.
type page struct {
	families map[string]*family
	list     []*family // by name
	scrape   uint64    // number of the present one
	open     *family   // the one that samples are added to
	room     []byte    // for files of the kernel's
}

// A family is one metric family and its series.
type family struct {
	dto.MetricFamily
	series []*dto.Metric // those of the present scrape first
	n      int           // of them
	scrape uint64        // the last one that it was in
}

func (p *page) begin() { p.scrape++ }

// family begins a family; its samples follow.
func (p *page) family(name string, k kind, help string) {
	f := p.families[name]
	switch {
	case f == nil:
		f = p.grow(name, k, help)
	case f.scrape == p.scrape:
		panic("admin: family " + name + " comes twice")
	}
	f.scrape, f.n = p.scrape, 0
	p.open = f
}

// grow adds a family that was in no scrape yet.
func (p *page) grow(name string, k kind, help string) *family {
	f := new(family)
	f.Name, f.Help = &name, &help
	f.Type = map[kind]*dto.MetricType{
		counter: dto.MetricType_COUNTER.Enum(), gauge: dto.MetricType_GAUGE.Enum(), histogram: dto.MetricType_HISTOGRAM.Enum(),
	}[k]
	if p.families == nil {
		p.families = make(map[string]*family)
	}
	p.families[name] = f
	at, _ := slices.BinarySearchFunc(p.list, name, func(f *family, name string) int { return strings.Compare(f.GetName(), name) })
	p.list = slices.Insert(p.list, at, f)
	return f
}

// place returns the next series of the family, which has these labels, names and values in turn. It is
// the one that had them at the last scrape, or a new one.
func (f *family) place(labels []string) *dto.Metric {
	i := f.n
	f.n++
	if i < len(f.series) && labelled(f.series[i], labels) {
		return f.series[i]
	}
	m := new(dto.Metric)
	for j := 0; j+1 < len(labels); j += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: new(labels[j]), Value: new(strings.ToValidUTF8(labels[j+1], "\uFFFD"))})
	}
	f.series = append(f.series[:i], m) // of those behind it none is where it belongs
	return m
}

func labelled(m *dto.Metric, labels []string) bool {
	if len(labels) != 2*len(m.Label) {
		return false
	}
	for i, l := range m.Label {
		if l.GetName() != labels[2*i] || l.GetValue() != labels[2*i+1] {
			return false
		}
	}
	return true
}

// sample adds one series to the family; labels are names and values in turn.
func (p *page) sample(v float64, labels ...string) {
	m := p.open.place(labels)
	switch {
	case p.open.GetType() == dto.MetricType_COUNTER && m.Counter == nil:
		m.Counter = &dto.Counter{Value: new(v)}
	case p.open.GetType() == dto.MetricType_COUNTER:
		*m.Counter.Value = v
	case m.Gauge == nil:
		m.Gauge = &dto.Gauge{Value: new(v)}
	default:
		*m.Gauge.Value = v
	}
}

// counter adds a family of one counter without labels.
func (p *page) counter(name, help string, v uint64) {
	p.family(name, counter, help)
	p.sample(float64(v))
}

// gauge adds a family of one gauge without labels.
func (p *page) gauge(name, help string, v float64) {
	p.family(name, gauge, help)
	p.sample(v)
}

// histogram adds a family of one histogram. counts has one element more than bounds, and bounds are the
// same each time.
func (p *page) histogram(name, help string, bounds []float64, counts []uint64, sum float64) {
	p.family(name, histogram, help)
	m := p.open.place(nil)
	if m.Histogram == nil {
		m.Histogram = &dto.Histogram{SampleCount: new(uint64(0)), SampleSum: new(0.0)}
		for _, bound := range bounds {
			m.Histogram.Bucket = append(m.Histogram.Bucket, &dto.Bucket{CumulativeCount: new(uint64(0)), UpperBound: new(bound)})
		}
	}
	total := uint64(0)
	for i, n := range counts {
		total += n
		if i < len(bounds) {
			*m.Histogram.Bucket[i].CumulativeCount = total
		}
	}
	*m.Histogram.SampleCount, *m.Histogram.SampleSum = total, sum
}

// end returns the families of the scrape in the order of their names. They are good until begin.
func (p *page) end(dst []*dto.MetricFamily) []*dto.MetricFamily {
	for _, f := range p.list {
		if f.scrape == p.scrape && f.n > 0 {
			f.Metric = f.series[:f.n]
			dst = append(dst, &f.MetricFamily)
		}
	}
	return dst
}

// A collector has a page filled in at each scrape. It implements prometheus.TransactionalGatherer.
type collector struct {
	fill  func(*page)
	more  prometheus.Gatherer // of families that are others'; nil: none
	pages sync.Pool           // of *page: two scrapes at a time have two
}

func newCollector(fill func(*page), more prometheus.Gatherer) *collector {
	return &collector{fill: fill, more: more, pages: sync.Pool{New: func() any { return new(page) }}}
}

// Gather implements prometheus.TransactionalGatherer.
func (c *collector) Gather() (families []*dto.MetricFamily, done func(), err error) {
	p := c.pages.Get().(*page)
	p.begin()
	c.fill(p)
	if c.more != nil {
		families, err = c.more.Gather()
	}
	families = p.end(families)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families, func() { c.pages.Put(p) }, err
}

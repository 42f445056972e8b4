package admin

import (
	"math"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
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
// labels are the program's own, never a client's.
type page struct {
	metrics    chan<- prometheus.Metric
	descs      *descs
	name, help string
	value      prometheus.ValueType
}

// family begins a family; its samples follow.
func (p *page) family(name string, k kind, help string) {
	p.name, p.help, p.value = name, help, prometheus.GaugeValue
	if k == counter {
		p.value = prometheus.CounterValue
	}
}

// sample adds one series to the family; labels are names and values in turn.
func (p *page) sample(v float64, labels ...string) {
	values := make([]string, 0, 2)
	for i := 1; i < len(labels); i += 2 {
		values = append(values, labels[i])
	}
	p.metrics <- prometheus.MustNewConstMetric(p.descs.of(p.name, p.help, labels), p.value, v, values...)
}

// descs are the descriptions of families, which are the same at each scrape.
type descs struct {
	mu sync.Mutex
	m  map[[3]string]*prometheus.Desc
}

// of returns the description of a family; labels are as of sample, two of them at most.
func (d *descs) of(name, help string, labels []string) *prometheus.Desc {
	key := [3]string{name}
	n := 0
	for i := 0; i < len(labels); i += 2 {
		n++
		key[n] = labels[i]
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	desc := d.m[key]
	if desc == nil {
		desc = prometheus.NewDesc(name, help, key[1:n+1], nil)
		if d.m == nil {
			d.m = make(map[[3]string]*prometheus.Desc)
		}
		d.m[key] = desc
	}
	return desc
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

// histogram adds a family of one histogram. counts has one element more than bounds.
func (p *page) histogram(name, help string, bounds []float64, counts []uint64, sum float64) {
	buckets, total := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, n := range counts {
		total += n
		bound := math.Inf(1)
		if i < len(bounds) {
			bound = bounds[i]
		}
		buckets[bound] = total
	}
	p.metrics <- prometheus.MustNewConstHistogram(p.descs.of(name, help, nil), total, sum, buckets)
}

// A collector fills in a page at each scrape.
type collector struct {
	fill  func(*page)
	descs *descs
}

func newCollector(fill func(*page)) collector { return collector{fill, new(descs)} }

// Describe implements prometheus.Collector. It says nothing: the families are checked as they come.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	c.fill(&page{metrics: metrics, descs: c.descs})
}

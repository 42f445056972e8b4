package admin

import (
	"math"

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
	names, values := make([]string, 0, 2), make([]string, 0, 2)
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	p.metrics <- prometheus.MustNewConstMetric(prometheus.NewDesc(p.name, p.help, names, nil), p.value, v, values...)
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
	p.metrics <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name, help, nil, nil), total, sum, buckets)
}

// A collector is a function that fills in a page at each scrape.
type collector func(*page)

// Describe implements prometheus.Collector. It says nothing: the families are checked as they come.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) { c(&page{metrics: metrics}) }

//go:build !linux

package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

func collectProcess(*page) {}

// processCollector collects what is known of the process.
func processCollector() []prometheus.Collector {
	return []prometheus.Collector{collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
}

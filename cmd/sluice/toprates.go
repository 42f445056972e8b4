package main

import (
	"slices"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// topRates are differences between counters, and what they were in the last minutes.
type topRates struct {
	base, now topStats
	history   []topSample // newest last
}

// A topSample is what the lines at the right of the screen are drawn of.
type topSample struct{ connections, deliveries, sent, requests, memory, lag float64 }

// topHistory is how many samples are kept.
const topHistory = 300

// take takes counters that have come. Over less than half a second a rate says little: then the one
// before stays.
func (r *topRates) take(s *topStats) {
	seconds := s.UptimeSeconds - r.now.UptimeSeconds
	switch {
	case r.now.UptimeSeconds == 0, seconds < 0: // the first, or another gateway
		*r = topRates{base: *s, now: *s}
		return
	case seconds < .5:
		return
	}
	r.base, r.now = r.now, *s
	var lag float64
	for _, l := range s.Loops {
		lag = max(lag, l.LagSeconds)
	}
	r.history = append(r.history, topSample{
		connections: float64(s.Connections.Now), memory: float64(s.Memory.System), lag: lag,
		deliveries: r.per(func(s *topStats) uint64 { return s.Messages.Deliveries }),
		sent:       r.per(func(s *topStats) uint64 { return s.Messages.SentBytes }),
		requests:   r.per(func(s *topStats) uint64 { return s.Requests.All }),
	})
	if len(r.history) > topHistory {
		r.history = slices.Delete(r.history, 0, len(r.history)-topHistory)
	}
}

// per returns by how much a counter grows each second.
func (r *topRates) per(of func(*topStats) uint64) float64 {
	seconds := r.now.UptimeSeconds - r.base.UptimeSeconds
	if seconds <= 0 {
		return 0
	}
	return max(float64(of(&r.now))-float64(of(&r.base)), 0) / seconds
}

func (r *topRates) rate(of func(*topStats) uint64) string { return table.Rate(r.per(of)) + "/s" }

func (r *topRates) size(of func(*topStats) uint64) string {
	return table.Bytes(uint64(r.per(of))) + "/s"
}

package admin

import "github.com/sluicenet/sluice/engine"

func (s *Server) collectHistory(p *page, e *engine.Stats) {
	h := s.engine.History().Stats()
	p.gauge("sluice_history_topics", "Topics that have history, with those that keep nothing for now.", float64(h.Topics))
	p.gauge("sluice_history_messages", "Messages that topics keep.", float64(h.Messages))
	p.counter("sluice_history_appended_total", "Messages published to topics that have history.", h.Appended)
	p.family("sluice_history_dropped_total", counter, "Messages that topics keep no more, or never did, by what was used up.")
	p.sample(float64(h.Over), "reason", "count")
	p.sample(float64(h.Aged), "reason", "age")
	p.sample(float64(h.Evicted), "reason", "total")
	p.sample(float64(h.Trimmed), "reason", "memory")
	p.sample(float64(h.Large), "reason", "too-large")
	p.counter("sluice_history_replayed_total", "Messages that subscribers got from a topic's history.", e.Replayed)
	p.counter("sluice_history_gaps_total", "Times that messages were gone for good which a subscriber lacked.", e.Gaps)
}

package admin

import "github.com/sluicenet/sluice/engine/internal/cluster"

func collectNames(p *page, s *cluster.NameStats) {
	away := 0.0
	if s.Away > 0 {
		away = 1
	}
	p.gauge("sluice_cluster_names_away", "Whether users, uniqIds and limits are kept apart on this gateway alone, since the bucket of names cannot be used.", away)
	p.counter("sluice_cluster_names_aways_total", "Times that this was so.", s.Times)
	p.gauge("sluice_cluster_names", "Users and chosen uniqIds that are kept apart over the gateways and have connections here.", float64(s.Keys))
	p.gauge("sluice_cluster_names_queued", "Those of them that may differ from the bucket of names, and will be made the same.", float64(s.Queued))
	p.gauge("sluice_cluster_names_ends_queued", "Connections that another gateway is to end, and has not said that it has.", float64(s.EndsQueued))
	p.family("sluice_cluster_names_logins_total", counter, "Logins and choices of a uniqId that were decided over the gateways, and by this one alone (local).")
	p.sample(float64(s.Logins-min(s.Local, s.Logins)), "scope", "cluster")
	p.sample(float64(s.Local), "scope", "local")
	p.family("sluice_cluster_names_ended_total", counter, "Connections that ended here for one of another gateway: of a user who has logged in there (kicked-out), and those whose uniqId was given to it (lost).")
	p.sample(float64(s.Kicked), "reason", "kicked-out")
	p.sample(float64(s.Lost), "reason", "lost")
	p.counter("sluice_cluster_names_over_limit_total", "Logins that were refused because the user has as many connections as allowed, over all gateways.", s.OverLimit)
	p.counter("sluice_cluster_names_tokens_total", "One-time tokens of other gateways that were shown here.", s.Redeemed)
	p.family("sluice_cluster_names_trouble_total", counter, "What went wrong with the bucket of names and the other gateways: writes that came second and were tried again (conflict), errors of the bucket (error), what could not be read (foreign), entries of connections that were not there any more (stale), ends that were not confirmed in time (unanswered), or not at all (given-up), and connections that were left in the bucket (left).")
	for _, v := range []struct {
		reason string
		n      uint64
	}{
		{"conflict", s.Conflicts}, {"error", s.Errors}, {"foreign", s.Foreign}, {"stale", s.Stale}, {"emptied", s.Emptied},
		{"unanswered", s.Unanswered}, {"given-up", s.EndsDropped}, {"left", s.ReleasesDropped},
	} {
		p.sample(float64(v.n), "reason", v.reason)
	}
}

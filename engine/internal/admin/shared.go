package admin

import (
	"maps"
	"slices"

	"github.com/sluicenet/sluice/engine/internal/cluster"
)

func collectShared(p *page, s *cluster.SessionStats) {
	p.gauge("sluice_cluster_sessions", "Sessions of this gateway that can be resumed on others.", float64(s.Shared))
	p.gauge("sluice_cluster_sessions_queued", "Those of them that wait to be written.", float64(s.Waiting))
	p.family("sluice_cluster_sessions_moved_total", counter, "Sessions that were taken over from another gateway (taken), from one that did not answer (silent, among taken), given up to another (given), and found to be another's (lost).")
	p.sample(float64(s.Taken), "how", "taken")
	p.sample(float64(s.Silent), "how", "silent")
	p.sample(float64(s.Given), "how", "given")
	p.sample(float64(s.Lost), "how", "lost")
	p.family("sluice_cluster_sessions_refused_total", counter, "Tickets that were refused because no session was to be had for them from elsewhere: there is none or the ticket is spent (unknown), another gateway was faster (rival), NATS is away or has failed, or too many waited (busy).")
	for _, reason := range slices.Sorted(maps.Keys(s.Refused)) {
		p.sample(float64(s.Refused[reason]), "reason", reason)
	}
	p.family("sluice_cluster_sessions_writes_total", counter, "Writes of sessions: those that succeeded (written), failed and are tried again (failed), and were put off since too many waited (over).")
	p.sample(float64(s.Written), "result", "written")
	p.sample(float64(s.Failed), "result", "failed")
	p.sample(float64(s.Over), "result", "over")
	p.family("sluice_cluster_sessions_trouble_total", counter, "Sessions that were ended on another gateway (ended), requests for one that were refused (kept), what could not be read (foreign), and those with too many places in histories, which were not written (marks).")
	p.sample(float64(s.Ended), "reason", "ended")
	p.sample(float64(s.Kept), "reason", "kept")
	p.sample(float64(s.Foreign), "reason", "foreign")
	p.sample(float64(s.Emptied), "reason", "emptied")
	p.sample(float64(s.MarksCut), "reason", "marks")
	p.gauge("sluice_cluster_sessions_behind", "Sessions that are written with their own places in histories, since their clients lack something.", float64(s.Behind))
	p.family("sluice_cluster_checkpoints_total", counter, "Checkpoints, from which clients go on elsewhere when this gateway dies: those that were written, and those that were not, since loops or NATS did not answer or too many clients were behind (late).")
	p.sample(float64(s.Points), "result", "written")
	p.sample(float64(s.PointsLate), "result", "late")
	p.gauge("sluice_cluster_checkpoint_age_seconds", "Time since the last checkpoint; 0: there is none.", s.PointAge.Seconds())
}

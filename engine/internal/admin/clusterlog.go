package admin

import "github.com/sluicenet/sluice/engine/internal/cluster"

// collectLog tells of the log of topics with history, which all gateways share.
func collectLog(p *page, h *cluster.HistoryStats, differ int) {
	reachable := 0.0
	if h.Reachable {
		reachable = 1
	}
	p.gauge("sluice_cluster_history_reachable", "Whether messages to topics with history can be published: their log is there.", reachable)
	p.gauge("sluice_cluster_history_rules_differ", "Other gateways whose rules of history are not this one's.", float64(differ))
	p.gauge("sluice_cluster_history_topics", "Topics with history that have subscribers here, or had some a moment ago.", float64(h.Topics))
	p.gauge("sluice_cluster_history_queue_bytes", "Bytes of messages that the log has not confirmed yet.", float64(h.Queue))
	p.gauge("sluice_cluster_history_log_frames", "Frames in the log, when it was last asked.", float64(h.Frames))
	p.gauge("sluice_cluster_history_log_wrong", "Settings of the log's stream that are not as they have to be, or keep less than this gateway's rules want.", float64(h.Wrong))
	p.gauge("sluice_cluster_history_log_other", "Settings of the log's stream that are not as this gateway would make it, and may be so.", float64(h.Other))
	p.counter("sluice_cluster_history_log_mended_total", "Times that this gateway has changed the log's stream to what it has to be.", h.Mended)
	p.counter("sluice_cluster_history_appends_total", "Frames from here that the log has confirmed.", h.Appends)
	p.counter("sluice_cluster_history_appended_total", "Messages in them.", h.Appended)
	p.counter("sluice_cluster_history_bytes_total", "Bytes of them.", h.Bytes)
	p.counter("sluice_cluster_history_again_total", "Times that a frame was sent to the log again, not having been confirmed.", h.Again)
	p.counter("sluice_cluster_history_twice_total", "Frames that the log had already then, and has taken once.", h.Twice)
	p.family("sluice_cluster_history_refused_total", counter, "Messages that their publishers were told are not in the log: not confirmed in time (late: they may get there yet), too many waited (full), longer than NATS takes (too-long), or refused by it.")
	p.sample(float64(h.Late), "reason", "late")
	p.sample(float64(h.Full), "reason", "full")
	p.sample(float64(h.TooLong), "reason", "too-long")
	p.sample(float64(h.Refused), "reason", "refused")
	p.counter("sluice_cluster_history_frames_total", "Frames that have come from the log.", h.Heard)
	p.counter("sluice_cluster_history_messages_total", "Messages of the log that were passed on to subscribers here.", h.Messages)
	p.counter("sluice_cluster_history_repeated_total", "Frames that had come before.", h.Repeated)
	p.counter("sluice_cluster_history_unfit_total", "Frames in the log that are none of a gateway's.", h.Unfit)
	p.counter("sluice_cluster_history_holes_total", "Times that frames had not come, and were read.", h.Holes+h.Found)
	p.counter("sluice_cluster_history_reads_total", "Reads of the log.", h.Reads)
	p.counter("sluice_cluster_history_read_bytes_total", "Bytes that were read.", h.ReadBytes)
	p.counter("sluice_cluster_history_read_failures_total", "Reads that have failed, and were tried again.", h.Failures)
	p.counter("sluice_cluster_history_gaps_total", "Times that a topic's subscribers were told of a gap, since what had not come is gone from the log.", h.Lost)
	p.counter("sluice_cluster_history_logs_total", "Times that the log was another one.", h.Epochs)
	p.counter("sluice_cluster_history_timeouts_total", "Times that subscriptions were answered before the log had.", h.Timeouts)
	p.counter("sluice_cluster_history_plain_total", "Messages of topics with history that came without, from a gateway with other rules.", h.Plain)
}

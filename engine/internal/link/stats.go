package link

import (
	"sync/atomic"
)

// hubStats are counters of what passes between the gateway and its workers.
type hubStats struct {
	commands    atomic.Uint64
	malformed   atomic.Uint64
	unknown     atomic.Uint64
	noWorker    atomic.Uint64
	queueFull   atomic.Uint64
	limited     atomic.Uint64
	replies     atomic.Uint64
	lostReplies atomic.Uint64
	writeDrops  atomic.Uint64
	moved       atomic.Uint64
	delayedFull atomic.Uint64
	refused     atomic.Uint64
	acceptRetry atomic.Uint64
	panics      atomic.Uint64
	unencoded   atomic.Uint64
	badPush     atomic.Uint64
	badBulk     atomic.Uint64
	holds       atomic.Uint64
}

// Stats are a Hub's counters since it started.
type Stats struct {
	Links, Registered int    // now
	Commands          uint64 // frames from workers
	Malformed         uint64 // that could not be decoded
	Unknown           uint64 // that ended their link
	Transfers         uint64 // messages, requests and events that links' writers have taken
	NoWorker          uint64 // not queued: nobody is attached
	QueueFull         uint64 // not queued: the worker's queue is full, or the client's share of it
	Limited           uint64 // not queued: over a rate limit
	Replies           uint64
	LostRequests      uint64 // answered with an error because their worker was lost
	Moved             uint64 // of the transfers, to another link: their worker has stopped or left
	WriteDropped      uint64 // bytes dropped because a worker took nothing in time
	DelayedFull       uint64 // delayed messages refused: too many bytes of them wait
	Refused           uint64 // connections of workers refused: too many links
	AcceptRetry       uint64 // accept errors that passed, such as too many open files
	Panics            uint64 // commands that panicked, or ended their goroutine; each ended its link
	Unencoded         uint64 // queries not answered: the answer cannot be expressed
	BadPush           uint64 // pushes refused: no push can have their command
	BadBulk           uint64 // bulk commands refused: nobody knows which of their data is whose
	Holds             uint64 // times that a link was not read for a while: it sent more than it may

	Ended map[string]uint64 // links that ended, by reason

	Unproven       int               // now: connections that have not shown their token
	UnprovenClosed map[string]uint64 // those that ended before they had, by reason
}

// Stats returns the counters.
func (h *Hub) Stats() Stats {
	s := Stats{
		Commands: h.stats.commands.Load(), Malformed: h.stats.malformed.Load(), Unknown: h.stats.unknown.Load(),
		Transfers: uint64(h.metrics.counts[metricFrames].Load()), NoWorker: h.stats.noWorker.Load(), QueueFull: h.stats.queueFull.Load(),
		Limited: h.stats.limited.Load(), Replies: h.stats.replies.Load(), LostRequests: h.stats.lostReplies.Load(),
		Moved: h.stats.moved.Load(), WriteDropped: h.stats.writeDrops.Load(), DelayedFull: h.stats.delayedFull.Load(),
		Refused: h.stats.refused.Load(), Panics: h.stats.panics.Load(), Unencoded: h.stats.unencoded.Load(), BadPush: h.stats.badPush.Load(),
		BadBulk:     h.stats.badBulk.Load(),
		Holds:       h.stats.holds.Load(),
		AcceptRetry: h.stats.acceptRetry.Load(),
		Ended:       h.ended.snapshot(), UnprovenClosed: h.refusals.snapshot(),
	}
	h.mu.Lock()
	s.Links, s.Unproven = len(h.links), len(h.unproven)
	h.mu.Unlock()
	for i := range h.groups {
		if p := h.groups[i].links.Load(); p != nil {
			s.Registered += len(*p)
		}
	}
	return s
}

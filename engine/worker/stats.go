package worker

import "sync/atomic"

// Stats counts what a Worker has done since it was made.
type Stats struct {
	Requests, Messages, Opens, Closes uint64 // taken up, whatever became of them

	Skipped   uint64 // requests too late to be answered, or whose link was lost meanwhile
	Failed    uint64 // requests whose handler returned an error other than a StatusError
	Panics    uint64 // of handlers
	Unsent    uint64 // replies whose link was lost, or had no room until Run returned
	Refused   uint64 // events that arrived when the worker had stopped
	Malformed uint64 // frames that could not be read
	Lost      uint64 // times that a link broke which had been up
}

type stats struct {
	requests, messages, opens, closes                          atomic.Uint64
	skipped, failed, panics, unsent, refused, malformed, links atomic.Uint64
}

// Stats returns the counters as they are. Any goroutine may call it.
func (w *Worker) Stats() Stats {
	s := &w.stats
	return Stats{
		Requests: s.requests.Load(), Messages: s.messages.Load(), Opens: s.opens.Load(), Closes: s.closes.Load(),
		Skipped: s.skipped.Load(), Failed: s.failed.Load(), Panics: s.panics.Load(), Unsent: s.unsent.Load(),
		Refused: s.refused.Load(), Malformed: s.malformed.Load(), Lost: s.links.Load(),
	}
}

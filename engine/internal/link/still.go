package link

import (
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// stillAfter is how long a worker may leave its link as it is, bytes untaken or a request unanswered,
// before others of its worker id get its share. It is half of what a client may notice: a request
// looks at it, and the next comes within moments where it matters.
const stillAfter = 500 * time.Millisecond

// progress is what a link knows of its worker's pace. Times are in ns since the Hub was made; 0: none.
type progress struct {
	heard   atomic.Int64 // the last bytes from the worker
	asked   atomic.Int64 // the first request, or probe, queued since then
	told    atomic.Bool  // something that wants no answer was queued since then
	writing atomic.Int64 // the write began that is under way
	paused  atomic.Bool  // it is not read, whatever it says: see pause
}

// now is the Hub's clock for progress.
func (h *Hub) now() int64 { return max(int64(time.Since(h.metrics.since)), 1) }

// noteAsked notes that the worker owes an answer.
func (l *link) noteAsked() {
	if l.progress.asked.Load() == 0 {
		l.progress.asked.CompareAndSwap(0, l.hub.now())
	}
}

// noteHeard notes that bytes have come.
func (l *link) noteHeard() {
	l.progress.heard.Store(l.hub.now())
	l.progress.asked.Store(0)
	l.progress.told.Store(false)
}

// probeAfter is how long a worker may say nothing to what wants no answer before it is probed.
const probeAfter = 100 * time.Millisecond

// probe asks a worker for a sign of life that was told something and has said nothing since. One that
// is asked anyway needs none.
func (l *link) probe() {
	p := &l.progress
	if l.answersProbes && p.told.Load() && p.asked.Load() == 0 && l.hub.now()-p.heard.Load() > int64(probeAfter) {
		if l.send(netsvr.CmdProbe, false, func(dst []byte) []byte { return dst }) {
			l.noteAsked()
		}
	}
}

// standsStill reports whether the worker, as one that was stopped, takes no bytes, or has said nothing
// since it was asked while another of list has. It gets its share back with the first bytes.
func (l *link) standsStill(list []*link) bool {
	asked, writing := l.progress.asked.Load(), l.progress.writing.Load()
	if asked == 0 && writing == 0 {
		return false
	}
	now := l.hub.now()
	if writing != 0 && now-writing > int64(stillAfter) {
		return true
	}
	if asked == 0 || now-asked <= int64(stillAfter) || l.progress.paused.Load() {
		return false
	}
	for _, other := range list {
		if other != l && other.progress.heard.Load() > asked {
			return true
		}
	}
	return false
}

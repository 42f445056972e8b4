package link

import (
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine/internal/rate"
)

// linkRates are how much a link may send a second, and at once: frames, and bytes of them. 0: no limit.
type linkRates struct{ frames, bytes atomic.Int64 }

// SetRates replaces Config.FrameRate and ByteRate, for the links that are there, too.
func (h *Hub) SetRates(frames, bytes int) {
	h.rates.frames.Store(int64(max(frames, 0)))
	h.rates.bytes.Store(int64(max(bytes, 0)))
}

// A pace is a link's token buckets; the reader's. A frame is taken whole, also if there is less.
type pace struct {
	frames, bytes rate.Bucket
	start         time.Time // of the buckets' clock
}

// take counts a frame of so many bytes and returns how long the link is to be left unread.
func (p *pace) take(r *linkRates, size int) (wait time.Duration) {
	frames, bytes := int(r.frames.Load()), int(r.bytes.Load())
	if frames == 0 && bytes == 0 {
		return 0
	}
	if p.start.IsZero() {
		p.start = time.Now()
	}
	now := int64(time.Since(p.start)) + 1
	if frames > 0 {
		wait = time.Duration(p.frames.Spend(now, 1, frames))
	}
	if bytes > 0 {
		wait = max(wait, time.Duration(p.bytes.Spend(now, size, bytes)))
	}
	return wait
}

// pauseStep is how long a link that is paused does not see that it has ended.
const pauseStep = 100 * time.Millisecond

// pause leaves the link unread for a while: TCP holds its worker back. What it has sent before takes
// effect.
func (l *link) pause(d time.Duration) error {
	if err := l.flushReplies(); err != nil {
		return err
	}
	l.publisher.Flush()
	l.hub.stats.holds.Add(1)
	l.hub.log.Warn("a worker sends more than it may: it is not read for a while",
		"peer", l.peer, "workerId", l.workerID, "for", d.Round(time.Millisecond))
	l.progress.paused.Store(true)
	defer l.progress.paused.Store(false)
	t := time.NewTimer(0)
	defer t.Stop()
	for end := time.Now().Add(d); !l.outbox.isClosed(); {
		left := time.Until(end)
		if left <= 0 {
			break
		}
		t.Reset(min(left, pauseStep))
		select {
		case <-t.C:
		case <-l.hub.stop:
			return nil
		}
	}
	return nil
}

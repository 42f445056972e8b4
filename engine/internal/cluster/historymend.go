package cluster

import (
	"context"
	"errors"
	"strings"
	"time"
)

// The stream is everybody's: an administrator may have made it, and may change it while it is used.
// It is looked at with each answer that is heard, and mended by the first node that may.

const (
	// mendPause is the least time between two changes of the stream, and mendAgain that behind one that
	// was refused.
	mendPause = time.Second
	mendAgain = 30 * time.Second
)

// A fitting is what a history knows of how the stream is set up. Of history.mu.
type fitting struct {
	due    bool      // the stream is to be mended,
	next   time.Time // not before this time
	under  bool      // that is under way
	about  string    // what is wrong, and low
	failed error     // why that could not be mended
	told   string    // what the log has been told of what is otherwise
	kept   int64     // how many frames of a subject it had kept,
	raised time.Time // before it was seen to keep more
}

// fits looks at how the stream is set up. mu is held.
func (h *history) fits(st *StreamState) {
	f := &h.fit
	if h.known && h.state.Epoch == st.Epoch && less(h.state.Limits.PerSubject, st.Limits.PerSubject) {
		// Who has raised it may not have said so.
		if f.kept == 0 || !h.state.FirstAt.Before(f.raised) {
			f.kept = h.state.Limits.PerSubject
		}
		f.kept, f.raised = lower(f.kept, h.state.Limits.PerSubject), h.now().Add(clockMargin)
	}
	if f.kept > 0 && st.Frames > 0 && st.FirstAt.Before(f.raised) {
		st.Kept = lower(st.Kept, f.kept)
	}
	about := strings.Join(st.Wrong, ", ") + "; " + strings.Join(st.Low, ", ")
	if about != f.about { // what has failed was about something else
		f.about, f.failed, f.next = about, nil, time.Time{}
	}
	if len(st.Wrong)+len(st.Low) == 0 {
		f.failed, f.due = nil, false
	} else if f.due = true; !f.under && !time.Now().Before(f.next) {
		h.wake()
	}
	if text := strings.Join(st.Other, "; "); text != f.told {
		if f.told = text; text != "" {
			h.log.Warn("the log of histories is not as this gateway would make it", "stream", streamName(h.name), "why", text)
		}
	}
}

// mendIfDue has the stream be mended beside what else the clerk does: it may take long.
func (h *history) mendIfDue() {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &h.fit
	if !f.due || f.under || time.Now().Before(f.next) || !h.reachable.Load() {
		return
	}
	f.due, f.under = false, true
	h.tasks.Go(func() { _ = h.mend(h.ctx) })
}

// mend mends the stream, and asks what it is then.
func (h *history) mend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	changed, err := h.stream.Mend(ctx, h.limits())
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &h.fit
	f.under, f.next = false, time.Now().Add(mendPause)
	if err == nil {
		if changed {
			h.counts.mended.Add(1)
		}
		f.failed = nil
		// What has come to it meanwhile may not have been passed on, or have gone.
		h.unsure, h.catchUp, h.broken = true, true, true
		h.wake()
		return nil
	}
	if final := (*StreamError)(nil); errors.As(err, &final) {
		if f.failed == nil || f.failed.Error() != final.Error() {
			h.log.Error("the log of histories is not as it has to be", "err", final)
		}
		f.failed, f.next = final, time.Now().Add(mendAgain)
		h.judge()
	}
	return err
}

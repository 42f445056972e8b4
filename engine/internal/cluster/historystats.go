package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

type historyCounts struct {
	appends, appended, bytes, again, duplicates atomic.Uint64
	late, full, tooLong, refused                atomic.Uint64 // messages
	heard, messages, repeated, holes, unfit     atomic.Uint64
	reads, readBytes, failures                  atomic.Uint64
	lost, epochs, audits, found, joinTimeouts   atomic.Uint64
	plain, mended                               atomic.Uint64
}

// A HistoryStats says what became of messages of topics with history.
type HistoryStats struct {
	On        bool
	Reachable bool   // messages can be appended
	Appends   uint64 // frames that the log has taken
	Appended  uint64 // messages in them
	Bytes     uint64
	Again     uint64 // frames that were sent another time
	Twice     uint64 // frames that the log has had already then
	Late      uint64 // messages that were given up: not confirmed in time
	Full      uint64 // messages that were refused: too many waited
	TooLong   uint64 // messages that are longer than NATS takes
	Refused   uint64 // messages that the log has refused
	Heard     uint64 // frames that have come
	Messages  uint64 // messages in them
	Repeated  uint64 // frames that had come before
	Unfit     uint64 // frames of the log that are none of ours
	Holes     uint64 // times that frames were missing, and read
	Found     uint64 // of them those that no other frame has shown
	Reads     uint64
	ReadBytes uint64
	Failures  uint64 // of reads
	Lost      uint64 // times that a topic's subscribers were told of a gap, since what is missing is gone
	Epochs    uint64 // times that the log was another one
	Timeouts  uint64 // subscriptions that were answered before the log has
	Plain     uint64 // messages that came as plain ones: the rules of another gateway differ
	Queue     int64  // bytes that wait for the log
	Topics    int    // with history and subscribers here
	Frames    uint64 // that the log has, when it was last heard of
	Epoch     uint64
	Wrong     int    // settings of the log that are not as they have to be, or keep too little
	Other     int    // settings that are not as this node would make them
	Mended    uint64 // times that it was changed to what it has to be
}

func (h *history) stats() HistoryStats {
	if h == nil {
		return HistoryStats{}
	}
	c := &h.counts
	st, _ := h.lastState()
	return HistoryStats{
		On: true, Reachable: h.Away() == nil,
		Appends: c.appends.Load(), Appended: c.appended.Load(), Bytes: c.bytes.Load(), Again: c.again.Load(),
		Twice: c.duplicates.Load(), Late: c.late.Load(), Full: c.full.Load(), TooLong: c.tooLong.Load(),
		Refused: c.refused.Load(), Heard: c.heard.Load(), Messages: c.messages.Load(), Repeated: c.repeated.Load(),
		Unfit: c.unfit.Load(), Holes: c.holes.Load(), Found: c.found.Load(), Reads: c.reads.Load(),
		ReadBytes: c.readBytes.Load(), Failures: c.failures.Load(), Lost: c.lost.Load(), Epochs: c.epochs.Load(),
		Timeouts: c.joinTimeouts.Load(), Plain: c.plain.Load(), Queue: h.appender.queued.Load(),
		Topics: int(h.follower.topics.Load()), Frames: st.Frames, Epoch: st.Epoch,
		Wrong: len(st.Wrong) + len(st.Low), Other: len(st.Other), Mended: c.mended.Load(),
	}
}

// status are lines for people.
func (h *history) status() []string {
	st, known := h.lastState()
	var list []string
	switch err := h.Away(); {
	case err != nil:
		list = []string{err.Error()}
	case !known:
		return []string{"not looked at yet"}
	default:
		list = []string{fmt.Sprintf("the log, stream %s, has %d frames, and is there since %s", streamName(h.name), st.Frames,
			time.UnixMicro(int64(st.Epoch)).UTC().Format(time.RFC3339))}
	}
	if wrong := slices.Concat(st.Wrong, st.Low); len(wrong) > 0 {
		list = append(list, "the log is not as it has to be: "+strings.Join(wrong, ", "))
		h.mu.Lock()
		failed := h.fit.failed
		h.mu.Unlock()
		if failed != nil && h.Away() == nil {
			list = append(list, failed.Error())
		}
	}
	if len(st.Other) > 0 {
		list = append(list, "the log is not as this gateway would make it: "+strings.Join(st.Other, "; "))
	}
	return list
}

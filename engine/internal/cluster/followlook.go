package cluster

import (
	"math"
	"slices"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// What the stream has that was not heard of, and whether it is still the same one.

// state hears what the stream is.
func (f *follower) state(st StreamState) error {
	if f.epoch == 0 {
		f.epoch = st.Epoch
	}
	if f.epoch == st.Epoch || fault == 35 {
		f.told(st)
		return nil
	}
	f.epoch = st.Epoch
	return f.anew(st)
}

// told notes what the leader says of the stream's last frame.
func (f *follower) told(st StreamState) {
	f.last, f.lastAt = 0, 0
	if !st.LastAt.IsZero() {
		f.last, f.lastAt = st.Last, st.LastAt.UnixMicro()
	}
}

// resolved ends a doubt: st was asked for behind it.
func (f *follower) resolved(st StreamState) error {
	if !f.doubtful || st.Epoch != f.epoch {
		return nil
	}
	f.doubtful = false
	if st.Last < f.doubted {
		f.h.log.Error("the log of histories has lost what it had: it counts from below anew", "last", st.Last, "had", f.doubted)
		return f.anew(st)
	}
	return f.each(func(o *ownTopic) error { return f.release(o) })
}

// anew follows all topics from the beginning of another stream.
func (f *follower) anew(st StreamState) error {
	f.seen, f.audited, f.doubtful, f.young = 0, 0, false, nil
	f.told(st)
	var topics []*ownTopic
	err := f.each(func(o *ownTopic) error {
		l := o.following
		pending := l.pending
		f.drop(l)
		*l = following{begun: l.begun, filling: l.filling}
		for i := range pending {
			if !f.older(&pending[i]) {
				f.keep(l, pending[i])
			}
		}
		if !l.begun {
			return nil
		}
		f.h.counts.lost.Add(1)
		topics = append(topics, o)
		return f.h.replica.Begin([]byte(o.name), topic.Position{Epoch: f.epoch}, true)
	})
	for _, o := range topics {
		if err == nil {
			err = f.release(o)
		}
	}
	if err == nil {
		f.lookAt(topics, st, false)
	}
	return err
}

// A youngTopic was begun with a moment ago. The leader's server may have learned of the subscription behind
// the question for the last frame, so that one in between has not come. It is looked for once more when the
// servers have had time.
type youngTopic struct {
	topic *ownTopic
	of    *following
	begun time.Time
	due   uint64 // up to which frame of the stream it is looked for others; math.MaxUint64: not yet
}

// confirmLater has a topic that is begun with be confirmed.
func (f *follower) confirmLater(o *ownTopic) {
	if last := len(f.young) - 1; last < 0 || f.young[last].due != math.MaxUint64 {
		f.h.confirmSoon()
	}
	f.young = append(f.young, youngTopic{o, o.following, time.Now(), math.MaxUint64})
}

// confirm has the topics be compared that were begun with long enough before st was asked for.
func (f *follower) confirm(st StreamState, asked time.Time) {
	f.grown()
	var topics []*ownTopic
	for i := range f.young {
		if y := &f.young[i]; y.due == math.MaxUint64 && asked.Sub(y.begun) >= confirmAfter {
			y.due = st.Last
			topics = append(topics, y.topic)
		}
	}
	f.lookAt(topics, st, false)
	if slices.ContainsFunc(f.grown(), func(y youngTopic) bool { return y.due == math.MaxUint64 }) {
		f.h.confirmSoon()
	}
}

// grown forgets the young topics that are confirmed, or followed no more, and returns the others.
func (f *follower) grown() []youngTopic {
	f.young = slices.DeleteFunc(f.young, func(y youngTopic) bool {
		return y.topic.following != y.of || max(y.of.at, y.of.checked) >= y.due
	})
	if len(f.young) == 0 {
		f.young = nil
	}
	return f.young
}

// each calls a function for all topics that are followed.
func (f *follower) each(do func(*ownTopic) error) error {
	for _, o := range f.h.t.ours.all() {
		if o.following == nil {
			continue
		}
		if err := do(o); err != nil {
			return err
		}
	}
	return nil
}

// review looks at all topics.
func (f *follower) review(st StreamState, broken bool) error {
	f.prove(st)
	var topics []*ownTopic
	_ = f.each(func(o *ownTopic) error {
		if o.following.begun {
			topics = append(topics, o)
		}
		return nil
	})
	f.lookAt(topics, st, broken)
	return nil
}

// lookAt has topics be compared with the last frames of the stream. broken says that frames may have gone
// from the stream, too, since topics were known to be complete.
func (f *follower) lookAt(topics []*ownTopic, st StreamState, broken bool) {
	var some []*ownTopic
	from := st.Last
	look := func() {
		if len(some) > 0 {
			f.h.fetcher.addLook(some, from, st)
		}
		some, from = nil, st.Last
	}
	for _, o := range topics {
		l := o.following
		known := max(l.at, l.checked)
		switch {
		case l.filling:
			l.missing = true
		case broken && st.First > known+1:
			f.fill(o) // which finds out what is gone
		case known < st.Last:
			some, from = append(some, o), min(from, known)
			if len(some) == readSubjects {
				look()
			}
		}
	}
	look()
}

// compare fills topics of which the stream has frames that are not here.
func (f *follower) compare(topics []*ownTopic, subjects []string, last map[string]uint64, st StreamState) error {
	if st.Epoch != f.epoch {
		return nil
	}
	for i, o := range topics {
		l := o.following
		switch {
		case l == nil || !l.begun || l.filling:
		case last[subjects[i]] > l.at && fault != 36:
			f.h.counts.found.Add(1)
			f.fill(o)
		default:
			l.checked = max(l.checked, st.Last)
		}
	}
	return nil
}

// audit has some of the topics be compared that were not heard of since the last time.
func (f *follower) audit(st StreamState) {
	if len(f.queue) == 0 {
		f.queue = f.h.t.ours.all()
	}
	n := min(len(f.queue), 4*readSubjects)
	var some []*ownTopic
	for i, o := range f.queue[:n] {
		if l := o.following; l != nil && l.begun && !l.filling && l.at <= f.audited && max(l.at, l.checked) < st.Last {
			if some = append(some, o); len(some) == readSubjects {
				n = i + 1
				break
			}
		}
	}
	f.queue = f.queue[n:]
	f.lookAt(some, st, false)
	f.audited = st.Last
	f.grown()
}

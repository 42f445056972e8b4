package cluster

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// What is missing of topics with history is read from the stream, for up to readSubjects of them at a
// time: many sessions that come back at once cost few reads.

const (
	// readers is how many reads may be under way at a time.
	readers = 2
	// collect is how long a read waits for others.
	collect = 5 * time.Millisecond
	// readTimeout is how long one may take.
	readTimeout = 30 * time.Second
	// fillCost is what a frame that was read costs beside its bytes.
	fillCost = 64
)

// A fetch asks for what the stream has of a topic behind a number.
type fetch struct {
	name, subject string
	epoch, after  uint64
	since         int64  // unix ms: when after was the topic's last number, 0: not known
	before        uint64 // and below a number, 0: all
	checked       uint64 // up to which frame of the stream there is nothing else behind after
	// done is called once. upTo is the last frame of the topic that was read, ours or not.
	done func(fill engine.Fill, upTo uint64, err error)

	from, last uint64 // frames of the stream
	fill       engine.Fill
	upTo       uint64
	here       bool   // after is a number of the stream
	there      bool   // the frame that after is of was read
	followed   int64  // how many frames of the topic the stream has behind it,
	counted    uint64 // up to this one
	bytes      int64  // of fill, charged
}

// A look compares topics with the last frames that the stream has of them.
type look struct {
	topics []*ownTopic
	from   uint64
	state  StreamState
}

type fetcher struct {
	h     *history
	wakes chan struct{}

	mu      sync.Mutex
	fetches []*fetch
	looks   []look
	since   time.Time // when the first of fetches came
	closed  bool
}

func newFetcher(h *history) fetcher {
	return fetcher{h: h, wakes: make(chan struct{}, readers)}
}

// Fetch implements engine.Log.
func (h *history) Fetch(
	name string, after topic.Position, since int64, before uint64, done func(engine.Fill, error),
) {
	if !carried(name) {
		go done(engine.Fill{}, errBody)
		return
	}
	h.fetcher.add(&fetch{
		name: name, subject: h.t.subs.history(name), epoch: after.Epoch, after: after.Seq, since: since, before: before,
		done: func(fill engine.Fill, _ uint64, err error) { done(fill, err) },
	})
}

func (f *fetcher) add(r *fetch) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		go r.done(engine.Fill{}, 0, errHistoryClosed)
		return
	}
	if len(f.fetches) == 0 {
		f.since = time.Now()
	}
	f.fetches = append(f.fetches, r)
	f.mu.Unlock()
	f.wake()
}

func (f *fetcher) addLook(topics []*ownTopic, from uint64, st StreamState) {
	f.mu.Lock()
	f.looks = append(f.looks, look{topics, from + 1, st})
	f.mu.Unlock()
	f.wake()
}

func (f *fetcher) wake() {
	select {
	case f.wakes <- struct{}{}:
	default:
	}
}

// take returns what is to be done next, or when to ask again.
func (f *fetcher) take() (batch []*fetch, l *look, again time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.looks) > 0 {
		l, f.looks = &f.looks[0], f.looks[1:]
		return nil, l, 0
	}
	if len(f.fetches) == 0 {
		return nil, nil, never
	}
	if wait := collect - time.Since(f.since); wait > 0 && len(f.fetches) < readSubjects {
		return nil, nil, wait
	}
	// Those that begin at about the same place are read together.
	slices.SortStableFunc(f.fetches, func(a, b *fetch) int { return cmp.Compare(a.begin(), b.begin()) })
	subjects := make(map[string]bool)
	n := 0
	for ; n < len(f.fetches); n++ {
		if subjects[f.fetches[n].subject] = true; len(subjects) > readSubjects {
			break
		}
	}
	batch, f.fetches = slices.Clone(f.fetches[:n]), slices.Delete(f.fetches, 0, n)
	if len(f.fetches) == 0 {
		f.fetches = nil
	}
	return batch, nil, 0
}

// begin is from which frame on r has to be read, as far as it is known before the stream is asked.
func (r *fetch) begin() uint64 { return frameOf(r.after) }

// run is a goroutine of readers.
func (f *fetcher) run() {
	timer := time.NewTimer(never)
	defer timer.Stop()
	for f.h.ctx.Err() == nil {
		batch, l, again := f.take()
		switch {
		case l != nil:
			f.h.look(l.topics, l.from, l.state)
			continue
		case batch != nil:
			f.wake() // another reader may go on
			f.read(batch)
			continue
		}
		timer.Reset(again)
		select {
		case <-f.h.ctx.Done():
		case <-f.wakes:
		case <-timer.C:
		}
	}
}

// end gives up what waits, once the readers have ended.
func (f *fetcher) end() {
	f.mu.Lock()
	f.closed = true
	left := f.fetches
	f.fetches, f.looks = nil, nil
	f.mu.Unlock()
	for _, r := range left {
		r.done(engine.Fill{}, 0, errHistoryClosed)
	}
}

// read reads a batch, however often it takes.
func (f *fetcher) read(batch []*fetch) {
	for pause := againEvery; ; pause = min(2*pause, time.Second) {
		var err error
		if batch, err = f.once(batch); err == nil && len(batch) == 0 {
			return
		}
		if f.h.ctx.Err() != nil {
			break
		}
		f.h.counts.failures.Add(1)
		f.h.log.Warn("what is missing of topics with history could not be read: trying again", "err", err)
		select {
		case <-f.h.ctx.Done():
		case <-time.After(pause):
		}
	}
	for _, r := range batch {
		r.done(engine.Fill{}, 0, errHistoryClosed)
	}
}

// once reads a batch, and returns those that are not done yet.
func (f *fetcher) once(batch []*fetch) (left []*fetch, err error) {
	st, err := f.h.ask(renewTimeout)
	if err != nil {
		return batch, err
	}
	from, to := uint64(math.MaxUint64), uint64(0)
	for _, r := range batch {
		r.begun(st)
		from, to = min(from, r.from), max(to, r.last)
	}
	err = f.pass(batch, st, from, to, f.got)
	if err == nil {
		// Where it is not known how many frames have followed the rest of them is counted.
		var rest []*fetch
		from = math.MaxUint64
		for _, r := range batch {
			if r.last < st.Last && r.counts(st) {
				r.counted = st.Last
				rest, from = append(rest, r), min(from, r.last+1)
			}
		}
		err = f.pass(rest, st, from, st.Last, func(r *fetch, s *Stored) {
			if s.Seq > r.last {
				r.followed++
			}
		})
	}
	if err == nil { // what has gone meanwhile may have been missed
		if st, err = f.h.ask(renewTimeout); err == nil && st.Epoch != batch[0].fill.Epoch {
			err = errRead
		}
	}
	if err != nil {
		for _, r := range batch {
			f.release(r)
		}
		return batch, err
	}
	f.finish(batch, st)
	return nil, nil
}

// pass reads the frames of the topics of a batch, between two of the stream's.
func (f *fetcher) pass(batch []*fetch, st StreamState, from, to uint64, got func(*fetch, *Stored)) error {
	if from = max(from, st.First); len(batch) == 0 || from > to {
		return nil
	}
	by := make(map[string][]*fetch, len(batch))
	subjects := make([]string, 0, len(batch))
	for _, r := range batch {
		if by[r.subject] == nil {
			subjects = append(subjects, r.subject)
		}
		by[r.subject] = append(by[r.subject], r)
	}
	f.h.counts.reads.Add(1)
	ctx, cancel := context.WithTimeout(f.h.ctx, readTimeout)
	defer cancel()
	return f.h.stream.Read(ctx, subjects, from, func(s Stored) bool {
		if s.Seq > to {
			return false
		}
		f.h.counts.readBytes.Add(uint64(len(s.Frame)))
		for _, r := range by[s.Subject] {
			got(r, &s)
		}
		return true
	})
}

// counts reports whether it matters how many frames of the topic the stream has behind the number: of
// more than it keeps the first ones are gone.
func (r *fetch) counts(st StreamState) bool {
	most := st.Kept
	return r.here && !r.there && most > 0 && st.Frames >= uint64(most) && st.Last-frameOf(r.after) >= uint64(most)
}

// begun prepares r for a read of a stream that has been asked for its state.
func (r *fetch) begun(st StreamState) {
	r.fill = engine.Fill{Epoch: st.Epoch}
	r.from, r.last, r.upTo, r.there, r.followed = 1, st.Last, 0, false, 0
	if r.here = r.known(st); r.here {
		r.from = max(frameOf(r.after), 1)
	}
	if r.before > 0 {
		r.last = min(r.last, frameOf(r.before-1))
	}
	r.counted = r.last
}

// known reports whether the number that r asks behind is of this stream.
func (r *fetch) known(st StreamState) bool {
	return r.epoch == st.Epoch && r.after > 0 && frameOf(r.after) <= st.Last
}

// got takes a frame of r's topic.
func (f *fetcher) got(r *fetch, s *Stored) {
	if s.Seq < r.from || s.Seq > r.last {
		return
	}
	r.upTo = s.Seq
	if r.here && s.Seq == frameOf(r.after) {
		if r.there = true; r.after == behind(s.Seq) {
			return // all of it was had
		}
	} else {
		r.followed++
	}
	records, ok := readStored(s.Frame, r.name)
	if !ok {
		f.h.counts.unfit.Add(1)
		return
	}
	r.fill.Frames = append(r.fill.Frames, engine.Frame{Seq: behind(s.Seq), At: s.At.UnixMilli(), Records: records})
	r.add(f.h, int64(len(records))+fillCost)
	// Of more than may be kept here the last ones are of use.
	for most := f.h.total.Load(); r.bytes > most && len(r.fill.Frames) > 1; {
		first := &r.fill.Frames[0]
		r.add(f.h, -int64(len(first.Records))-fillCost)
		r.fill.First = first.Seq + 1
		*first = engine.Frame{}
		r.fill.Frames = r.fill.Frames[1:]
	}
}

func (r *fetch) add(h *history, n int64) {
	r.bytes += n
	h.t.charge(n)
}

// release gives up what was read for r.
func (f *fetcher) release(r *fetch) {
	f.h.t.charge(-r.bytes)
	r.bytes, r.fill = 0, engine.Fill{}
}

// finish answers a batch that was read, before the stream was in the state st.
func (f *fetcher) finish(batch []*fetch, st StreamState) {
	now := f.h.now()
	for _, r := range batch {
		r.fill.First = max(r.fill.First, r.first(st, now))
		r.fill.Last = behind(r.last)
		if r.before > 0 {
			r.fill.Last = min(r.fill.Last, r.before-1)
		}
		n := r.bytes
		r.done(r.fill, r.upTo, nil)
		f.h.t.charge(-n) // it is the other's now
	}
}

// first is from which number on what was read is complete: what is there, or could not have gone.
func (r *fetch) first(st StreamState, now time.Time) uint64 {
	whole := r.whole(st)
	if !r.here { // all that is kept
		switch {
		case whole:
			return max(st.First, 1) << indexBits
		case len(r.fill.Frames) == 0:
			return behind(r.last) + 1
		}
		return firstNumber(&r.fill.Frames[0])
	}
	next := max(r.after, behind(r.checked)) + 1
	switch {
	case whole && (st.First <= frameOf(next) || r.timely(st, now)), fault == 37:
		return r.after + 1
	case whole && r.followed == 0 && !r.there:
		return max(st.First<<indexBits, r.after+1)
	case len(r.fill.Frames) == 0:
		return max(behind(r.last)+1, r.after+1)
	case whole:
		return max(min(st.First<<indexBits, firstNumber(&r.fill.Frames[0])), r.after+1)
	}
	return max(firstNumber(&r.fill.Frames[0]), r.after+1)
}

// whole reports whether nothing has gone for there being too many of the topic behind the number.
// Frames that were stored while it was read may be of the topic, and have taken the place of
// others.
func (r *fetch) whole(st StreamState) bool {
	if r.there || st.Kept <= 0 || r.here && !r.counts(st) {
		return true
	}
	if fault == 42 {
		return r.followed < st.Kept
	}
	return r.followed+int64(st.Last-r.counted) < st.Kept
}

// timely reports whether all that was published since the number was the topic's last must be there
// yet; now is by the log's clock, as all other times are.
func (r *fetch) timely(st StreamState, now time.Time) bool {
	if r.since == 0 {
		return false
	}
	since := time.UnixMilli(r.since).Add(-clockMargin)
	if now.Before(since) {
		return false // the clock was set back: what was published then is dated before what it came behind
	}
	if st.First <= st.Last {
		return !st.FirstAt.After(since)
	}
	gone := now.Add(-st.Limits.Age) // all has expired, unless somebody has emptied the stream
	return st.Limits.Age > 0 && !gone.After(since) && !st.LastAt.After(gone.Add(clockMargin))
}

// firstNumber is the number of a frame's first message.
func firstNumber(f *engine.Frame) uint64 { return f.Seq + 1 - uint64(countRecords(f.Records)) }

// countRecords returns how many records there are.
func countRecords(records []byte) (n int) {
	eachRecord(records, func([]byte) { n++ })
	return n
}

// readStored returns the records of a frame that the stream has kept, if it is one of a topic's.
func readStored(b []byte, name string) (records []byte, ok bool) {
	frame, err := unseal(b)
	if err != nil {
		return nil, false
	}
	k, _, body, err := parseHeader(frame)
	if err != nil || k != KindMessages {
		return nil, false
	}
	var m topic.Message
	r, err := readRun(body, &m)
	return r.records, err == nil && r.history && string(r.name) == name
}

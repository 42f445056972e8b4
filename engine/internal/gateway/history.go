package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// GapRoute is the route on GOSOC of the push that says that messages of a topic are gone for good.
const GapRoute = "sluice.Gap"

// Gap is that push. The empty topic stands for all that a client had, also its session text.
func (g *Gateway) Gap(topic string) engine.Push {
	body, err := json.Marshal(struct {
		Topic string `json:"topic"`
		Lost  bool   `json:"lost"`
	}{topic, true})
	if err != nil { // a string and a bool
		g.log.Error("a gap cannot be said", "topic", topic, "err", err)
	}
	return engine.Push{Route: GapRoute, Cmd: g.Config().GapCmd, Payload: body}
}

// marksOf returns where a connection that ends is in the histories of its topics. What it has yet to be
// sent of them comes with the resumption.
func marksOf(c *engine.Conn) []session.Mark {
	marks := c.Marks()
	if len(marks) == 0 {
		return nil
	}
	c.DropHistory()
	return sessionMarks(marks)
}

// sessionMarks are marks as a session keeps them.
func sessionMarks(marks []engine.Mark) []session.Mark {
	if len(marks) == 0 {
		return nil
	}
	list := make([]session.Mark, len(marks))
	for i, m := range marks {
		list[i] = session.Mark{Topic: m.Topic, Epoch: m.Epoch, Seq: m.Seq, At: m.At, Last: uint32(m.Last)}
	}
	return list
}

// TrySubscribeLast is TrySubscribe for a client that gets the last n messages first which the topic has
// kept, unless it was subscribed already.
func (r *Request) TrySubscribeLast(topic []byte, n int) error {
	return r.gateway.TrySubscribeLast(r.conn, topic, n)
}

// A HistoryQuery says what is wanted of a topic's history.
type HistoryQuery struct {
	After *topic.Position // nil: from the oldest message on
	Last  int             // in place of After: so many of the last; 0: After counts
	Limit int             // messages at most, up to MostHistory. Zero means 100
	Bytes int             // of payloads at most, but for the first
}

// MostHistory is how many messages an answer has at most.
const MostHistory = 1000

// A History is what was found.
type History struct {
	End      topic.Position // behind the topic's last message
	First    uint64         // number of the oldest that is kept; the next one's when none is
	Lost     bool           // messages behind HistoryQuery.After are gone for good
	Messages []Kept
}

// A Kept is a message that a topic has kept.
type Kept struct {
	topic.Message
	Time time.Time // when it was published
}

// historyWait is how long History waits for the cluster.
const historyWait = 5 * time.Second

// History returns what a topic has kept; false when it has no history. Any goroutine but a loop's
// may call it: in a cluster it asks for it, until ctx is done or for 5 s. The error says why there
// is no answer.
func (g *Gateway) History(ctx context.Context, name []byte, q HistoryQuery) (h History, ok bool, err error) {
	history := g.engine.History()
	if !history.Keeps(name) {
		return h, false, nil
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	q.Limit = min(q.Limit, MostHistory)
	if log := g.engine.Config().Log; log != nil {
		h, err = g.loggedHistory(ctx, log, name, q)
		return h, true, err
	}
	st := history.Find(name)
	if st == nil {
		return History{First: 1, Lost: q.After != nil && q.After.Seq > 0}, true, nil
	}
	now := g.engine.Now()
	first, next := history.Range(st, now)
	from := first
	switch {
	case q.Last > 0:
		from, _ = history.Tail(st, q.Last, next-1, now)
	case q.After != nil && q.After.Epoch != st.Epoch():
		h.Lost = true
	case q.After != nil:
		from = q.After.Seq + 1
	}
	var v topic.View
	history.Look(&v, st, from, next-1, now, q.Bytes)
	h.First, h.End = v.First, topic.Position{Epoch: st.Epoch(), Seq: next - 1}
	h.Lost = h.Lost || from < v.First
	date, bytes := g.now(), 0
	for m := v.Read(); m != nil && len(h.Messages) < q.Limit; m = v.Read() {
		if bytes += len(m.Payload); bytes > q.Bytes && len(h.Messages) > 0 {
			break
		}
		h.Messages = append(h.Messages, Kept{*m, date.Add(-time.Duration(now-m.At) * time.Millisecond)})
	}
	return h, true, nil
}

// loggedHistory asks the log for what a topic has kept, and takes of it what the topic's rule wants.
func (g *Gateway) loggedHistory(ctx context.Context, log engine.Log, name []byte, q HistoryQuery) (h History, err error) {
	rule, _ := g.engine.History().Rule(name)
	var after topic.Position
	if q.After != nil && q.Last == 0 {
		after = *q.After
	}
	type answer struct {
		fill engine.Fill
		err  error
	}
	answers := make(chan answer, 1)
	log.Fetch(string(name), after, 0, 0, func(f engine.Fill, err error) { answers <- answer{f, err} })
	ctx, cancel := context.WithTimeoutCause(ctx, historyWait, ErrNoHistory)
	defer cancel()
	var got answer
	select {
	case got = <-answers:
	case <-ctx.Done():
		return h, context.Cause(ctx)
	case <-g.engine.Stopped():
		return h, engine.ErrStopped
	}
	if got.err != nil {
		return h, &engine.LogError{Err: got.err}
	}
	f := &got.fill
	h.First, h.End = f.First, topic.Position{Epoch: f.Epoch, Seq: f.Last}
	number := 0
	for i := range f.Frames {
		n, _ := f.Frames[i].Count()
		number += n
		h.End.Seq = f.Frames[i].Seq
	}
	if number == 0 && after.Epoch == f.Epoch {
		h.End.Seq = after.Seq
	}
	kept, wanted := number-rule.Count, 0 // the first that is kept, and that is wanted
	if q.Last > 0 {
		wanted = number - q.Last
	}
	now, bytes, full := log.Now(), 0, false // by which the frames are dated
	age, clock := rule.Age.Milliseconds(), g.engine.Now()-now.UnixMilli()
	for i := range f.Frames {
		frame := &f.Frames[i]
		n, _ := frame.Count()
		rest := frame.Records
		for k := range n {
			var m topic.Message
			size, _ := m.Read(rest)
			rest = rest[size:]
			m.Seq, m.At = frame.Seq-uint64(n-1-k), frame.At+clock
			old := kept > 0 || now.UnixMilli()-frame.At >= age
			if old {
				h.First = m.Seq + 1
			}
			if kept, wanted = kept-1, wanted-1; old || wanted >= 0 || full {
				continue
			}
			bytes += len(m.Payload)
			if full = len(h.Messages) > 0 && (bytes > q.Bytes || len(h.Messages) == q.Limit); !full {
				h.Messages = append(h.Messages, Kept{m, time.UnixMilli(frame.At)})
			}
		}
	}
	h.Lost = q.After != nil && (after.Epoch != f.Epoch || h.First > after.Seq+1)
	return h, nil
}

// ErrNoHistory means that the cluster has not said in time what a topic has kept.
var ErrNoHistory = errors.New("gateway: the cluster has not answered: what topics have kept cannot be read now")

// subscribeFrom subscribes a client that resumes to a topic of its session: what it has missed comes
// first.
func (g *Gateway) subscribeFrom(c *engine.Conn, m session.Mark) {
	from := engine.Mark{
		Topic: m.Topic, Position: topic.Position{Epoch: m.Epoch, Seq: m.Seq}, At: m.At, Last: int(min(m.Last, math.MaxInt32)),
	}
	_ = g.trySubscribe(c, []byte(m.Topic), func([]byte) bool { return c.SubscribeFrom(from) })
}

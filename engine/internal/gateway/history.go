package gateway

import (
	"encoding/json"
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
		list[i] = session.Mark{Topic: m.Topic, Epoch: m.Epoch, Seq: m.Seq, At: m.At}
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

// History returns what a topic has kept; false when it has no history. Any goroutine may call it.
func (g *Gateway) History(name []byte, q HistoryQuery) (h History, ok bool) {
	history := g.engine.History()
	if !history.Keeps(name) {
		return h, false
	}
	st := history.Find(name)
	if st == nil {
		return History{First: 1, Lost: q.After != nil && q.After.Seq > 0}, true
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, MostHistory)
	now := g.engine.Now()
	first, next := history.Range(st, now)
	from := first
	switch {
	case q.Last > 0:
		from = max(first, next-min(uint64(q.Last), next-1))
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
	for m := v.Read(); m != nil && len(h.Messages) < limit; m = v.Read() {
		if bytes += len(m.Payload); bytes > q.Bytes && len(h.Messages) > 0 {
			break
		}
		h.Messages = append(h.Messages, Kept{*m, date.Add(-time.Duration(now-m.At) * time.Millisecond)})
	}
	return h, true
}

// subscribeFrom subscribes a client that resumes to a topic of its session: what it has missed comes
// first.
func (g *Gateway) subscribeFrom(c *engine.Conn, m session.Mark) {
	from := topic.Position{Epoch: m.Epoch, Seq: m.Seq}
	_ = g.trySubscribe(c, []byte(m.Topic), func(name []byte) bool { return c.SubscribeFrom(name, from, m.At) })
}

package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/topic"
)

func (s *Server) collectHistory(p *page, e *engine.Stats) {
	h := s.engine.History().Stats()
	p.gauge("sluice_history_topics", "Topics that have history, with those that keep nothing for now.", float64(h.Topics))
	p.gauge("sluice_history_messages", "Messages that topics keep.", float64(h.Messages))
	p.counter("sluice_history_appended_total", "Messages published to topics that have history.", h.Appended)
	p.family("sluice_history_dropped_total", counter, "Messages that topics keep no more, or never did, by what was used up.")
	p.sample(float64(h.Over), "reason", "count")
	p.sample(float64(h.Aged), "reason", "age")
	p.sample(float64(h.Evicted), "reason", "total")
	p.sample(float64(h.Trimmed), "reason", "memory")
	p.sample(float64(h.Large), "reason", "too-large")
	p.counter("sluice_history_forgotten_total", "Topics that kept nothing and went for others, there being as many as may be.", h.Forgotten)
	p.counter("sluice_history_refused_total", "Times that a new topic got no history, as many as may be keeping something.", h.Refused)
	p.counter("sluice_history_replayed_total", "Messages that subscribers got from a topic's history.", e.Replayed)
	p.counter("sluice_history_gaps_total", "Times that messages were gone for good which a subscriber lacked.", e.Gaps)
}

// A historyMessage is a message that a topic has kept.
type historyMessage struct {
	Position string `json:"position"` // behind it
	Sequence uint64 `json:"sequence"`
	Route    string `json:"route"`
	Command  int    `json:"command"`
	tailMessage
}

type historyPage struct {
	Topic    string           `json:"topic"`
	Position string           `json:"position"` // behind the topic's last message
	Lost     bool             `json:"lost"`     // messages behind the position asked for are gone for good
	Messages []historyMessage `json:"messages"`
	Next     *string          `json:"next"` // the position to ask on from; null: that was all
}

func positionText(at topic.Position) string { return fmt.Sprintf("%d-%d", at.Epoch, at.Seq) }

// parsePosition reads what positionText has written.
func parsePosition(text string) (at topic.Position, ok bool) {
	epoch, seq, _ := strings.Cut(text, "-")
	var err1, err2 error
	at.Epoch, err1 = strconv.ParseUint(epoch, 10, 64)
	at.Seq, err2 = strconv.ParseUint(seq, 10, 64)
	return at, err1 == nil && err2 == nil
}

func noHistory(name string) error {
	return notThere("%s has no history: no --history rule is for it", clip(name))
}

// tailedOf is a kept message as tails show them.
func tailedOf(m *gateway.Kept) tailed {
	return tailed{m.Time, len(m.Payload), m.Payload[:min(len(m.Payload), tailText)]}
}

// apiHistory answers with what a topic has kept, oldest first.
func (s *Server) apiHistory(r *http.Request) (any, error) {
	q := parameters(r, "limit", "after", "last", "name")
	name := q.part(r, "name")
	ask := gateway.HistoryQuery{Limit: q.limit(), Last: q.number("last", 0, gateway.MostHistory), Bytes: tailBytes}
	if text := q.text("after"); text != "" {
		at, ok := parsePosition(text)
		if !ok {
			q.fail("after=%s: want a position, as an earlier answer has them", clip(text))
		}
		if ask.After = &at; ask.Last > 0 {
			q.fail("after and last: choose one")
		}
	}
	if q.err != nil {
		return nil, q.err
	}
	if err := s.checkTopic(name); err != nil {
		return nil, err
	}
	got, ok, err := s.gateway.History(r.Context(), []byte(name), ask)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, noHistory(name)
	}
	s.act(r, "history", "topic", clip(name))
	page := historyPage{Topic: name, Position: positionText(got.End), Lost: got.Lost, Messages: []historyMessage{}}
	for i := range got.Messages {
		m := &got.Messages[i]
		t := tailedOf(m)
		page.Messages = append(page.Messages, historyMessage{
			Position: positionText(topic.Position{Epoch: got.End.Epoch, Seq: m.Seq}), Sequence: m.Seq,
			Route: m.Route, Command: int(m.Cmd), tailMessage: t.message(),
		})
	}
	if n := len(page.Messages); n > 0 && page.Messages[n-1].Sequence < got.End.Seq {
		page.Next = &page.Messages[n-1].Position
	}
	return page, nil
}

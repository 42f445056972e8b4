package gateway

import (
	"encoding/json"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// GapRoute is the route on GOSOC of the push that says that messages of a topic are gone for good.
const GapRoute = "sluice.Gap"

// Gap is that push.
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
	list := make([]session.Mark, len(marks))
	for i, m := range marks {
		list[i] = session.Mark{Topic: m.Topic, Epoch: m.Epoch, Seq: m.Seq}
	}
	return list
}

// TrySubscribeLast is TrySubscribe for a client that gets the last n messages first which the topic has
// kept, unless it was subscribed already.
func (r *Request) TrySubscribeLast(topic []byte, n int) error {
	return r.gateway.TrySubscribeLast(r.conn, topic, n)
}

// subscribeFrom subscribes a client that resumes to a topic of its session: what it has missed comes
// first.
func (g *Gateway) subscribeFrom(c *engine.Conn, m session.Mark) {
	from := topic.Position{Epoch: m.Epoch, Seq: m.Seq}
	_ = g.trySubscribe(c, []byte(m.Topic), func(name []byte) bool { return c.SubscribeFrom(name, from) })
}

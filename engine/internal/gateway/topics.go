package gateway

import "github.com/sluicenet/sluice/engine"

// topicCost is the bytes that a subscription costs beside the topic's name: its places in the
// connection's list and index and in the loop's, and the topic's own entry, which the first
// subscriber makes and each pays for.
const topicCost = 160

// Subscribe adds the connection to a topic, on its loop. It reports false, and counts, when the
// client has too many (Config.MaxTopics) or their names are too long (MaxTopicBytes). The empty topic
// is ignored.
func (g *Gateway) Subscribe(c *engine.Conn, topic []byte) bool {
	s, ok := c.Handler().(Session)
	if !ok || len(topic) == 0 {
		return false
	}
	cl, cost := s.Base(), len(topic)+topicCost
	if c.TopicCount() >= g.Config().MaxTopics || int(cl.topicBytes)+cost > g.Config().MaxTopicBytes {
		if g.stats.topicsRefused.Add(1)%1000 == 1 {
			g.log.Warn("a client has too many topics", "uniqId", g.ID(cl), "user", cl.user,
				"topics", c.TopicCount(), "bytes", cl.topicBytes)
		}
		return false
	}
	if c.Subscribe(topic) {
		cl.topicBytes += uint32(cost)
		c.Charge(engine.KindTopics, cost)
	}
	return true
}

// Unsubscribe removes the connection from a topic, on its loop. It reports false when it was not in
// it.
func (g *Gateway) Unsubscribe(c *engine.Conn, topic []byte) bool {
	s, ok := c.Handler().(Session)
	if !ok || !c.Unsubscribe(topic) {
		return false
	}
	cost := len(topic) + topicCost
	s.Base().topicBytes -= uint32(cost)
	c.Charge(engine.KindTopics, -cost)
	return true
}

// UnsubscribeAll removes the connection from all its topics, on its loop.
func (g *Gateway) UnsubscribeAll(c *engine.Conn) {
	if s, ok := c.Handler().(Session); ok {
		g.unsubscribeAll(c, s.Base())
	}
}

func (g *Gateway) unsubscribeAll(c *engine.Conn, cl *Client) {
	c.UnsubscribeAll()
	c.Charge(engine.KindTopics, -int(cl.topicBytes))
	cl.topicBytes = 0
}

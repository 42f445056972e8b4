package gateway

import (
	"context"
	"log/slog"
	"unicode/utf8"

	"github.com/sluicenet/sluice/engine"
)

// topicCost is the bytes that a subscription costs beside the topic's name: its places in the
// connection's list and index and in the loop's, and the topic's own entry, which the first
// subscriber makes and each pays for.
const topicCost = 160

// A NameError says why a topic's name or a uniqId is not taken. It is one of the constants.
type NameError uint8

// What is refused at the door, from whoever it comes. Names travel to workers as protobuf strings: one
// that is not UTF-8 would make answers about everybody impossible.
const (
	ErrTopicNotUTF8  NameError = iota // the name is not UTF-8
	ErrTopicTooLong                   // longer than Config.MaxTopicName
	ErrTooManyTopics                  // the client has Config.MaxTopics
	ErrTooManyBytes                   // its topics would take more than Config.MaxTopicBytes
	ErrTopicsTotal                    // it would be a new topic, and there are Config.MaxTopicsTotal
	ErrUniqIDNotUTF8                  // a uniqId that is not UTF-8
	ErrUniqIDLength                   // or empty, or longer than session.MaxIDLen
	numNameErrors
)

var nameErrors = [numNameErrors]struct{ reason, text string }{
	ErrTopicNotUTF8:  {"not-utf8", "the topic's name is not UTF-8"},
	ErrTopicTooLong:  {"name-too-long", "the topic's name is too long"},
	ErrTooManyTopics: {"too-many", "too many topics"},
	ErrTooManyBytes:  {"too-many-bytes", "too many topics: their names take too much"},
	ErrTopicsTotal:   {"too-many-in-all", "too many topics in all"},
	ErrUniqIDNotUTF8: {"id-not-utf8", "the uniqId is not UTF-8"},
	ErrUniqIDLength:  {"id-length", "the uniqId is empty or too long"},
}

// Error is the reason in words for people.
func (e NameError) Error() string { return nameErrors[e].text }

// Reason is what counters and logs call it.
func (e NameError) Reason() string { return nameErrors[e].reason }

// CheckTopic says what is wrong with a topic's name, as a NameError, or returns nil. It counts nothing.
func (g *Gateway) CheckTopic(name []byte) error {
	switch {
	case len(name) > g.Config().MaxTopicName:
		return ErrTopicTooLong
	case !utf8.Valid(name):
		return ErrTopicNotUTF8
	}
	return nil
}

// refuseName counts and logs a name that is not taken. from says what the client, or somebody for it,
// wanted.
func (g *Gateway) refuseName(cl *Client, err NameError, from string, name string) error {
	g.stats.namesRefused[err].Add(1)
	if g.log.Enabled(context.Background(), slog.LevelWarn) {
		g.log.Warn(from+" refused", "reason", err.Reason(), "err", err.Error(), "uniqId", g.ID(cl), "user", cl.user,
			"name", name[:min(len(name), 64)], "bytes", len(name))
	}
	return err
}

// Subscribe adds the connection to a topic, on its loop. It reports false for what TrySubscribe has
// an error for, and for the empty topic.
func (g *Gateway) Subscribe(c *engine.Conn, topic []byte) bool {
	return len(topic) > 0 && g.TrySubscribe(c, topic) == nil
}

// TrySubscribe adds the connection to a topic, on its loop. The empty topic is ignored. The error is
// a NameError, which is counted and logged: the name cannot be one, or the client has too many topics
// or too many bytes of them, or there are too many topics in all. A topic that the client is
// subscribed to is never too many.
func (g *Gateway) TrySubscribe(c *engine.Conn, topic []byte) error {
	return g.trySubscribe(c, topic, c.Subscribe)
}

// TrySubscribeLast is TrySubscribe for a client that wants the last n messages first which the
// topic has kept; less than 1 means none. One that is subscribed already gets nothing: it has had
// them.
func (g *Gateway) TrySubscribeLast(c *engine.Conn, topic []byte, n int) error {
	return g.trySubscribe(c, topic, func(topic []byte) bool { return c.SubscribeLast(topic, n) })
}

// trySubscribe is TrySubscribe by a method of c's.
func (g *Gateway) trySubscribe(c *engine.Conn, topic []byte, subscribe func([]byte) bool) error {
	s, ok := c.Handler().(Session)
	if !ok || len(topic) == 0 {
		return nil
	}
	cl, cost := s.Base(), len(topic)+topicCost
	if err := g.CheckTopic(topic); err != nil {
		return g.refuseName(cl, err.(NameError), "subscription", string(topic))
	}
	if t := g.engine.Topics(); t.Len() >= g.Config().MaxTopicsTotal { // by the loops' races a few more
		if _, ok := t.Lookup(topic); !ok {
			return g.refuseName(cl, ErrTopicsTotal, "subscription", string(topic))
		}
	}
	many := c.TopicCount() >= g.Config().MaxTopics
	if !subscribe(topic) {
		return nil
	}
	if bytes := int(cl.topicBytes)+cost > g.Config().MaxTopicBytes; many || bytes {
		c.Unsubscribe(topic)
		why := ErrTooManyTopics
		if !many {
			why = ErrTooManyBytes
		}
		return g.refuseName(cl, why, "subscription", string(topic))
	}
	cl.topicBytes += uint32(cost)
	c.Charge(engine.KindTopics, cost)
	g.changed(cl)
	return nil
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
	g.changed(s.Base())
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
	g.changed(cl)
}

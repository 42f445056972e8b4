package engine

import "github.com/sluicenet/sluice/topic"

// A subscriber gets what is flushed after its subscription took effect, and nothing from before. Runs
// that are in the loop's mailbox by then are from before: the subscription is marked fresh and
// remembers how many messages had been posted, until the loop is through with those.

// joins are a loop's fresh subscriptions.
type joins struct {
	after map[join]uint64 // position of the last message that is from before
	until uint64          // the greatest of them
}

type join struct {
	slot  uint32
	topic topic.ID
}

// behind reports whether a message is from before a fresh subscription.
func (j *joins) behind(slot uint32, id topic.ID, position uint64) bool {
	return fault != 1 && position > 0 && position <= j.after[join{slot, id}]
}

// note remembers a fresh subscription.
func (j *joins) note(slot uint32, id topic.ID, after uint64) {
	if j.after == nil {
		j.after = make(map[join]uint64)
	}
	j.after[join{slot, id}] = after
	j.until = max(j.until, after)
}

// settleJoins forgets the fresh subscriptions once the loop is through with what is from before.
func (l *Loop) settleJoins() {
	j := &l.joins
	if len(j.after) == 0 || l.mail.position < j.until {
		return
	}
	for k := range j.after {
		if !l.catching.has(k.slot, k.topic) {
			l.shard.Settle(&l.at(k.slot).member, k.topic)
		}
	}
	clear(j.after)
}

// Subscribe adds the connection to a topic. name is copied when it is new. It reports false when the
// connection was subscribed already. What was published before by this loop's clients, and flushed
// by others, is from before.
func (c *Conn) Subscribe(name []byte) bool {
	l := c.loop
	if st, ok := c.subscribe(name, fromNowOn); st != nil {
		return ok
	}
	if r, ok := c.handler.(Resumer); ok && l.engine.history.Keeps(name) && r.Resumable() {
		l.track(c) // it has none for want of room, and what is published may
	}
	l.publisher.Flush()
	posted := l.mailbox.postedSoFar()
	fresh := posted > l.mail.position
	k, ok := l.shard.Subscribe(&c.member, c.slot, name, c.dialect, c.pressed(), fresh)
	if ok && fresh {
		l.joins.note(c.slot, k.ID, posted)
	}
	return ok
}

// Unsubscribe removes the connection from a topic. It reports false when it was not in it. It gets
// what this loop's clients have published before, and nothing after.
func (c *Conn) Unsubscribe(name []byte) bool {
	if fault != 11 {
		c.loop.publisher.Flush()
	}
	c.loop.leaveTopic(c, name)
	return c.loop.shard.Unsubscribe(&c.member, name, c.pressed())
}

// UnsubscribeAll removes the connection from all its topics, as Unsubscribe does.
func (c *Conn) UnsubscribeAll() {
	c.loop.publisher.Flush()
	c.loop.leaveTopics(c)
	c.loop.shard.Leave(&c.member, c.pressed())
}

// Topics appends the names of the connection's topics, in no order.
func (c *Conn) Topics(dst []string) []string { return c.loop.shard.Names(dst, &c.member) }

// TopicCount returns the number of the connection's topics.
func (c *Conn) TopicCount() int { return c.member.Len() }

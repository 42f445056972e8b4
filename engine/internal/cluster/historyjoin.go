package cluster

import "time"

// Topics with history that have their first subscribers here are followed from what the stream has then.

// joining is topics that have their first subscribers here. Of history.mu.
type joining struct {
	topics  []*ownTopic
	losses  uint64 // then
	settled bool
}

// join has topics with history that have their first subscribers here, or have them still behind a
// loss of the connection, be followed. Who waits for them to be settled does so no longer than for
// a barrier.
func (h *history) join(topics []*ownTopic) {
	h.mu.Lock()
	j := &joining{topics: topics, losses: h.losses}
	h.joining = append(h.joining, j)
	h.mu.Unlock()
	h.wake()
	time.AfterFunc(h.t.barriers.timeout, func() {
		if h.settle(j) {
			h.counts.joinTimeouts.Add(1)
		}
	})
}

// settle has who waits for topics wait no longer. It reports false if nobody does.
func (h *history) settle(j *joining) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if j.settled || j.losses != h.losses {
		return false
	}
	j.settled = true
	h.t.later(h.t.ours.settled(j.topics))
	return true
}

// joinThose joins those topics that have history, and returns the others.
func (h *history) joinThose(topics []*ownTopic) (plain []*ownTopic) {
	if !h.wanted.Load() {
		return topics
	}
	var some []*ownTopic
	for _, o := range topics {
		if h.keeps([]byte(o.name)) {
			some = append(some, o)
		} else {
			plain = append(plain, o)
		}
	}
	if len(some) > 0 {
		h.join(some)
	}
	if fault == 40 {
		return topics
	}
	return plain
}

// letGo has a topic without subscribers here be forgotten.
func (h *history) letGo(o *ownTopic) {
	h.follower.post(func() error { h.follower.leave(o); return nil })
}

// forget gives up what waits for an answer: the data connection is lost.
func (h *history) forget() {
	h.mu.Lock()
	h.joining = nil
	h.losses++
	h.mu.Unlock()
	h.follower.post(func() error { h.follower.lost(); return nil })
}

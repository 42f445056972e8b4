package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// historyRules are which topics have history by this node's settings.
type historyRules struct {
	mu     sync.Mutex
	limits engine.HistoryLimits
}

func (r *historyRules) set(l engine.HistoryLimits) {
	r.mu.Lock()
	r.limits = l
	r.mu.Unlock()
}

func (r *historyRules) get() engine.HistoryLimits {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits
}

// hash tells rules from others; those that keep nothing have none.
func (r *historyRules) hash() string {
	rules := r.get().Rules
	if len(rules) == 0 {
		return ""
	}
	var text strings.Builder
	for _, rule := range rules {
		text.WriteString(rule.String())
		text.WriteByte('\n')
	}
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:4])
}

// streamLimits are what the stream has to keep for all rules. It counts frames, of which each has a
// message at least, and one more than a topic keeps shows that nothing has gone between.
func streamLimits(rules []topic.Rule, c *HistoryConfig) StreamLimits {
	l := StreamLimits{Bytes: c.Total, File: c.File}
	if l.Bytes <= 0 {
		l.Bytes = DefaultHistoryTotal
	}
	for _, r := range rules {
		if r.Count > 0 {
			l.PerSubject, l.Age = max(l.PerSubject, int64(r.Count)+1), max(l.Age, r.Age)
		}
	}
	return l
}

// DefaultHistoryTotal is the zero HistoryConfig.Total, in bytes.
const DefaultHistoryTotal = 256 << 20

// bindHistory has the log know the rules, once there is one.
func (n *Node) bindHistory() {
	if n.history == nil {
		return
	}
	n.history.limits = func() StreamLimits { return streamLimits(n.rules.get().Rules, &n.config.History) }
	n.history.rule(n.rules.get())
}

// SetHistory says which topics have history by this node's settings, as the engine has it. The log is
// made, or keeps more, if need be.
func (n *Node) SetHistory(l engine.HistoryLimits) {
	n.rules.set(l)
	if n.history != nil {
		n.history.rule(l)
		n.Announce()
	}
}

// rule takes other rules.
func (h *history) rule(l engine.HistoryLimits) {
	total := l.Total
	if total <= 0 {
		total = engine.DefaultHistoryTotal
	}
	h.total.Store(total)
	h.wanted.Store(len(l.Rules) > 0)
	h.mu.Lock()
	h.missing = true
	h.mu.Unlock()
	h.follower.post(func() error { h.follower.rule(); return nil })
	h.wake()
}

// rule leaves topics that have no history any more, and has those be followed that have one now.
func (f *follower) rule() {
	var some []*ownTopic
	for _, o := range f.h.t.ours.all() {
		switch keeps := f.h.keeps([]byte(o.name)); {
		case keeps && o.following == nil:
			some = append(some, o)
		case !keeps && o.following != nil:
			f.leave(o)
		}
	}
	if len(some) > 0 && f.h.t.connected.Load() {
		f.h.join(some)
	}
}

// openHistory looks at the log at the node's start.
func (n *Node) openHistory(ctx context.Context) error {
	if n.history == nil || !n.history.wanted.Load() {
		return nil
	}
	deadline := time.Now().Add(claimTimeout)
	for {
		n.history.reachable.Store(true)
		err := n.history.open(ctx)
		if st, _ := n.history.lastState(); err == nil && len(st.Wrong)+len(st.Low) > 0 {
			err = n.history.mend(ctx)
		}
		if p, ok := n.history.stream.(prober); ok && err == nil {
			err = p.Probe(ctx)
		}
		if err == nil || final(err) || !n.config.Control.Connected() || time.Now().After(deadline) {
			if err != nil && !final(err) {
				n.log.Warn("the log of histories does not answer: topics with history can be published to when it does", "err", err)
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(claimPause):
		}
	}
}

// Append implements engine.Log.
func (n *Node) Append(name, records []byte, count int, done func(topic.Position, error)) {
	n.history.Append(name, records, count, done)
}

// Full implements engine.Log.
func (n *Node) Full(name []byte) bool { return n.history.Full(name) }

// Away implements engine.Log.
func (n *Node) Away() error { return n.history.Away() }

// Now implements engine.Log.
func (n *Node) Now() time.Time { return n.config.now() }

// Fetch implements engine.Log.
func (n *Node) Fetch(
	name string, after topic.Position, since int64, before uint64, done func(engine.Fill, error),
) {
	n.history.Fetch(name, after, since, before, done)
}

// differ are the other nodes whose rules of history are not this one's.
func (n *Node) differ() (ids []uint8) {
	own := n.rules.hash()
	for _, m := range n.Members() {
		if m.History != own {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// warnOfRules warns, once for each state, of nodes with other rules. It is count's.
func (n *Node) warnOfRules() {
	text := ""
	if ids := n.differ(); n.history != nil && len(ids) > 0 {
		text = fmt.Sprint(ids)
	}
	if text != "" && text != n.warned {
		n.log.Warn("other gateways have other rules of history: their messages, or this one's, come without",
			"gateways", text)
	}
	n.warned = text
}

// historyStatus are lines for people.
func (n *Node) historyStatus() (list []string) {
	if n.history == nil {
		return nil
	}
	if n.history.wanted.Load() {
		for _, line := range n.history.status() {
			list = append(list, "history: "+line)
		}
	}
	if ids := n.differ(); len(ids) > 0 {
		list = append(list, fmt.Sprintf("history: gateways %v have other rules: all must have the same", ids))
	}
	return list
}

package cluster

import (
	"cmp"
	"fmt"
	"time"
)

// Members are the other nodes, by id. The slice must not be changed.
func (n *Node) Members() []Member { return n.nodes.all() }

// Self is the node as the others know it.
func (n *Node) Self() Member {
	c := n.claim()
	return Member{
		ID: n.config.Self, Incarnation: n.config.Incarnation, Address: c.Address, Version: c.Version,
		Since: n.since, Workers: c.Workers, History: c.History,
	}
}

// Name is the cluster's.
func (n *Node) Name() string { return n.config.Name }

// Ready says why clients should not be sent here, nil: they may. A NATS that is away is no reason,
// once the node has had its server id: it may be away for all.
func (n *Node) Ready() error {
	n.mu.Lock()
	waits := n.waits
	n.mu.Unlock()
	switch err := n.refused(); {
	case n.Err() != nil:
		return n.Err()
	case err != nil:
		return err
	case waits != nil:
		return fmt.Errorf("no server id yet: %w", cmp.Or(n.trouble(), waits))
	}
	return nil
}

// A reporter is a Bus that says more of its connection.
type reporter interface {
	status() string
	trouble() error
	counts() ConnStats
}

func (n *Node) buses() [2]Bus { return [2]Bus{n.config.Data, n.config.Control} }

// trouble is why there is no connection, nil if it is not known.
func (n *Node) trouble() error {
	for _, b := range n.buses() {
		if r, ok := b.(reporter); ok && r.trouble() != nil {
			return r.trouble()
		}
	}
	return nil
}

// refused is why the server does not let the node in, nil: it does, or is away.
func (n *Node) refused() error {
	for _, b := range n.buses() {
		if r, ok := b.(reporter); ok {
			if err := r.trouble(); err != nil && isRefusal(err) {
				return &RefusedError{err}
			}
		}
	}
	return nil
}

// Status are lines for people.
func (n *Node) Status() []string {
	var list []string
	for i, b := range n.buses() {
		status := "connected"
		if !b.Connected() {
			status = "not connected"
		}
		if r, ok := b.(reporter); ok {
			status = r.status()
		}
		list = append(list, [...]string{dataRole, controlRole}[i]+": "+status)
	}
	suspects := 0
	for _, m := range n.Members() {
		if m.Suspect {
			suspects++
		}
	}
	if n.names != nil {
		list = append(list, "users and uniqIds: "+n.names.status())
	}
	if s := n.keyStatus(); s != "" {
		list = append(list, s)
	}
	if s := n.lease.status(); s != "" {
		list = append(list, s)
	}
	if s := n.sessions.status(); s != "" {
		list = append(list, s)
	}
	for _, c := range n.checkers() {
		if s := c.unfit(); s != "" {
			list = append(list, s)
		}
	}
	if s := n.config.clock.status(); s != "" {
		list = append(list, s)
	}
	list = append(list, n.historyStatus()...)
	return append(list, fmt.Sprintf("other nodes: %d, %d of them suspect", len(n.Members()), suspects))
}

// A ConnStats counts what became of a connection.
type ConnStats struct {
	Connected                       bool
	Disconnects, Reconnects, Errors uint64
	Denied                          uint64 // things that the server did not allow
	Dropped                         uint64 // messages that have arrived and were not taken
}

// Stats are a Node's counters.
type Stats struct {
	Data, Control ConnStats
	Nodes         int // that are there, with this one if it has its id
	Suspect       int
	OtherKeys     int           // other nodes with another session key, or none, if this one has one
	Held          bool          // the server id
	Renewed       time.Duration // since the lease was renewed
	RenewFailures uint64
	Unfit         int           // buckets that are not as they have to be
	ClockOffset   time.Duration // by which the machine's clock is ahead of NATS's
	Topics        TopicsStats
	History       HistoryStats
	Differ        int // other nodes whose rules of history are not this one's
	Names         NameStats
	Sessions      SessionStats // zero where they are not resumed elsewhere
	Commands      RPCStats
}

// Stats returns the counters.
func (n *Node) Stats() Stats {
	s := Stats{
		Held: n.lease.held.Load(), RenewFailures: n.lease.failures.Load(), Topics: n.plane.stats(),
		Commands: n.rpc.counts(), OtherKeys: len(n.otherKeys()), ClockOffset: n.config.clock.offset(),
	}
	if at := n.lease.renewed.Load(); at != 0 {
		s.Renewed = max(time.Since(time.Unix(0, at)), 0)
	}
	if n.names != nil {
		s.Names = n.names.stats()
	}
	for _, c := range n.checkers() {
		if c.unfit() != "" {
			s.Unfit++
		}
	}
	s.Sessions = n.sessions.counts()
	s.History, s.Differ = n.history.stats(), len(n.differ())
	for _, m := range n.Members() {
		s.Nodes++
		if m.Suspect {
			s.Suspect++
		}
	}
	if s.Held {
		s.Nodes++
	}
	for i, b := range n.buses() {
		c := [...]*ConnStats{&s.Data, &s.Control}[i]
		if r, ok := b.(reporter); ok {
			*c = r.counts()
		}
		c.Connected, c.Dropped = b.Connected(), b.Dropped()
	}
	return s
}

package cluster

import (
	"slices"
	"sync"
	"time"

	"github.com/sluicenet/sluice/session"
)

// A uniqId begins with the server id of the node that has made it, so that it is known where its client
// is: but for strays. A stray is a uniqId that begins with another node's server id, because a worker or
// a client has chosen it: a token for it was given out there, or a client that came back here was given
// the one it had there. A node tells the others of which nodes it has, or has had, strays: what is for one
// of those nodes' clients goes to it, too. There are none in most clusters, and then that costs nothing.

// straysTag is the first byte of what a node says of its strays to others. What follows is a server id
// each. It is none of those of names, sessions and workers' commands.
const straysTag = 'M'

// straysWait is how long the others may take to note it.
const straysWait = 500 * time.Millisecond

// strays are the server ids of whose nodes' uniqIds this node has had some.
type strays struct {
	mu      sync.Mutex
	of      idSet
	unsaid  int      // times that not all others know of yet
	waiters []func() // until it is 0
}

// servers returns the ids, in order.
func (s *strays) servers() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of.list()
}

// named notes a uniqId that somebody has chosen here. It does not block.
func (n *Node) named(id string) {
	server, _, made := session.ParseID(id)
	if !made || server == n.config.Self {
		return
	}
	s := &n.strays
	s.mu.Lock()
	if s.of.has(server) {
		s.mu.Unlock()
		return
	}
	s.of.add(server)
	s.unsaid++
	s.mu.Unlock()
	n.log.Info("a client here has a uniqId that is like those of another node", "node", server)
	n.lease.lookNow() // for those who come later
	n.rpc.ask(nil, []byte{straysTag, server}, straysWait, func(node uint8, _ []byte, err error) {
		if err != nil {
			n.log.Warn("a node does not know yet that a uniqId like its own or another's is here", "node", node, "err", err)
		}
	}, func() {
		s.mu.Lock()
		var due []func()
		if s.unsaid--; s.unsaid == 0 {
			due, s.waiters = s.waiters, nil
		}
		s.mu.Unlock()
		for _, f := range due {
			f()
		}
	})
}

// WhenNamed has f called once, on any goroutine, when the other nodes know where the clients are that were
// given uniqIds here by now, or have not said so in time. It returns false if they do, and f is not called.
func (n *Node) WhenNamed(f func()) (later bool) {
	s := &n.strays
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsaid == 0 {
		return false
	}
	s.waiters = append(s.waiters, f)
	return true
}

// serveStrays takes what another node says of its strays. It reports false for what others say.
func (n *Node) serveStrays(from uint8, payload []byte, answer func([]byte)) bool {
	if len(payload) == 0 || payload[0] != straysTag {
		return false
	}
	n.nodes.strayed(from, payload[1:])
	if answer != nil {
		answer(nil)
	}
	return true
}

// Holders are the other nodes that may have a client whose uniqId begins with a server id, in order.
func (n *Node) Holders(server uint8) []uint8 {
	all := n.nodes.all()
	var ids []uint8
	there := server == n.config.Self
	for i := range all {
		m := &all[i]
		if m.ID == server || m.strays.has(server) {
			ids = append(ids, m.ID)
		}
		there = there || m.ID == server
	}
	if there {
		return ids
	}
	return n.Nodes() // whose clients may be anywhere
}

// strayed notes that a node has uniqIds like those of others.
func (n *nodes) strayed(id uint8, servers []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := slices.Clone(n.all())
	for i := range list {
		if m := &list[i]; m.ID == id {
			for _, s := range servers {
				m.strays.add(s)
			}
		}
	}
	n.list.Store(&list)
}

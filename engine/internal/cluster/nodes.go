package cluster

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Member is a node as the others know it.
type Member struct {
	ID          uint8  // its server id
	Incarnation uint64 // of the process, never 0
	Address     string // for people
	Version     string
	Since       time.Time // when it has taken its id
	Workers     []int     // the ids of workers that take clients' requests there
	History     string    // tells its rules of history from others; empty: it has none
	Suspect     bool      // it has not renewed its lease for a while, and others have

	strays  idSet  // see strays.go
	keyMark string // see sessionkey.go; empty: it has no session key
}

// nodes is the table of who is there, without the node itself. Readers take no lock.
type nodes struct {
	mu   sync.Mutex // held by who changes list
	list atomic.Pointer[[]Member]
	// joins is how often a process has come into the table. It changes behind list.
	joins atomic.Uint64
}

// all returns the members, by id. The slice must not be changed.
func (n *nodes) all() []Member {
	if p := n.list.Load(); p != nil {
		return *p
	}
	return nil
}

// find returns the member with an id.
func (n *nodes) find(id uint8) (Member, bool) {
	for _, m := range n.all() {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// knows reports whether a frame's sender is in the table.
func (n *nodes) knows(from origin) bool {
	m, ok := n.find(from.id)
	return ok && m.Incarnation == from.incarnation
}

// put adds a member, or replaces the one with its id. What strays a process has once had it may have.
func (n *nodes) put(m Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old, _ := n.find(m.ID)
	if old.Incarnation == m.Incarnation {
		m.strays.addAll(&old.strays)
	}
	list := slices.DeleteFunc(slices.Clone(n.all()), func(o Member) bool { return o.ID == m.ID })
	list = append(list, m)
	slices.SortFunc(list, func(a, b Member) int { return int(a.ID) - int(b.ID) })
	n.list.Store(&list)
	if old.Incarnation != m.Incarnation {
		n.joins.Add(1)
	}
}

// remove takes the member with an id away.
func (n *nodes) remove(id uint8) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(n.all()), func(o Member) bool { return o.ID == id })
	n.list.Store(&list)
}

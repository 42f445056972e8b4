package gateway

import (
	"container/heap"
	"slices"
	"unsafe"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
)

// A lease is a login that ends by itself or can be taken back, of a connection that is online.
type lease struct {
	ref   engine.Ref
	until int64  // unix milliseconds; endless when only proof matters
	proof uint64 // see login.Revocable; 0: nothing
}

const endless = 1<<63 - 1

// leases are those of one loop's connections, as a heap by until. They belong to the loop.
type leases struct {
	list  []lease
	index map[engine.Ref]int32 // in list
}

// leaseSize is what a lease costs, in bytes: its place in the list, and in the map with the room that
// a map has to spare.
const leaseSize = int64(unsafe.Sizeof(lease{})) + 2*int64(unsafe.Sizeof(engine.Ref(0))+4)

func (ls *leases) Len() int           { return len(ls.list) }
func (ls *leases) Less(i, j int) bool { return ls.list[i].until < ls.list[j].until }
func (ls *leases) Push(any)           {} // add and remove do without
func (ls *leases) Pop() any           { return nil }

func (ls *leases) Swap(i, j int) {
	ls.list[i], ls.list[j] = ls.list[j], ls.list[i]
	ls.index[ls.list[i].ref], ls.index[ls.list[j].ref] = int32(i), int32(j)
}

func (ls *leases) add(l lease) {
	if ls.index == nil {
		ls.index = make(map[engine.Ref]int32)
	}
	ls.index[l.ref] = int32(len(ls.list))
	ls.list = append(ls.list, l)
	heap.Fix(ls, len(ls.list)-1)
}

func (ls *leases) remove(ref engine.Ref) bool {
	at, ok := ls.index[ref]
	if !ok {
		return false
	}
	i, last := int(at), len(ls.list)-1
	ls.Swap(i, last)
	ls.list = ls.list[:last]
	delete(ls.index, ref)
	if i < last {
		heap.Fix(ls, i)
	}
	if last == 0 {
		ls.list, ls.index = nil, nil // a map does not shrink
	}
	return true
}

// due removes a lease that is over at ms and returns it; ok is false when there is none.
func (ls *leases) due(ms int64) (l lease, ok bool) {
	if len(ls.list) == 0 || ls.list[0].until > ms {
		return l, false
	}
	l = ls.list[0]
	return l, ls.remove(l.ref)
}

// grantOf is what a session rests on when a provider has said who its client is.
func grantOf(identity *login.Identity) session.Login {
	l := session.Login{User: identity.User, Proof: identity.Proof}
	if !identity.Expires.IsZero() {
		l.Until = identity.Expires.UnixMilli()
	}
	return l
}

// holds reports whether a login is still good: its time is not over, and it was not taken back.
func (g *Gateway) holds(l session.Login) bool {
	return (l.Until == 0 || l.Until > g.now().UnixMilli()) && (l.Proof == 0 || g.revocable == nil || g.revocable.Holds(l.Proof))
}

// lease notes when c's login ends, or for what it was granted.
func (g *Gateway) lease(c *engine.Conn, l session.Login) {
	if l.Until == 0 && (l.Proof == 0 || g.revocable == nil) {
		return
	}
	if l.Until == 0 {
		l.Until = endless
	}
	g.Scratch(c.Loop()).leases.add(lease{c.Ref(), l.Until, l.Proof})
	g.leased.Add(1)
}

// unlease forgets the lease of a connection that ends.
func (g *Gateway) unlease(c *engine.Conn) {
	if g.Scratch(c.Loop()).leases.remove(c.Ref()) {
		g.leased.Add(-1)
	}
}

// leasesAtOnce bounds what a loop does in one step.
const leasesAtOnce = 256

// endLeases ends the logins of loop i whose time is over. It is called on the loop.
func (g *Gateway) endLeases(i int) {
	ms := g.now().UnixMilli()
	for range leasesAtOnce {
		over, ok := g.scratch[i].leases.due(ms)
		if !ok {
			return
		}
		g.leased.Add(-1)
		g.end(over.ref, engine.ReasonLoginExpired)
	}
	g.engine.TellLoop(i, func() { g.endLeases(i) })
}

// end closes a connection whose login is over, unless connections are to be kept.
func (g *Gateway) end(ref engine.Ref, why engine.Reason) {
	if g.Config().KeepRevoked {
		return
	}
	g.engine.Tell(ref, func(c *engine.Conn) {
		if c != nil {
			c.Close(why)
		}
	})
}

// Revalidate closes the connections of logins that their provider, a login.Revocable, has taken back,
// unless Config.KeepRevoked says otherwise. It returns before they are closed. Any goroutine may call
// it, after Reload for one.
func (g *Gateway) Revalidate() {
	if g.revocable == nil || g.Config().KeepRevoked {
		return
	}
	for i := range g.scratch {
		g.engine.TellLoop(i, func() {
			all := slices.Clone(g.scratch[i].leases.list)
			go g.endRevoked(all)
		})
	}
}

// endRevoked is called off the loops: a provider of others may take its time.
func (g *Gateway) endRevoked(all []lease) {
	for _, l := range all {
		if l.proof != 0 && !g.revocable.Holds(l.proof) {
			g.end(l.ref, engine.ReasonLoginRevoked)
		}
	}
}

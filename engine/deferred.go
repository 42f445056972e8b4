package engine

import (
	"slices"
	"sync/atomic"
)

// A client's publish that has to wait, because the crowd of its receivers is congested or a loop has
// no room, is deferred, and the client is not read meanwhile: it is slowed down, and nobody else on
// the loop is.

// deferred are a loop's publishes that wait, oldest first.
type deferred struct {
	list  []deferredPublish
	count atomic.Int32 // len(list), for other loops
	// debts are what the loop's clients owe, of those that have had to wait.
	debts   map[Ref]*debt
	nothing debt
	// blocked are the sources of which something is kept in the present pass: what follows stays
	// behind it.
	blocked map[Ref]struct{}
	freed   []Ref // the sources of which something went
}

type deferredPublish struct {
	run   *run
	from  Ref
	since int64 // ms
	bytes int64
	wait  wait
}

const (
	// deferredEvery is how many ms pass before a loop looks again whether what is deferred may go.
	deferredEvery = 2
	// deferAtMost is how many ms a publish is deferred because a loop takes nothing. Nobody waits for
	// it meanwhile but its client, so it may be long: a message is lost when it is over.
	deferAtMost = 10_000
	// deferredSize is what a deferred publish costs beside its run's bytes.
	deferredSize = 512
	// maxDebts is when debts that are paid off are forgotten: 100 KiB of them.
	maxDebts = 1024
)

// debt returns what a client owes. What is charged to one that has never had to wait is forgotten.
func (d *deferred) debt(from Ref) *debt {
	if owed := d.debts[from]; owed != nil {
		return owed
	}
	d.nothing = debt{}
	return &d.nothing
}

// deferPublish keeps r until its time has come. Nothing else that c sends is handled before.
func (l *Loop) deferPublish(r *run, c *Conn) {
	d := &l.deferred
	now := l.engine.Now()
	l.stats.waits.Add(1)
	d.list = append(d.list, deferredPublish{run: r, from: c.Ref(), since: now, bytes: r.memory(), wait: wait{begun: now}})
	d.count.Store(int32(len(d.list)))
	if d.debts == nil {
		d.debts, d.blocked = make(map[Ref]*debt), make(map[Ref]struct{})
	}
	if d.debts[c.Ref()] == nil {
		if len(d.debts) >= maxDebts {
			for ref, owed := range d.debts {
				if owed.owed(now) == 0 && owed.deferred == 0 {
					delete(d.debts, ref)
				}
			}
		}
		d.debts[c.Ref()] = new(debt)
	}
	l.accounts.add(KindDeferred, deferredSize)
	d.debts[c.Ref()].deferred += r.memory()
	c.flags |= flagDeferred
	l.weigh(c)
	l.tickIn(deferredEvery)
}

// wakeDeferred has the other loops look at what they have deferred: l has room again, or nobody on it
// is congested.
func (e *Engine) wakeDeferred(l *Loop) {
	for _, other := range e.loops {
		if fault != 13 && other != l && other.deferred.count.Load() > 0 {
			other.mailbox.postTick()
		}
	}
}

// runDeferred lets go what may. It is called within a turn, before input that was not read is
// handled.
func (l *Loop) runDeferred() {
	d := &l.deferred
	if len(d.list) == 0 {
		return
	}
	kept := d.list[:0]
	clear(d.blocked)
	d.freed = d.freed[:0]
	now := l.engine.Now()
	if fault == 5 {
		slices.Reverse(d.list)
	}
	for i := range d.list {
		p := d.list[i]
		if _, ok := d.blocked[p.from]; ok || !l.letGo(&p, now) {
			d.blocked[p.from] = struct{}{}
			kept = append(kept, p)
			continue
		}
		d.debt(p.from).deferred -= p.bytes
		d.freed = append(d.freed, p.from)
		l.accounts.add(KindDeferred, -deferredSize)
	}
	clear(d.list[len(kept):])
	d.list = kept
	d.count.Store(int32(len(kept)))
	for _, ref := range d.freed {
		if _, ok := d.blocked[ref]; ok {
			continue
		}
		if c := l.conn(ref); c != nil && c.flags&flagDeferred != 0 {
			c.flags &^= flagDeferred
			l.weigh(c)
			l.resume(c)
		}
	}
	if len(kept) > 0 && fault != 13 {
		l.tickIn(deferredEvery)
	}
}

// abandoned reports whether a client has left, or closed its side, behind what it has published:
// nobody can be held to account for it any more.
func (l *Loop) abandoned(from Ref) bool {
	c := l.conn(from)
	return c == nil || c.flags&flagDetached != 0
}

// letGo makes a deferred publish the run under way if it may go now, or drops it when a loop has
// taken nothing for too long. What clients have left behind does not wait when the total is used up:
// it goes on the accounts of its receivers. It reports false when the publish has to wait on.
func (l *Loop) letGo(p *deferredPublish, now int64) bool {
	if l.output.pending { // there is another turn soon
		return false
	}
	s := l.publisher.see(&p.run.to)
	mayGo := !s.elsewhere && p.wait.mayGo(&s, l.deferred.debt(p.from), now)
	if !mayGo && !(l.engine.overfull() && l.abandoned(p.from)) {
		return false
	}
	if s.full {
		if now-p.since < deferAtMost {
			return false
		}
		l.stats.dropped[DropMailboxFull].Add(1)
		l.engine.log.Warn("a publish was dropped: a loop takes nothing", "topic", string(p.run.to.name))
		l.publisher.recycle(p.run)
		return true
	}
	l.publisher.Flush()
	l.publisher.open = p.run // open for what its client sends next
	return true
}

// abandon gives up what is deferred, when the loop has stopped.
func (d *deferred) abandon(pb *Publisher) {
	for i := range d.list {
		pb.recycle(d.list[i].run)
		pb.account(KindDeferred, -deferredSize)
	}
	d.list = nil
	d.count.Store(0)
}

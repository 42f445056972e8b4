package engine

// RefuseNew has connections that come from now on refused with ReasonMemory, as those over
// Limits.MaxConnections are, or has them taken again. Connections that are there go on. Any goroutine
// may call it.
func (e *Engine) RefuseNew(refuse bool) { e.refuseNew.Store(refuse) }

// squeezePart bounds what Squeeze asks for at a time: below a quarter, from which the age of what a
// connection has unsent does not count any more (urgentPart).
const squeezePart = 8

// Squeeze has connections closed with ReasonMemory as if the total (Limits.BacklogTotal) were what is
// kept now, less so many bytes, an eighth of it at most: those with the largest accounts that have
// been above the high-water mark for 2 s. A later call replaces an earlier one; with 0 the total is
// what it was. Any goroutine may call it, once Start has returned.
func (e *Engine) Squeeze(bytes int64) {
	if bytes <= 0 {
		e.squeezed.Store(0)
		return
	}
	now := e.total.Load()
	e.squeezed.Store(max(now-min(bytes, now/squeezePart), 1))
	for _, l := range e.loops {
		l.mailbox.postTick()
	}
}

// backlogTotal returns the bytes that may be kept for connections, and for what those are closed that
// exceed it.
func (e *Engine) backlogTotal() (limit int64, why Reason) {
	limit, why = e.limits.Load().BacklogTotal, ReasonBacklogTotal
	if s := e.squeezed.Load(); s > 0 && s < limit {
		limit, why = s, ReasonMemory
	}
	return limit, why
}

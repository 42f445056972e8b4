package engine

// The promises, as far as they can be looked at from outside at any moment. P5, P6 and P7 are in
// simClient.line and push, where what arrives is compared with what must.

// check is done every so many steps.
func (w *simWorld) check() {
	if w.failure != "" {
		return
	}
	w.checkAccounts()
	w.checkResets()
	w.checkDeferred()
	if n := w.engine.Stats().Panics; n > 0 {
		w.fail("%d panics", n)
	}
}

// checkAccounts is P1: counters, sums and totals equal the truth.
func (w *simWorld) checkAccounts() {
	inFlight := int64(0)
	for _, k := range w.workers {
		if k.calls > 0 {
			size := int64(1 << 10)
			for size < int64(k.bytes+overhead) {
				size *= 4
			}
			inFlight += size * int64(max(w.opt.dialects, 1))
		}
	}
	if err := simAccounts(w, inFlight); err != nil {
		w.fail("P1: %v", err)
	}
}

// checkResets is P8: a reset is noticed within 1 s of the time that the loops have a core.
func (w *simWorld) checkResets() {
	kept := w.resets[:0]
	for _, f := range w.resets {
		if f.open == 0 {
			continue
		}
		if f.loop.stuck > w.clock {
			f.brokenAt = w.fair()
		}
		if w.fair()-f.brokenAt > simSecond && w.onLoop == nil {
			c := "gone"
			for _, h := range w.handlers {
				if h.file == f {
					if k := simConnOf(w.engine, h.ref); k != nil {
						c = simDescribe(k)
					}
				}
			}
			w.fail("P8: a reset of client %d (%s) was not noticed for %d ms: %s", f.client.index, f.client.kind, (w.fair()-f.brokenAt)/1000, c)
			return
		}
		kept = append(kept, f)
	}
	w.resets = kept
}

// checkClose looks at the end of a connection: is its reason one that the engine may have?
func (w *simWorld) checkClose(h *simHandler, c *Conn, why Reason) {
	w.closes[why]++
	w.mix(uint64(why)<<32 | uint64(h.ref))
	f, k := h.file, h.client
	clientEnded := f.finIn || f.finAsked || f.gone || f.broken != 0
	switch why {
	case ReasonPeerClosed:
		if !clientEnded {
			w.fail("P8: client %d (%s) is said to have closed", k.index, k.kind)
		}
		if f.finIn && f.broken == 0 && !f.cut && h.lines != f.lines {
			w.fail("P8: client %d (%s) has closed behind %d lines, of which %d are handled", k.index, k.kind, f.lines, h.lines)
		}
	case ReasonWriteError:
		if f.broken == 0 && !f.closedLocally() {
			w.fail("P8: client %d (%s) is closed for a write error", k.index, k.kind)
		}
	case ReasonShutdown:
		if !w.allClosing {
			w.fail("client %d is closed for a shutdown", k.index)
		}
	case ReasonClientClose:
	case ReasonSlowConsumer, ReasonBacklogTotal: // see checkCut
	case ReasonInputBacklog:
		if w.canPause {
			w.fail("P4: client %d (%s) is closed for its input, which could have been paused", k.index, k.kind)
		}
	default:
		w.fail("client %d (%s) is closed: %v", k.index, k.kind, why)
	}
}

// checkComplete is done when all has come to rest: every client that is still there has received
// everything that it must.
func (w *simWorld) checkComplete() {
	for _, c := range w.clients {
		h := c.handler
		if c.file == nil || h == nil || h.closed {
			continue
		}
		if c.answered != c.asked {
			w.fail("P5: client %d (%s) has %d answers to %d requests", c.index, c.kind, c.answered, c.asked)
			return
		}
		for s, n := range h.asked {
			if c.mailed[s] != n {
				w.fail("P5: client %d (%s) has %d answers of worker %d to %d requests", c.index, c.kind, c.mailed[s], s, n)
				return
			}
		}
		if c.lossy || w.hasLost() {
			continue
		}
		if c.pushed != h.pushes {
			w.fail("P6: client %d (%s) has %d of %d pushes that it asked for", c.index, c.kind, c.pushed, h.pushes)
			return
		}
		for t := range c.subs {
			if !c.subs[t].active {
				continue
			}
			for s, next := range c.subs[t].next {
				if end := w.published[s][t] + 1; next != end && (next+1 != end || c.subs[t].either&(1<<s) == 0) {
					w.fail("P6: client %d (%s) misses %d to %d of source %d on topic %d", c.index, c.kind, next, w.published[s][t], s, t)
					return
				}
			}
		}
	}
}

// hasLost reports whether a publish was dropped because a loop took nothing for 10 s, which the
// clock's jumps can bring about.
func (w *simWorld) hasLost() bool { return w.engine.Stats().Dropped[DropMailboxFull] > 0 }

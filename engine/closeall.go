package engine

import "time"

// There is no word that a client would understand in the middle of a TLS handshake. So one that has begun
// goes on, and its client is refused behind it as others are. Before that an alert says it.

// CloseAll closes every connection for the given reason, with final words. It does not wait. Those that
// are refused are closed for that once they are answered, within a second. TLS handshakes under way may
// come to their end, within Config.Linger and their own time; then they are refused as well. Whose
// ClientHello is not whole, or waits for its turn, gets an alert.
func (e *Engine) CloseAll(why Reason) {
	e.refusals.until.CompareAndSwap(0, e.Now()+refuseTime.Milliseconds())
	for _, l := range e.loops {
		l.mailbox.postTell(tell{fn: func(*Conn) {
			l.each(func(c *Conn) {
				if c.Open() {
					l.closeOneOfAll(c, why)
				}
			})
		}})
	}
}

func (l *Loop) closeOneOfAll(c *Conn, why Reason) {
	switch h := c.handler.(type) {
	case refusing: // it ends once it is answered
		return
	case *handshake:
		h.closeBehind(c, why)
		return
	case tlsStart:
		if !c.Listener().TLSAuto || c.input > 0 { // or nothing says yet that it speaks TLS
			c.Write(alertRecord(alertInternalError))
		}
	case proxied:
		if from := c.Listener(); from.TLS != nil && !from.TLSAuto {
			c.Write(alertRecord(alertInternalError))
		}
	}
	c.Close(why)
}

// endHandshakes ends the handshakes that CloseAll has let go on.
func (e *Engine) endHandshakes() {
	for _, l := range e.loops {
		l.mailbox.postTell(tell{fn: func(*Conn) {
			l.each(func(c *Conn) {
				if h, ok := c.handler.(*handshake); ok && h.closing && c.Open() {
					h.OnDeadline(c)
				}
			})
		}})
	}
}

// handshakesEnd is when WaitClosed ends handshakes: three quarters into its time, so that their clients
// hear of it. Nil: there is no end to that.
func handshakesEnd(deadline time.Time, ok bool) <-chan time.Time {
	if !ok {
		return nil
	}
	return time.After(time.Until(deadline) * 3 / 4)
}

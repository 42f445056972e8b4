package engine

import "time"

// A new connection goes through stages before its protocol has it. Each is a Handler in a file of its
// own, handles the bytes that are its affair, and then has the next one take over by Loop.enter. It
// returns to the pump then: what follows is shown to the next.

// A stage is one of them, in the order in which they come.
type stage uint8

const (
	stageProxy stage = iota // the PROXY header
	stageTLS                // its handshake, where there is one
	stageSniff              // which protocol it is
)

// A newcomer is the Handler of a stage.
type newcomer interface {
	Handler
	newcomer()
}

// unknown is what stages have in common: no protocol is known, and so no final words.
type unknown struct{}

func (unknown) newcomer()             {}
func (unknown) Goodbye(*Conn, Reason) {}
func (unknown) OnClose(*Conn, Reason) {}

// enter puts the first stage from s on in charge that c's listener has, with the time that it may
// take.
func (l *Loop) enter(c *Conn, s stage) {
	limits := l.engine.limits.Load()
	switch from := l.engine.listenerAt(c.listener); {
	case s <= stageProxy && from.config.Proxy:
		c.handler = proxied{}
		l.schedule(c.slot, limits.ProxyTimeout)
	case s <= stageTLS && from.tls != nil:
		c.handler = tlsStart{}
		l.schedule(c.slot, limits.HandshakeTimeout)
	default:
		c.handler = sniffer{}
		l.schedule(c.slot, limits.FirstBytes)
	}
}

// outOfTime is what a stage does when its time is over: it closes c for the reason given, unless bytes
// have come that the loop has not seen yet.
func (c *Conn) outOfTime(why Reason) {
	if c.unread() {
		c.SetDeadline(tickMillis * time.Millisecond)
		return
	}
	c.Close(why)
}

package engine

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
)

// runtime.Goexit in a handler, which a test's FailNow calls, would end the goroutine that the loop
// runs on, and nobody could take its place. So handlers of protocols that do not promise better run
// in a coroutine of the loop: when one ends its goroutine, only the coroutine is lost, and what the
// handler did is over as if it had panicked. A switch there and back costs about 0.1 us.

// A Trusted is a Protocol whose handlers never end their goroutine. They are called on the loop's own.
type Trusted interface {
	Protocol
	// TrustedOnLoop is never called.
	TrustedOnLoop()
}

// Trusted reports whether the connection's protocol is Trusted.
func (c *Conn) Trusted() bool { return c.flags&flagTrusted != 0 }

// An isolation is a loop's coroutine, with the call that is under way.
type isolation struct {
	next   func() (struct{}, bool)
	stop   func()
	active bool // a call is under way
	// goroutine is the coroutine's, which has a stack of its own.
	goroutine goroutineID

	op      isolatedCall
	f       func()
	tell    func(*Conn)
	message *message
	loopOf  *Loop // of message
	conn    *Conn
	handler Handler
	b       []byte
	why     Reason
	n, need int

	returned bool
	panicked any
	stack    []byte
}

type isolatedCall uint8

const (
	callFunc isolatedCall = iota
	callTell
	callMessage
	callMail
	callOnBytes
	callOnDeadline
	callGoodbye
	callOnClose
)

var errGoexit = errors.New("engine: a handler has ended its goroutine")

// A handlerPanic is a panic in a coroutine, with the stack it happened on.
type handlerPanic struct {
	value any
	stack []byte
}

func (p handlerPanic) String() string { return fmt.Sprint(p.value) }

// Isolate calls f in the loop's coroutine, for code of others that a trusted protocol calls. A panic
// of f, and runtime.Goexit, are a panic of Isolate.
func (l *Loop) Isolate(f func()) {
	i := &l.isolation
	if i.active {
		f()
		return
	}
	i.op, i.f = callFunc, f
	i.call()
}

// onBytes and those that follow call c's handler, isolated unless its protocol is trusted.
func (l *Loop) onBytes(c *Conn, b []byte) (n, need int) {
	i := &l.isolation
	if c.flags&flagTrusted != 0 {
		return c.handler.OnBytes(c, b)
	}
	i.op, i.conn, i.handler, i.b = callOnBytes, c, c.handler, b
	i.call()
	return i.n, i.need
}

func (l *Loop) onDeadline(c *Conn) {
	i := &l.isolation
	if c.flags&flagTrusted != 0 {
		c.handler.OnDeadline(c)
		return
	}
	i.op, i.conn, i.handler = callOnDeadline, c, c.handler
	i.call()
}

func (l *Loop) onGoodbye(c *Conn, why Reason) {
	i := &l.isolation
	if c.flags&flagTrusted != 0 {
		c.handler.Goodbye(c, why)
		return
	}
	i.op, i.conn, i.handler, i.why = callGoodbye, c, c.handler, why
	i.call()
}

func (l *Loop) onClose(c *Conn, h Handler, why Reason) {
	i := &l.isolation
	if c.flags&flagTrusted != 0 {
		h.OnClose(c, why)
		return
	}
	i.op, i.conn, i.handler, i.why = callOnClose, c, h, why
	i.call()
}

// onMessage runs what a Publisher's Do, DoEach and DoOn have posted.
func (l *Loop) onMessage(m *message) {
	i := &l.isolation
	i.op, i.message, i.loopOf = callMessage, m, l
	i.call()
}

// onMail has m's Mail called, isolated unless it is trusted.
func (l *Loop) onMail(m *message, c *Conn) {
	if _, ok := m.mail.(interface{ TrustedOnLoop() }); ok {
		m.mail.OnMail(c, m.a, m.b, m.block.data)
		return
	}
	i := &l.isolation
	i.op, i.message, i.conn = callMail, m, c
	i.call()
}

// call has the coroutine make the call that is described. Calls do not nest: handlers call no
// handlers, and closing waits for the end of the step.
func (i *isolation) call() {
	if i.next == nil {
		i.next, i.stop = iter.Pull(i.loop)
	}
	i.returned, i.panicked, i.active = false, nil, true
	i.next()
	i.active = false
	i.f, i.tell, i.message, i.conn, i.handler, i.b = nil, nil, nil, nil, nil, nil
	switch {
	case i.panicked != nil:
		p := handlerPanic{i.panicked, i.stack}
		i.panicked, i.stack = nil, nil
		panic(p)
	case !i.returned:
		// The coroutine has switched back on its way out. It ends on a goroutine of its own, which
		// iter.Pull ends likewise.
		go i.stop()
		i.next, i.stop = nil, nil
		panic(errGoexit)
	}
}

// loop is the coroutine.
func (i *isolation) loop(yield func(struct{}) bool) {
	i.goroutine.note()
	stopped := false
	defer func() {
		if !stopped {
			yield(struct{}{})
		}
	}()
	for {
		i.run()
		if !yield(struct{}{}) {
			stopped = true
			return
		}
	}
}

func (i *isolation) run() {
	defer func() {
		if i.returned {
			return
		}
		if r := recover(); r != nil {
			i.panicked, i.stack = r, debug.Stack()
		}
	}()
	switch i.op {
	case callFunc:
		i.f()
	case callTell:
		i.tell(i.conn)
	case callMessage:
		i.message.fn(i.loopOf)
	case callMail:
		m := i.message
		m.mail.OnMail(i.conn, m.a, m.b, m.block.data)
	case callOnBytes:
		i.n, i.need = i.handler.OnBytes(i.conn, i.b)
	case callOnDeadline:
		i.handler.OnDeadline(i.conn)
	case callGoodbye:
		i.handler.Goodbye(i.conn, i.why)
	case callOnClose:
		i.handler.OnClose(i.conn, i.why)
	}
	i.returned = true
}

// end lets the coroutine go, when the loop has stopped.
func (i *isolation) end() {
	if i.stop != nil {
		i.stop()
		i.next, i.stop = nil, nil
	}
}

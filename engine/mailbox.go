package engine

import (
	"sync"
	"sync/atomic"
)

// A message is what another goroutine asks of a loop. Exactly one of run, fn and block is set.
type message struct {
	run *run // messages to an audience

	fn func(*Loop) // anything rare

	block *block // a push to the connection ref
	mail  Mail   // or bytes for mail, with the two numbers
	ref   Ref
	route string
	a     uint32
	b     int32
	cmd   uint8

	bytes uint32 // what counts against the mailbox's limit
}

// A Mail receives what Publisher.Mail sends.
type Mail interface {
	// OnMail is called on the loop of the addressed connection, which is nil when it is gone.
	// payload is valid until OnMail returns, which must not publish.
	OnMail(c *Conn, a uint32, b int32, payload []byte)
}

// A mailbox is the one door into a loop. Its mutex is held for a few instructions at a time:
// two slices swap.
//
// Messages are bounded in bytes and number, and kept in order. The control lane beside them is
// for what must never wait: writable notices (at most one per connection is out), the clock, and
// tells between loops (a few per login). It is not bounded here, since each source of it is.
type mailbox struct {
	mu       sync.Mutex
	messages []message
	posted   uint64 // messages so far
	writable []Ref
	tells    []tell
	tick     bool
	awake    bool // the loop knows of work, or is being woken
	closed   bool

	bytes    atomic.Int64 // of messages posted and not handled yet
	length   atomic.Int64
	maxBytes int64
	wake     func()
}

// A tell runs fn on the loop of ref, with nil when the connection is gone.
type tell struct {
	ref Ref
	fn  func(*Conn)
}

// maxMessages bounds a mailbox of tiny messages: 64 B each, so 512 KiB of bookkeeping.
const maxMessages = 8192

// full reports whether a sender should wait. One message always fits.
func (m *mailbox) full() bool {
	return m.bytes.Load() >= m.maxBytes || m.length.Load() >= maxMessages
}

// post appends msg and wakes the loop. It does not look at full: senders do that before they
// build a message. It reports false when the mailbox is closed.
func (m *mailbox) post(msg message) bool {
	posted, asleep := m.add(msg)
	if asleep {
		m.wake()
	}
	return posted
}

// add is post, but leaves it to its caller to wake the loop if it was asleep.
func (m *mailbox) add(msg message) (posted, asleep bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false, false
	}
	m.messages = append(m.messages, msg)
	m.posted++
	m.bytes.Add(int64(msg.bytes))
	m.length.Add(1)
	asleep = !m.awake
	m.awake = true
	return true, asleep
}

// postedSoFar returns how many messages were ever posted: the position of the last one.
func (m *mailbox) postedSoFar() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.posted
}

func (m *mailbox) postWritable(ref Ref) {
	m.mu.Lock()
	m.writable = append(m.writable, ref)
	m.unlockAndWake()
}

func (m *mailbox) postTick() {
	m.mu.Lock()
	m.tick = true
	m.unlockAndWake()
}

func (m *mailbox) postTell(t tell) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	m.tells = append(m.tells, t)
	m.unlockAndWake()
	return true
}

// unlockAndWake wakes the loop unless it is awake. The flag is set under the lock and the
// wake-up happens outside it.
func (m *mailbox) unlockAndWake() {
	asleep := !m.awake && !m.closed
	m.awake = true
	m.mu.Unlock()
	if asleep {
		m.wake()
	}
}

// control is what a turn takes from the control lane.
type control struct {
	writable []Ref
	tells    []tell
	tick     bool
}

// take swaps the filled slices for the emptied ones the loop used last.
func (m *mailbox) take(messages []message, c control) ([]message, control) {
	clear(messages)
	clear(c.tells)
	m.mu.Lock()
	messages, m.messages = m.messages, messages[:0]
	c.writable, m.writable = m.writable, c.writable[:0]
	c.tells, m.tells = m.tells, c.tells[:0]
	c.tick, m.tick = m.tick, false
	m.mu.Unlock()
	return messages, c
}

// takeControl is take for the control lane alone, while the loop still has messages at hand.
func (m *mailbox) takeControl(c control) control {
	clear(c.tells)
	m.mu.Lock()
	c.writable, m.writable = m.writable, c.writable[:0]
	c.tells, m.tells = m.tells, c.tells[:0]
	c.tick, m.tick = m.tick, false
	m.mu.Unlock()
	return c
}

// handled gives back the room of messages the loop is done with.
func (m *mailbox) handled(n int, bytes int64) {
	m.length.Add(int64(-n))
	m.bytes.Add(-bytes)
}

// sleep lets the next sender wake the loop. It reports false when there is work already.
func (m *mailbox) sleep() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.messages) > 0 || len(m.writable) > 0 || len(m.tells) > 0 || m.tick {
		return false
	}
	m.awake = false
	return true
}

// close makes posts fail from now on and returns what was not handled.
func (m *mailbox) close() []message {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	left := m.messages
	m.messages, m.tells, m.writable = nil, nil, nil
	return left
}

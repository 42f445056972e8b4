package engine

import "math/bits"

// A Kind says what bytes are kept for. Every byte that is kept for a connection is charged to that
// connection's account under one kind; bytes that belong to no connection are charged to the
// Engine. Each kind is a gauge (Stats.Accounts).
type Kind uint8

// The kinds. Those up to KindDeferred belong to connections and make up Config.BacklogTotal; each of
// the others has a limit of its own where it is kept.
const (
	KindUnsent     Kind = iota // replies and pushes of a connection's own, and its queue's entries
	KindShared                 // published runs: each once, however many connections have yet to send it
	KindInput                  // received and not handled: half a packet, or input that is not read for now
	KindFragments              // what a protocol has gathered of a message that is not whole
	KindReplies                // replies that wait for their turn
	KindRequests               // requests that wait for an answer
	KindTopics                 // topic names and subscriptions
	KindIdentity               // session texts, and what is known of logins
	KindHandshakes             // TLS handshakes under way
	KindDeferred               // publishes that wait, while their client is not read; their bytes are KindShared

	KindSessions    // detached sessions: their snapshots, and whose they are
	KindLinkInput   // half frames of worker links
	KindLinkQueue   // frames that wait for a worker
	KindLinkDelayed // messages that a worker wants delivered later
	KindAddresses   // what is known of clients' addresses
	KindMonitor     // what operators are shown: ended connections, rates of topics, tails
	KindTLS         // what TLS connections cost beside their unhandled input and unsent output
	KindHistory     // messages that topics keep
	KindCluster     // what waits to be sent to other nodes or was received from them, and their interest

	numKinds
)

// totalKinds are the kinds that make up Config.BacklogTotal.
const totalKinds = KindDeferred + 1

var kindNames = [numKinds]string{
	KindUnsent:      "unsent",
	KindShared:      "shared",
	KindInput:       "input",
	KindFragments:   "fragments",
	KindReplies:     "replies",
	KindRequests:    "requests",
	KindTopics:      "topics",
	KindIdentity:    "identity",
	KindHandshakes:  "handshakes",
	KindDeferred:    "deferred",
	KindSessions:    "sessions",
	KindLinkInput:   "link-input",
	KindLinkQueue:   "link-queue",
	KindLinkDelayed: "link-delayed",
	KindAddresses:   "addresses",
	KindMonitor:     "monitor",
	KindTLS:         "tls",
	KindHistory:     "history",
	KindCluster:     "cluster",
}

// String returns the name used in gauges and logs.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return "unknown"
}

// Kinds lists every Kind, for reports.
func Kinds() []Kind {
	all := make([]Kind, numKinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// accounts are a loop's sums. The loop writes them without atomics and publishes them once a step.
type accounts struct {
	now       [numKinds]int64
	published [numKinds]int64
	moved     int64 // of the total, since it was published last
	changed   bool
}

func (a *accounts) add(k Kind, n int64) {
	a.now[k] += n
	a.changed = true
	if k < totalKinds {
		a.moved += n
	}
}

// accountGrain is how far off a loop's share of the total may be while it is busy, in bytes.
const accountGrain = 64 << 10

// publishAccounts makes the loop's sums known.
func (l *Loop) publishAccounts() {
	a := &l.accounts
	if !a.changed {
		return
	}
	a.changed = false
	for k := range a.now {
		if d := a.now[k] - a.published[k]; d != 0 {
			a.published[k] = a.now[k]
			l.stats.accounts[k].Add(d)
		}
	}
	if d := a.moved; d != 0 {
		a.moved = 0
		l.engine.total.Add(d)
		if l.engine.overfull() && !l.engine.stopping.Load() {
			l.lookSoon()
		}
	}
}

// Charge adds n bytes, or takes them away when n is negative, under a kind to the connection's
// account. Whoever charges takes away the same number, at the latest in OnClose. Count what is
// allocated: the capacity of a slice, not its length. A charge may make the connection the one that
// is closed because the total is used up; that never happens within the call.
func (c *Conn) Charge(k Kind, n int) {
	c.charged += uint32(n)
	c.loop.accounts.add(k, int64(n))
	c.loop.weigh(c)
}

// Charged returns the bytes on the connection's account that others than the engine have charged.
func (c *Conn) Charged() int { return int(c.charged) }

// Charge adds n bytes that belong to no connection, or takes them away when n is negative. Any
// goroutine may call it.
func (e *Engine) Charge(k Kind, n int64) {
	e.outside.accounts[k].Add(n)
	if k < totalKinds {
		e.total.Add(n)
	}
}

// account returns the bytes that are kept for c and nobody else.
func (c *Conn) account() int64 {
	n := int64(c.own) + int64(c.entries())*entrySize + int64(c.charged) + c.inputRoom()
	if c.flags&flagDeferred != 0 {
		n += c.loop.deferred.debt(c.Ref()).deferred
	}
	if t := c.loop.tlsOf(c); t != nil {
		n += t.memory()
	}
	if c.flags&flagTrail != 0 {
		n += c.loop.trails[c.slot].memory()
	}
	return n
}

// weight is what c is judged by when the total is used up: its account, or its lag if that is more.
func (c *Conn) weight() int64 { return max(c.account(), int64(c.lag)) }

// inputRoom is how many bytes gnet has allocated to keep n unhandled ones: a power of two, at least
// 1 KiB. It keeps short input only; see longinput.go.
func inputRoom(n uint32) int64 {
	if n == 0 {
		return 0
	}
	return 1 << max(bits.Len32(n-1), 10)
}

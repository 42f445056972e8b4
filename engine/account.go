package engine

// A Kind says what bytes are kept for. Every byte that is kept for a connection is charged to that
// connection's account under one kind; bytes that belong to no connection are charged to the
// Engine. Each kind is a gauge (Stats.Accounts).
type Kind uint8

// The kinds. Those up to KindDeferred belong to connections and make up Config.BacklogTotal; each of
// the others has a limit of its own where it is kept.
const (
	KindUnsent    Kind = iota // replies and pushes of a connection's own, and its queue's entries
	KindShared                // published runs: each once, however many connections have yet to send it
	KindInput                 // received and not handled: half a packet, or input that is not read for now
	KindFragments             // what a protocol has gathered of a message that is not whole
	KindReplies               // replies that wait for their turn
	KindRequests              // requests that wait for an answer
	KindTopics                // topic names and subscriptions
	KindDeferred              // publishes that wait, while their client is not read

	KindSessions    // snapshots of detached sessions
	KindLinkInput   // half frames of worker links
	KindLinkQueue   // frames that wait for a worker
	KindLinkDelayed // messages that a worker wants delivered later

	numKinds
)

var kindNames = [numKinds]string{
	KindUnsent:      "unsent",
	KindShared:      "shared",
	KindInput:       "input",
	KindFragments:   "fragments",
	KindReplies:     "replies",
	KindRequests:    "requests",
	KindTopics:      "topics",
	KindDeferred:    "deferred",
	KindSessions:    "sessions",
	KindLinkInput:   "link-input",
	KindLinkQueue:   "link-queue",
	KindLinkDelayed: "link-delayed",
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

// Charge adds n bytes, or takes them away when n is negative, under a kind to the connection's
// account. Whoever charges takes away the same number, at the latest in OnClose. Count what is
// allocated: the capacity of a slice, not its length. A charge may make the connection the one that
// is closed because the total is used up; that happens at the end of the turn, not within the call.
func (c *Conn) Charge(k Kind, n int) {
	c.charged += int32(n)
	c.loop.stats.accounts[k].Add(int64(n))
}

// Charged returns the bytes on the connection's account that others than the engine have charged.
func (c *Conn) Charged() int { return int(c.charged) }

// Charge adds n bytes that belong to no connection, or takes them away when n is negative. Any
// goroutine may call it.
func (e *Engine) Charge(k Kind, n int64) { e.outside.accounts[k].Add(n) }

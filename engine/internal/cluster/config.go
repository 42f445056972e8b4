package cluster

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// Config sets up a Node.
type Config struct {
	// Name is the cluster's; see CheckName.
	Name string
	// Self is the node's server id.
	Self uint8
	// Incarnation tells this process from others that have had its id. Zero: New chooses one.
	Incarnation uint64
	// Address says where the node is, and Version what it is, for people who look at the table of nodes.
	// Workers are the ids of workers that take clients' requests here. The functions are called once a
	// second; nil ones say nothing.
	Address func() string
	Version string
	Workers func() []int
	// Data and Control are its two connections, and Nodes is the bucket of leases. They are the Node's
	// from New on, and should be connected, or connecting, when it starts.
	Data, Control Bus
	Nodes         Store
	// Names is the bucket that keeps users, chosen uniqIds and the limits of connections apart. Nil: each
	// node does so for itself.
	Names Store
	// Sessions is the bucket of the sessions that clients may resume on other nodes; see
	// Node.ShareSessions. Nil: each node has its own.
	Sessions Store
	// History is about topics with history.
	History HistoryConfig
	// Engine gets what others publish; Bind sets it.
	Engine *engine.Engine
	// Queue is how many bytes may wait to be sent, per connection, before publishers wait. Zero means
	// 8 MiB.
	Queue int
	// Window is how many bytes of a topic the slowest node may be behind before its publishers wait; all
	// topics together may be WindowTotal divided by the number of nodes. Zero means 4 MiB and 32 MiB.
	Window, WindowTotal int
	// BarrierTimeout is how long a subscription waits for the other nodes to know of it before those that
	// have not answered are told that they are going to be excluded, and how long it waits for them behind
	// that. Zero means 250 ms.
	BarrierTimeout time.Duration
	// Linger is how long interest in a topic is kept behind its last subscriber. Zero means 10 s.
	Linger time.Duration
	// Logger receives what an operator should know. Nil discards.
	Logger *slog.Logger

	wall  func() time.Time // the machine's clock; nil: time.Now
	clock *clock           // NATS's; nil: the machine's is taken for it
}

// now is what NATS's clock says, as far as that is known.
func (c *Config) now() time.Time {
	if c.clock == nil {
		return time.Now()
	}
	return c.clock.now()
}

func (c *Config) logger() *slog.Logger { return cmp.Or(c.Logger, slog.New(slog.DiscardHandler)) }

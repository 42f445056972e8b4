package bench

import (
	"github.com/sluicenet/sluice/bench/wire"
)

// A scenario is what a run does with its connections.
type scenario struct {
	unit       string // what Counters.Sent and Delivered count
	reconnects bool   // ports are used up quickly
	cold       bool   // connections come up while measured, not before
	check      func(p *plan, d wire.Driver) error
	publishes  func(p *plan) bool
	behave     func(w *worker) behaviour
}

// behaviour is one worker's part of a scenario. Its methods run on the worker's loop.
type behaviour interface {
	// start begins the run; w.t0 and the window are set.
	start()
	// ready says that c is up.
	ready(c *conn, now int64)
	// reply is an answer on a connection that is up.
	reply(c *conn, ev *replyEvent, now int64)
	// gone says that c, which was up, has ended.
	gone(c *conn)
	// failed says that c did not come up.
	failed(c *conn)
	// tick is called after every batch of events of a started run and says when to be called next.
	tick(now int64) (next int64)
	// done reports whether nothing is left to do: the run may end early, or has drained.
	done() bool
}

type replyEvent = wire.Event

// quiet does nothing; behaviours embed it.
type quiet struct{}

func (quiet) start()                          {}
func (quiet) ready(*conn, int64)              {}
func (quiet) reply(*conn, *replyEvent, int64) {}
func (quiet) gone(*conn)                      {}
func (quiet) failed(*conn)                    {}
func (quiet) tick(int64) int64                { return never }
func (quiet) done() bool                      { return true }

var scenarios map[string]*scenario

func init() {
	nothing := func(*plan) bool { return false }
	scenarios = map[string]*scenario{
		// Publishers send to topics, every subscriber receives.
		"fanout": {
			unit:  "deliveries",
			check: checkFanout, publishes: func(*plan) bool { return true }, behave: newFanout,
		},
		// Requests that the gateway answers itself.
		"echo": {
			unit:  "requests",
			check: checkNothing, publishes: nothing, behave: newEcho,
		},
		// Requests that an attached worker answers.
		"worker": {
			unit:  "requests",
			check: checkWorker, publishes: nothing, behave: newEcho,
		},
		// Connections that close and come back.
		"churn": {
			unit: "logins", reconnects: true,
			check: checkChurn, publishes: func(p *plan) bool { return p.Background > 0 }, behave: newChurn,
		},
		// Connections with a subscription that do nothing.
		"idle": {
			unit:  "connections",
			check: checkNothing, publishes: nothing, behave: newIdle,
		},
		// Logins, or sessions coming back.
		"connect": {
			unit: "logins", reconnects: true, cold: true,
			check: checkConnect, publishes: nothing, behave: newConnect,
		},
	}
}

func checkNothing(*plan, wire.Driver) error { return nil }

// Unit is what a scenario counts: deliveries, requests, logins.
func Unit(name string) string {
	if s := scenarios[name]; s != nil {
		return s.unit
	}
	return "events"
}

// Package bench loads a gateway and measures what it does.
//
// # Data flow
//
//	Config -> Run -> plan -> a shard per process -> a worker per loop -> connections
//	workers -> Snapshot once a second -> Run -> Observer, Second
//	workers -> tallies at the end -> Accounting -> Result
//
// A worker is the handler of one reactor.Loop. It brings its share of the connections up, step by
// step, and leaves the rest to the scenario's behaviour: what to do with a connection that is
// ready, with an answer, and when time passes. Drivers (package wire) know the protocols, package
// pace says what is due when, package stamp goes into the messages, package latency counts, package
// observe looks at the gateway's process.
//
// # Time
//
// All times are nanoseconds of CLOCK_MONOTONIC, which the processes of a machine share. A run
// connects everything, agrees on a start, warms up, measures for a while, and drains: what is due
// in the measured window is measured, whenever it arrives.
//
// # Latency
//
// From when a message or request was due, which in an open loop does not depend on how the gateway
// copes: so there is no coordinated omission. The time from when it really left is kept beside it.
// In a closed loop, and when publishing as fast as possible, there is no schedule and both are the
// same.
//
// # Accounting
//
// Senders count what they owe, receivers what they got, and each end counts for itself what is lost
// and what is still under way; that sent = delivered + lost + in flight is then checked, not
// assumed.
//
// # Ending early
//
// A run whose context ends while it measures, or whose gateway goes away, stops sending, accounts
// for what is under way, and is reported as incomplete: its numbers are about the time until then.
//
// # Goroutines
//
// One per loop, and the caller of Run. With Config.Procs above 1 the loops are in processes of
// their own, started from the same executable: its main, or TestMain, calls ServeIfWorker first.
package bench

// Package budget keeps a gateway within the memory that it was given.
//
// # Data flow
//
//	runtime/metrics, the engine's accounts -> Meter -> Watch.Look -> refuse, trim, squeeze
//
// A [Watch] is told four times a second how many bytes are in use. Near its limit it goes through
// stages, one a look: new connections are refused, then sessions of clients that are away and
// histories of topics are forgotten as well, then the clients that are slowest to take what they are
// sent are closed. A stage ends when use has fallen well below where it began, so that a gateway at
// the edge does not go back and forth.
//
// # What counts
//
// What the last garbage collection found alive, what the gateway has begun to keep since then and
// keeps account of, stacks, and the runtime's own. Garbage does not: it is gone when the runtime
// needs the room. The kernel's socket buffers are not the process's, and do not count either.
//
// # Goroutines
//
// A Watch belongs to the goroutine that calls Run or Look. Its other methods may be called by any.
package budget

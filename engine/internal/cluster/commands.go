package cluster

import (
	"slices"
	"time"
)

// Nodes are the server ids of the other nodes, in order.
func (n *Node) Nodes() []uint8 {
	var ids []uint8
	for _, m := range n.nodes.all() {
		ids = append(ids, m.ID)
	}
	return ids
}

// WithWorker are those of the other nodes that have workers of an id which take clients' requests, but
// for suspect ones.
func (n *Node) WithWorker(id int) []uint8 {
	var ids []uint8
	for _, m := range n.nodes.all() {
		if !m.Suspect && slices.Contains(m.Workers, id) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Await waits until there is room to send a command, for no longer than wait. The error is ErrFull,
// ErrAway or ErrStopped.
func (n *Node) Await(wait time.Duration) error { return n.rpc.await(wait) }

// Tell sends a command to some nodes, nil: to all others. The error says that it was not sent to some.
func (n *Node) Tell(nodes []uint8, payload []byte) error { return n.rpc.tell(nodes, payload) }

// Ask sends a command to some nodes, nil: to all others, and has each called once for each of them, with
// its answer or an error, within wait; zero means 1 s. done, which may be nil, is called behind them. They
// are called on any goroutine, also on this one before Ask returns, and perhaps at the same time.
func (n *Node) Ask(
	nodes []uint8, payload []byte, wait time.Duration, each func(node uint8, answer []byte, err error), done func(),
) {
	n.rpc.ask(nodes, payload, wait, each, done)
}

// Serve says what carries out the commands of others; before Start. It runs on a goroutine of the node's
// that they come from, one after the other, and owns payload. answer is nil when none is wanted, else
// it is called once, from any goroutine; the bytes are copied.
func (n *Node) Serve(f func(from uint8, payload []byte, answer func([]byte))) {
	n.rpc.serve(func(from uint8, payload []byte, answer func([]byte)) {
		if !n.serveNames(payload, answer) && !n.serveSessions(from, payload, answer) && !n.serveStrays(from, payload, answer) {
			f(from, payload, answer)
		}
	})
}

// Watch says what is called when the nodes or their workers have changed, and when a node, or its
// process, has left; before Start. The functions must return soon, and not call Start or Close.
func (n *Node) Watch(changed func(), left func(node uint8)) {
	n.census.changed = changed
	n.left = left
}

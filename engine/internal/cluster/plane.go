package cluster

import "github.com/sluicenet/sluice/engine"

// A plane is what a node does over its data connection: it carries the messages of topics.
type plane interface {
	engine.Remote
	// start is called once the node has its server id, before changed.
	start()
	// changed is called when the connection is there, with all subscriptions, and when it is lost. What
	// others knew of this node they may have forgotten meanwhile.
	changed(connected bool)
	// nodeGone is called when a node, or its process, has left the table.
	nodeGone(Member)
	close()
}

// alone is the plane of a node that carries nothing.
type alone struct{}

func (alone) Reaches([]byte) bool        { return false }
func (alone) Changes() uint64            { return 0 }
func (alone) Congested([]byte) bool      { return false }
func (alone) Publish(_, _ []byte, _ int) {}
func (alone) Subscribed(string)          {}
func (alone) Unsubscribed(string)        {}
func (alone) Settle([]byte, func()) bool { return false }
func (alone) start()                     {}
func (alone) changed(bool)               {}
func (alone) nodeGone(Member)            {}
func (alone) close()                     {}

package cluster

import "github.com/sluicenet/sluice/engine"

// A plane is what a node does over its data connection: it carries the messages of topics.
type plane interface {
	engine.Remote
	// Passed is Node.Passed.
	Passed(f func(whole bool)) (later bool)
	// start is called once the node has its server id, before changed.
	start()
	// changed is called when the connection is there, with all subscriptions, and when it is lost. What
	// others knew of this node they may have forgotten meanwhile.
	changed(connected bool)
	// nodeGone is called when a node, or its process, has left the table.
	nodeGone(Member)
	close()
	stats() TopicsStats
}

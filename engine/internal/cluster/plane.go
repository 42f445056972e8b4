package cluster

import "github.com/sluicenet/sluice/engine"

// A plane is what a node does over its data connection: it carries the messages of topics.
type plane interface {
	engine.Remote
	// Passed is Node.Passed.
	Passed(f func(whole bool)) (later bool)
	// start is called once the node has its server id, before changed. waitForAll has it greet the
	// others: greeted is closed when all of them know that the node is there, and until greetingDone is
	// called they are waited for longer than it takes to exclude one.
	start(waitForAll bool)
	greeted() <-chan struct{}
	greetingDone()
	// changed is called when the connection is there, with all subscriptions, and when it is lost. What
	// others knew of this node they may have forgotten meanwhile.
	changed(connected bool)
	// nodeGone is called when a node, or its process, has left the table.
	nodeGone(Member)
	close()
	stats() TopicsStats
}

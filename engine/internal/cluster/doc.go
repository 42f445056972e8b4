// Package cluster makes several gateways behave as one, with NATS between them.
//
// # Data flow
//
//	engine.Publisher -> Node.Publish -> sender -> Bus -> NATS -> Bus -> receiver -> engine.Injector -> loops
//
// A Node is what one process is to the others. What clients and workers publish goes to the nodes that
// have said they have subscribers to the topic (interest.go), as frames (frame.go), and no faster than
// the slowest of them takes it (credit.go). A subscription is answered once every node knows of it
// (barrier.go), so that nothing published after the answer is missed. One that does not answer is not
// waited for in the end (slow.go), and bypassed when too much is on its way to it (bypass.go); a node knows
// by itself when its hearing is so bad that it must send everything (trust.go). Commands of workers and
// questions go to one node or to all of them (rpc.go), and behind what was published before where the order
// counts (passed.go). Who is there is in the table of nodes (nodes.go), which each node renews by its lease
// (lease.go).
//
// What a node has sent of a topic since it has known it is a series: its messages are numbered, so that who
// gets them sees what is missing, and what is late. A topic that a node has forgotten, because nothing was
// published to it for a while, begins another series, with a higher number.
//
// # Subjects
//
// All below sluice.NAME., NAME being Config.Name:
//
//	t.TOPIC  messages of a topic                      data connection
//	n.ID     for one node, two hex digits: interest,   data connection
//	         credits, answers to barriers, and its
//	         own echoes, over the control connection
//	n.all    for all nodes: barriers, topics let go    data connection
//	c.ID     for one node: commands and their answers  control connection
//	c.all    the same for all nodes                    control connection
//
// # Frames
//
//	offset  0  'S'
//	        1  version, 1
//	        2  Kind
//	        3  the sender's server id
//	        4  the sender's incarnation, uint64
//	       12  what the kind has
//	       -4  CRC-32C of all before it, uint32
//
// Integers are big-endian. What cannot be read, is of another version or of this node itself is counted
// and ignored: anybody may be on the bus.
//
// # Connections
//
// A node has two, since a server stalls a whole connection that feeds a slow receiver, and leases must
// not wait behind that. Each has one goroutine that sends, with a bounded queue before it: publishing
// with nats.go may block for a second, and no loop and no worker's reader ever does. Each has one
// goroutine that receives. The data connection has one more, the keeper (topics.keep): it sees to what
// takes time (barriers and credits that nobody answers, topics that linger or are forgotten, echoes), and
// calls the functions of those who have waited, so that they may take locks that loops hold when they
// call a Node. The control connection has one for each node that it carries out commands of.
//
// # Sessions
//
// Who resumes a session on another node gets it from its owner (sessionstake.go), or from what the owner
// has written of it (sessionswrite.go) and of where all of its clients are in topics with history
// (checkpoint.go, reach.go).
//
// # Goroutines
//
// The methods that loops call (Publish, Reaches, Congested, Subscribed, Unsubscribed, Settle) never
// block. Everything that touches the Bus or the Store runs on the Node's own goroutines. No goroutine is
// made per topic or per message.
package cluster

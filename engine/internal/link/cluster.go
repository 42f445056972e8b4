package link

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// A Cluster is the gateways that this one is a node of. Nodes are named by their server ids. Its methods
// may be called from any goroutine, and but for Await return at once.
type Cluster interface {
	// Name is the cluster's.
	Name() string
	// Nodes are the other nodes, and WithWorker those of them that have workers of an id which take what
	// clients elsewhere send.
	Nodes() []uint8
	WithWorker(id int) []uint8
	// Holders are the other nodes that may have a client whose uniqId begins with a server id.
	Holders(server uint8) []uint8
	// WhenNamed has f called once, on any goroutine, when the other nodes know where to find those who were
	// given uniqIds here. It returns false if they do, and f is not called.
	WhenNamed(f func()) (later bool)
	// Await waits until something may be sent, for no longer than wait.
	Await(wait time.Duration) error
	// Tell sends something to nodes, nil: to all. Ask has each called once for each of them with its
	// answer or an error, and done behind that, on any goroutine.
	Tell(nodes []uint8, payload []byte) error
	Ask(nodes []uint8, payload []byte, wait time.Duration, each func(node uint8, answer []byte, err error), done func())
	// Passed has f called once, on any goroutine, when the other nodes have passed on to their loops what
	// was published here before; whole is false if that is not known of some. It returns false when there
	// is nothing to wait for, and f is not called.
	Passed(f func(whole bool)) (later bool)
	// Serve says who takes what other nodes send: in the order of each of them, on a goroutine of its.
	// answer is nil if none is wanted.
	Serve(f func(from uint8, payload []byte, answer func([]byte)))
	// Watch says who is told that the nodes or their workers have changed, and that one has left.
	Watch(changed func(), left func(node uint8))
	// Announce has the others told of the workers that are here: see Hub.Serving.
	Announce()
}

// What is sent to another node begins with one of these bytes. What follows:
//
//	farCommand  uint32 command, a message of the worker protocol. The answer says that it is carried out
//	farQuery    the same. The answer is a byte, 1, and the message that answers it; or 0: it cannot be
//	farRequest  uint16 worker id, a Request. The answer is a byte: see taking
//	farEvent    uint16 worker id, uint32 command, a Transfer, ConnOpen or ConnClose. The same answer
//	farReply    uint16 worker id, uint64 ticket, uint32 status, a byte: see replying, the payload
const (
	farCommand = iota + 1
	farQuery
	farRequest
	farEvent
	farReply
)

const (
	// changeWait is how long a link waits for other nodes to make a change before its next publish, and
	// for them to pass on what it has published before its next change.
	changeWait = 500 * time.Millisecond
	// queryWait is how long a query waits for their answers.
	queryWait = time.Second
	// roomWait is how long a link waits for room to send them something.
	roomWait = 500 * time.Millisecond
)

// far is what a Hub has for other nodes.
type far struct {
	mu    sync.Mutex
	links map[uint8]*farLink
	asked asked
	next  atomic.Uint32 // whose turn it is
	bytes atomic.Int64  // on their way to workers elsewhere
	wait  time.Duration // changeWait, if it is not 0
	stats farStats
}

type farStats struct {
	forwarded, lost, unacknowledged, unanswered  atomic.Uint64
	overtaking                                   atomic.Uint64
	served, bad                                  atomic.Uint64
	requests, requestsLost, requestsTaken, again atomic.Uint64
}

// FarStats are the counters of what passes between this gateway's workers and clients and other nodes.
type FarStats struct {
	Forwarded      uint64 // commands of workers that went to other nodes
	Lost           uint64 // those that did not: NATS is away, or too much waits
	Unacknowledged uint64 // changes that a node has not confirmed in time
	Overtaking     uint64 // changes that may have come before what was published before
	Unanswered     uint64 // nodes that have not answered a query
	Served         uint64 // commands and queries of other nodes
	Bad            uint64 // those that could not be read
	Requests       uint64 // of clients, messages and events, that went to workers elsewhere
	RequestsLost   uint64 // those that nobody took
	RequestsTaken  uint64 // of clients elsewhere that workers here were given
	Again          uint64 // tries with another node
}

// A farLink carries out what another node asks for: a link without a connection.
type farLink struct {
	mu sync.Mutex
	*link
}

// scoped reports whether what comes on the link is for the whole cluster.
func (l *link) scoped() bool { return l.scope && l.hub.cluster != nil }

// setScope gives the link the cluster's scope.
func (l *link) setScope() {
	l.publisher.Flush()
	l.scope = true
	l.publisher = l.hub.gateway.Engine().NewPublisher()
}

// newPublisher makes one for a link that has not asked for the cluster's scope: workers that know
// nothing of clusters publish to each gateway by themselves.
func (h *Hub) newPublisher() *engine.Publisher {
	if h.cluster != nil {
		return h.gateway.Engine().NewLocalPublisher()
	}
	return h.gateway.Engine().NewPublisher()
}

// farLink returns the link of what a node asks for.
func (h *Hub) farLink(node uint8) *farLink {
	h.far.mu.Lock()
	defer h.far.mu.Unlock()
	l := h.far.links[node]
	if l == nil {
		if h.far.links == nil {
			h.far.links = make(map[uint8]*farLink)
		}
		l = &farLink{link: &link{
			hub: h, peer: fmt.Sprintf("node %d", node), ours: true, publisher: h.gateway.Engine().NewLocalPublisher(),
		}}
		h.far.links[node] = l
	}
	return l
}

// serveFar takes what another node sends.
func (h *Hub) serveFar(from uint8, b []byte, answer func([]byte)) {
	if answer == nil {
		answer = func([]byte) {}
	}
	l := h.farLink(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	h.far.stats.served.Add(1)
	kind, rest := byte(0), []byte(nil)
	if len(b) > 0 {
		kind, rest = b[0], b[1:]
	}
	ok := false
	switch kind {
	case farCommand:
		ok = l.carryOut(rest, answer)
	case farQuery:
		ok = l.answerFar(rest, answer)
	case farRequest:
		ok = h.takeRequest(from, rest, answer)
	case farEvent:
		ok = h.takeEvent(rest, answer)
	case farReply:
		ok = l.takeReply(rest)
	}
	if !ok {
		h.far.stats.bad.Add(1)
		h.log.Warn("what another node sent cannot be read", "node", from, "kind", kind, "bytes", len(b))
	}
}

// forwardable are the commands that other nodes carry out. Publishes to topics are not among them:
// subscribers elsewhere get them as they get those of clients.
func forwardable(cmd netsvr.Command) bool {
	switch cmd {
	case netsvr.CmdReply, netsvr.CmdTopicPublish, netsvr.CmdTopicPublishBulk:
		return false
	}
	return cmd.Class() == netsvr.ClassOneWay
}

// changes reports whether the effect of a command is waited for.
func changes(cmd netsvr.Command) bool {
	switch cmd {
	case netsvr.CmdBroadcast, netsvr.CmdMulticast, netsvr.CmdSingleCast, netsvr.CmdSingleCastBulk, netsvr.CmdPush:
		return false
	}
	return true
}

// carryOut does what a link of another node was told to.
func (l *farLink) carryOut(body []byte, answer func([]byte)) bool {
	cmd, payload := netsvr.V2.Split(body)
	if !forwardable(cmd) {
		return false
	}
	err := l.command(cmd, payload)
	l.publisher.Flush()
	if len(body) > readBuffer {
		l.decoded = decoded{} // which points into it
	}
	if err != nil {
		// The other node has read it before; an engine that is stopping has nobody to answer to.
		return false
	}
	if changes(cmd) {
		l.whenDone(topicsOf(cmd, payload), func() { answer(nil) })
	} else {
		answer(nil)
	}
	return true
}

// topicsOf returns the topics that a command subscribes to.
func topicsOf(cmd netsvr.Command, payload []byte) []string {
	switch cmd {
	case netsvr.CmdTopicSubscribe:
		m := new(netsvrpb.TopicSubscribe)
		if netsvr.Unmarshal(payload, m) == nil {
			return m.Topics
		}
	case netsvr.CmdUserSubscribe:
		m := new(netsvrpb.UserSubscribe)
		if netsvr.Unmarshal(payload, m) == nil {
			return m.Topics
		}
	case netsvr.CmdConnInfoUpdate:
		m := new(netsvrpb.ConnInfoUpdate)
		if netsvr.Unmarshal(payload, m) == nil {
			return m.NewTopics
		}
	}
	return nil
}

// whenDone calls f once the loops have done all that the link has asked for, what is published elsewhere
// reaches those who were subscribed to topics, and what is for a uniqId that was given to somebody comes
// here. It does not wait for that.
func (l *link) whenDone(topics []string, f func()) {
	if l.renaming {
		l.barrier()
	}
	e := l.hub.gateway.Engine()
	named := func() {
		if !l.hub.cluster.WhenNamed(f) {
			f()
		}
	}
	var left atomic.Int32
	left.Store(int32(e.Loops()))
	_ = l.publisher.DoEach(func(*engine.Loop) { // an error means that the gateway is stopping
		if left.Add(-1) == 0 && !e.WhenSettled(topic.Names(topics), named) {
			named()
		}
	})
}

// answerFar answers a query of another node.
func (l *farLink) answerFar(body []byte, answer func([]byte)) bool {
	cmd, payload := netsvr.V2.Split(body)
	if !wide(cmd) {
		return false
	}
	m, err := l.askHere(cmd, payload)
	if err != nil || m == nil {
		answer([]byte{0})
		return true
	}
	answer(append([]byte{1}, m...))
	return true
}

// askHere returns the message that answers a query for the clients of this node, nil if there is none.
func (l *link) askHere(cmd netsvr.Command, payload []byte) (message []byte, err error) {
	l.publisher.Flush()
	l.awaitSettled()
	l.awaitChanges()
	l.capture, l.captured = true, nil
	defer func() { l.capture, l.captured = false, nil }()
	err = l.answerQuery(cmd, payload)
	return l.captured, err
}

// farChanges are the changes of a link that other nodes have not confirmed.
type farChanges struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n is 0; nil while it is
}

func (c *farChanges) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.empty == nil {
		c.empty = make(chan struct{})
	}
}

func (c *farChanges) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 {
		close(c.empty)
		c.empty = nil
	}
}

// awaitFar waits until other nodes have made the link's changes, or do not confirm them in time.
func (l *link) awaitFar() {
	l.changesFar.mu.Lock()
	empty := l.changesFar.empty
	l.changesFar.mu.Unlock()
	if empty == nil {
		return
	}
	select {
	case <-empty:
	case <-l.hub.gateway.Engine().Stopped():
	}
}

// awaitPassed waits until other nodes have passed on what the link has published, before it changes
// something there, or do not say so in time. Publishes and commands go over connections of their own.
func (l *link) awaitPassed(cmd netsvr.Command) {
	if !l.published {
		return
	}
	l.published = false
	h := l.hub
	passed := make(chan bool, 1)
	if !h.cluster.Passed(func(whole bool) { passed <- whole }) {
		return
	}
	t := time.NewTimer(cmp.Or(h.far.wait, changeWait))
	defer t.Stop()
	select {
	case whole := <-passed:
		if whole {
			return
		}
	case <-t.C:
	case <-h.gateway.Engine().Stopped():
		return
	}
	h.far.stats.overtaking.Add(1)
	h.log.Warn("a worker's change may come before what it has published", "peer", l.peer, "command", cmd.String())
}

// appendFar begins what is sent for a command of the worker protocol.
func appendFar(kind byte, cmd netsvr.Command, room int) []byte {
	b := append(make([]byte, 0, 5+room), kind)
	return binary.BigEndian.AppendUint32(b, uint32(cmd))
}

// Far returns the counters of what passes between h and other nodes.
func Far(h *Hub) FarStats {
	s := &h.far.stats
	return FarStats{
		Forwarded: s.forwarded.Load(), Lost: s.lost.Load(), Unacknowledged: s.unacknowledged.Load(),
		Overtaking: s.overtaking.Load(), Unanswered: s.unanswered.Load(), Served: s.served.Load(), Bad: s.bad.Load(),
		Requests: s.requests.Load(), RequestsLost: s.requestsLost.Load(),
		RequestsTaken: s.requestsTaken.Load(), Again: s.again.Load(),
	}
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
)

const (
	// claimTimeout is how long Start tries to get an answer about the server id from a NATS that is
	// there: longer than it takes to elect a leader.
	claimTimeout = 15 * time.Second
	// listTimeout is how long it waits for the list of the other nodes then.
	listTimeout = 2 * time.Second
	// greetTimeout is how long it waits until they know of the node: who stands still is suspect then, or
	// soon.
	greetTimeout = 3 * time.Second
	// claimPause is the time between two attempts.
	claimPause = 500 * time.Millisecond
)

// A Node is one gateway of a cluster, and the engine.Remote of its engine. Bind, Start and Close are
// called in this order.
type Node struct {
	config Config
	log    *slog.Logger
	nodes  nodes
	lease  *lease
	census *census
	since  time.Time

	plane // of topics; made by Bind

	history *history // of plane; nil: topics have no history over nodes
	rules   historyRules
	warned  string // of which nodes with other rules
	rpc     *rpc
	left    func(node uint8) // see Watch
	names   *names           // nil: there is no bucket for it

	sessions *sessions // nil: they are not resumed elsewhere
	keyMark  string    // of its session key, empty if there is none; before Start
	strays   strays

	ctx    context.Context // done when the node is closed
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	lost   chan struct{} // closed when the node must not be its id any more
	why    error         // written before lost is closed

	mu     sync.Mutex // one change for topics after the other
	joined bool       // topics runs
	told   bool       // it has been told that there is a connection
	closed bool
	waits  error // why there is no lease yet
}

// New makes a Node that is connected to nobody yet.
func New(config Config) (*Node, error) {
	if err := CheckName(config.Name); err != nil {
		return nil, err
	}
	for config.Incarnation == 0 {
		config.Incarnation = rand.Uint64()
	}
	n := &Node{config: config, log: config.logger(), since: time.Now(), lost: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.lease = newLease(&n.config, n.claim)
	n.lease.lost = func(err *TakenError) { n.end(err) }
	n.lease.again = n.rejoin
	n.census = newCensus(&n.config, &n.nodes)
	n.left = func(uint8) {}
	n.census.came, n.census.gone = n.came, n.gone
	n.census.contested, n.census.dated = n.lease.lookNow, n.config.clock.dated
	return n, nil
}

// gone has everybody forget a node that has left.
func (n *Node) gone(m Member) {
	n.plane.nodeGone(m)
	n.rpc.nodeGone(m)
	n.left(m.ID)
}

// Bind says whose messages are carried. The engine's Config.Remote must be the Node.
func (n *Node) Bind(e *engine.Engine) {
	n.config.Engine = e
	if stream := n.config.History.Stream; stream != nil {
		n.config.History.Stream = leasedStream{stream, n.lease}
	}
	n.rpc = newRPC(&n.config, leasedBus{n.config.Control, n.lease}, &n.nodes)
	t := newTopics(&n.config, leasedBus{n.config.Data, n.lease}, &n.nodes)
	t.trust.require(n.rpc.echo)
	n.plane, n.history = t, t.history
	n.bindHistory()
	n.bindNames()
}

// claim is what the node says of itself.
func (n *Node) claim() claim {
	c := claim{
		Version: n.config.Version, Since: n.since.UnixMilli(), Strays: n.strays.servers(), KeyMark: n.keyMark,
		History: n.rules.hash(),
	}
	if n.config.Address != nil {
		c.Address = n.config.Address()
	}
	if n.config.Workers != nil {
		c.Workers = n.config.Workers()
	}
	return c
}

// Start claims the server id, and makes the node one of the cluster. An error says that it cannot be,
// and that trying again is of no use: *TakenError, *RefusedError, *BucketError and *StreamError. While NATS is
// away, or does not answer, there is none: the node goes on trying, and serves alone meanwhile; see
// Ready.
func (n *Node) Start(ctx context.Context) error {
	n.tasks.Go(func() { _ = n.config.Nodes.Watch(n.ctx, n.census.hear) })
	err := n.firstClaim(ctx)
	if final(err) {
		return err
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.log.Warn("the gateway serves alone: NATS does not answer", "err", err)
		n.setWaits(err)
	} else {
		if err := n.openHistory(ctx); final(err) {
			n.lease.release(ctx)
			return err
		}
		n.join(true)
	}
	n.tasks.Go(func() { n.live(err == nil) })
	n.tasks.Go(n.count)
	n.tasks.Go(n.checkBuckets)
	n.config.Data.OnChange(n.change)
	n.config.Control.OnChange(func(connected bool) {
		if connected {
			n.lease.lookNow()
		}
		n.sessionsChanged(connected)
		if n.history != nil {
			n.history.reached(connected)
		}
	})
	if err == nil {
		n.greet(ctx)
	}
	return nil
}

// firstClaim tries to get the id while NATS is there and may yet answer.
func (n *Node) firstClaim(ctx context.Context) error {
	deadline := time.Now().Add(claimTimeout)
	for {
		err := n.lease.take(ctx)
		if err == nil || final(err) || !n.config.Control.Connected() || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(claimPause):
		}
	}
}

// final reports whether an error of a claim does not go away by itself.
func final(err error) bool {
	var taken *TakenError
	var refused *RefusedError
	var bucket *BucketError
	var stream *StreamError
	return errors.As(err, &taken) || errors.As(err, &refused) || errors.As(err, &bucket) || errors.As(err, &stream)
}

// live gets the lease, if the node does not have it yet, and renews it.
func (n *Node) live(has bool) {
	for !has {
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(claimPause):
		}
		err := n.lease.take(n.ctx)
		var taken *TakenError
		switch {
		case errors.As(err, &taken):
			n.end(taken)
			return
		case err == nil:
			has = true
		default:
			n.setWaits(err)
			continue
		}
		n.log.Info("the gateway has its server id, and is one of the cluster")
		n.setWaits(nil)
		n.join(false)
	}
	n.lease.run(n.ctx)
}

// count judges the other nodes, once a second.
func (n *Node) count() {
	t := time.NewTicker(renewEvery)
	defer t.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-t.C:
			n.census.tick(time.Unix(0, n.lease.renewed.Load()))
			n.warnOfRules()
		}
	}
}

func (n *Node) setWaits(err error) {
	n.mu.Lock()
	n.waits = err
	n.mu.Unlock()
}

// greet waits until the others know of a node that has joined, and their table has it: what it publishes
// before they do not take from it.
func (n *Node) greet(ctx context.Context) {
	if !n.config.Data.Connected() {
		n.plane.greetingDone()
		return
	}
	t := time.NewTimer(greetTimeout)
	defer t.Stop()
	select {
	case <-n.plane.greeted():
	case <-ctx.Done():
	case <-t.C:
		n.log.Warn("not all other nodes have confirmed that they know this one")
	}
	n.plane.greetingDone()
}

// join lets topics run, once it is known who else is there.
func (n *Node) join(waitForAll bool) {
	select {
	case <-n.census.known:
	case <-n.ctx.Done():
	case <-time.After(listTimeout):
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.joined = true
	n.rpc.start()
	if n.names != nil {
		n.names.start()
	}
	n.startSessions()
	n.plane.start(waitForAll)
	n.tell(n.config.Data.Connected())
}

// change is called when the data connection is lost or there again.
func (n *Node) change(connected bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell(connected)
}

// tell tells topics of a change. n.mu is held.
func (n *Node) tell(connected bool) {
	if n.joined && !n.closed && n.told != connected {
		n.told = connected
		n.plane.changed(connected)
	}
}

// rejoin has topics tell everything anew: the others have forgotten this node.
func (n *Node) rejoin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	connected := n.told
	n.tell(false)
	n.tell(connected)
	if n.names != nil {
		n.names.again()
	}
}

// end says that the node must not be its id any more.
func (n *Node) end(err error) {
	n.log.Error("the gateway must not serve any more", "err", err)
	n.why = err
	close(n.lost)
}

// Announce has the others told at once of what Config.Address and Workers say now.
func (n *Node) Announce() { n.lease.lookNow() }

// Lost is closed when the node must not be its id any more, since another process has it. Err says who.
func (n *Node) Lost() <-chan struct{} { return n.lost }

// Err is nil until Lost is closed, and a *TakenError then.
func (n *Node) Err() error {
	select {
	case <-n.lost:
		return n.why
	default:
		return nil
	}
}

// Close gives the server id back and closes the connections. The rest of it goes on by itself when
// ctx is done.
func (n *Node) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.close(ctx)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cluster: still closing: %w", ctx.Err())
	}
}

func (n *Node) close(ctx context.Context) {
	n.mu.Lock()
	was := n.closed
	n.closed = true
	n.mu.Unlock()
	if was {
		return
	}
	if n.names != nil {
		n.names.close(ctx)
	}
	n.closeSessions(ctx)
	n.cancel()
	n.plane.close()
	n.rpc.close()
	n.config.Data.Close()
	ended := make(chan struct{})
	go func() {
		n.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		n.lease.release(ctx)
	case <-ctx.Done():
	}
	n.config.Control.Close()
	<-ended
}

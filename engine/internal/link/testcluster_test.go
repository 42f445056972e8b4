package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
)

// A testCluster connects the hubs of a test.
type testCluster struct {
	nodes map[uint8]*testNode
	away  atomic.Bool  // NATS is
	late  atomic.Int64 // how long messages of topics take, in nanoseconds: they have a way of their own
}

var errAway = errors.New("NATS is away")

// A testNode is one gateway and its Cluster. What one sends another arrives in order.
type testNode struct {
	cluster *testCluster
	id      uint8
	hub     *Hub
	engine  *engine.Engine
	addr    string
	silent  atomic.Bool // it takes nothing, though it is in the table
	gone    atomic.Bool
	serve   func(from uint8, payload []byte, answer func([]byte))
	changed func()
	left    func(node uint8)
	queues  map[uint8]chan func()
	topics  map[uint8]chan func() // the same for messages of topics
	pumps   sync.WaitGroup

	mu     sync.Mutex        // guards what follows
	strays map[[2]uint8]bool // that one node has some of another's
	unsaid int
	named  []func() // of WhenNamed
}

func (n *testNode) Name() string { return "test" }

func (n *testNode) others() []uint8 {
	var ids []uint8
	for _, id := range slices.Sorted(maps.Keys(n.cluster.nodes)) {
		if id != n.id && !n.cluster.nodes[id].gone.Load() {
			ids = append(ids, id)
		}
	}
	return ids
}

func (n *testNode) Nodes() []uint8 { return n.others() }

func (n *testNode) WithWorker(id int) (ids []uint8) {
	for _, other := range n.others() {
		if slices.Contains(n.cluster.nodes[other].hub.Serving(), id) {
			ids = append(ids, other)
		}
	}
	return ids
}

func (n *testNode) Await(time.Duration) error {
	if n.cluster.away.Load() {
		return errAway
	}
	return nil
}

func (n *testNode) Tell(nodes []uint8, payload []byte) error {
	if n.cluster.away.Load() {
		return errAway
	}
	if nodes == nil {
		nodes = n.others()
	}
	for _, id := range nodes {
		to := n.cluster.nodes[id]
		to.queues[n.id] <- func() {
			if !to.silent.Load() {
				to.serve(n.id, append([]byte(nil), payload...), nil)
			}
		}
	}
	return nil
}

func (n *testNode) Ask(nodes []uint8, payload []byte, wait time.Duration, each func(uint8, []byte, error), done func()) {
	if nodes == nil {
		nodes = n.others()
	}
	var left atomic.Int32
	left.Store(int32(len(nodes)) + 1)
	end := func() {
		if left.Add(-1) == 0 && done != nil {
			done()
		}
	}
	defer end()
	for _, id := range nodes {
		if n.cluster.away.Load() {
			each(id, nil, errAway)
			end()
			continue
		}
		var once sync.Once
		give := func(b []byte, err error) {
			once.Do(func() {
				each(id, b, err)
				end()
			})
		}
		timer := time.AfterFunc(wait, func() { give(nil, errors.New("no answer")) })
		to := n.cluster.nodes[id]
		taken := make(chan struct{})
		to.queues[n.id] <- func() {
			defer close(taken)
			if !to.silent.Load() {
				to.serve(n.id, append([]byte(nil), payload...), func(b []byte) {
					timer.Stop()
					give(append([]byte(nil), b...), nil)
				})
			}
		}
		if payload[0] == farCommand { // nobody may be quicker
			<-taken
		}
	}
}

func (n *testNode) Holders(server uint8) (ids []uint8) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.others()
	if server != n.id && !slices.Contains(all, server) {
		return all
	}
	for _, id := range all {
		if id == server || n.strays[[2]uint8{id, server}] {
			ids = append(ids, id)
		}
	}
	return ids
}

func (n *testNode) WhenNamed(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unsaid > 0 {
		n.named = append(n.named, f)
	}
	return n.unsaid > 0
}

// A testRegistry is told of the uniqIds that are given to a node's clients, and tells the others of strays,
// for which they take their time.
type testRegistry struct{ *testNode }

func (testRegistry) Enter(_ gateway.Registration, done func(gateway.Outcome, int)) {
	done(gateway.LoginOK, 0)
}
func (testRegistry) Leave(engine.Ref)          {}
func (testRegistry) Unname(string, engine.Ref) {}
func (testRegistry) Redeem(_ gateway.TokenKind, _ string, _ time.Time, done func(string, error)) {
	done("", login.ErrUnknown)
}

func (r testRegistry) Name(id string, _ engine.Ref, _ []byte) {
	n := r.testNode
	server, _, made := session.ParseID(id)
	if !made || server == n.id {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range n.others() {
		n.unsaid++
		to := n.cluster.nodes[id]
		time.AfterFunc(20*time.Millisecond, func() {
			to.mu.Lock()
			to.strays[[2]uint8{n.id, server}] = true
			to.mu.Unlock()
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.unsaid--; n.unsaid == 0 {
				for _, f := range n.named {
					f()
				}
				n.named = nil
			}
		})
	}
}

func (n *testNode) Passed(f func(bool)) bool {
	others := n.others()
	var left atomic.Int32
	left.Store(int32(len(others)))
	for _, id := range others {
		n.cluster.nodes[id].topics[n.id] <- func() {
			if left.Add(-1) == 0 {
				f(true)
			}
		}
	}
	return len(others) > 0
}

func (n *testNode) Serve(f func(uint8, []byte, func([]byte))) { n.serve = f }
func (n *testNode) Watch(changed func(), left func(uint8))    { n.changed, n.left = changed, left }

func (n *testNode) Announce() {
	for _, id := range n.others() {
		if other := n.cluster.nodes[id]; other.changed != nil {
			other.changed()
		}
	}
}

// leave has the others see the node go.
func (n *testNode) leave() {
	others := n.others()
	n.gone.Store(true)
	for _, id := range others {
		n.cluster.nodes[id].left(n.id)
	}
}

// A spreading is the engine.Remote of a test: it publishes to the engines of the other nodes.
type spreading struct {
	node *testNode
	mu   sync.Mutex
	into map[uint8]*engine.Injector
}

func (s *spreading) Reaches([]byte, int64) bool { return true }
func (s *spreading) Changes() uint64            { return 0 }
func (s *spreading) Congested([]byte) bool      { return false }
func (s *spreading) Subscribed(string)          {}
func (s *spreading) Unsubscribed(string)        {}
func (s *spreading) Expect([]byte)              {}
func (s *spreading) Settle([]byte, func()) bool { return false }

func (s *spreading) Publish(name, records []byte, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.node.others() {
		if s.into[id] == nil {
			s.into[id] = s.node.cluster.nodes[id].engine.NewInjector()
		}
		into, name, records := s.into[id], bytes.Clone(name), bytes.Clone(records)
		s.node.cluster.nodes[id].topics[s.node.id] <- func() {
			time.Sleep(time.Duration(s.node.cluster.late.Load()))
			_ = into.Publish(name, records)
		}
	}
}

// lineSession is a client whose first line is its user and whose others are requests, "!" in front of
// one that wants no reply, or "@" of a message for worker 1. It gets lines.
type lineSession struct {
	gateway.Client
	node *testNode
	next uint32
}

type lineProtocol struct{ node *testNode }

func (p lineProtocol) Name() string                     { return "line" }
func (p lineProtocol) Sniff([]byte) engine.Match        { return engine.Matched }
func (p lineProtocol) Open(*engine.Conn) engine.Handler { return &lineSession{node: p.node} }

func (s *lineSession) Base() *gateway.Client           { return &s.Client }
func (s *lineSession) Protocol() string                { return "line" }
func (s *lineSession) Dialect() uint8                  { return 0 }
func (s *lineSession) Ordered() bool                   { return false }
func (s *lineSession) NextDeadline(*engine.Conn) int64 { return 0 }

func (s *lineSession) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	line, _, ok := strings.Cut(string(b), "\n")
	if !ok {
		return 0, len(b) + 1
	}
	g := s.node.hub.gateway
	switch text, message := strings.CutPrefix(line, "@"); {
	case s.Fresh():
		g.Login(c, s, gateway.Credentials{Token: line, Exclusive: false})
	case message:
		s.node.hub.Transfer(c, 1, s, []byte(text))
	default:
		s.next++
		payload, oneWay := strings.CutPrefix(line, "!")
		g.Serve(c, s, gateway.Request{
			Route: []byte("ask"), ID: s.next, WantsReply: !oneWay, Payload: []byte(payload),
			Metadata: map[string]string{"k": "v"},
		})
	}
	return len(line) + 1, 0
}

func (s *lineSession) LoginDone(c *engine.Conn, _ gateway.Outcome) {
	c.SetDeadline(0)
	c.Write([]byte(s.node.hub.gateway.ID(&s.Client) + "\n"))
}

func (s *lineSession) NoWorker(c *engine.Conn) {}
func (s *lineSession) Answer(c *engine.Conn, _ uint32, _ uint8, status int, payload []byte) {
	c.Write(fmt.Appendf(nil, "reply %d %s\n", status, payload))
}
func (s *lineSession) Failure(status int, message string) (int, []byte) {
	return status, []byte(message)
}
func (s *lineSession) OnDeadline(c *engine.Conn) {
	s.node.hub.gateway.Expire(c, s)
	s.node.hub.gateway.Arm(c, s)
}
func (s *lineSession) Goodbye(*engine.Conn, engine.Reason) {}
func (s *lineSession) OnClose(c *engine.Conn, why engine.Reason) {
	s.node.hub.gateway.Closed(c, s, why)
}

// newCluster starts gateways of a cluster with server ids 1 to n.
func newCluster(t *testing.T, n int, config Config) *testCluster {
	t.Helper()
	tc := &testCluster{nodes: make(map[uint8]*testNode)}
	for i := 1; i <= n; i++ {
		node := &testNode{
			cluster: tc, id: uint8(i), queues: make(map[uint8]chan func()), topics: make(map[uint8]chan func()),
			strays: make(map[[2]uint8]bool),
		}
		for from := 1; from <= n; from++ {
			for _, queues := range []map[uint8]chan func(){node.queues, node.topics} {
				q := make(chan func(), 1000)
				queues[uint8(from)] = q
				node.pumps.Go(func() {
					for f := range q {
						f()
					}
				})
			}
		}
		tc.nodes[node.id] = node
	}
	t.Cleanup(func() {
		for _, node := range tc.nodes {
			for from, q := range node.queues {
				close(q)
				close(node.topics[from])
			}
			node.pumps.Wait()
		}
	})
	for _, node := range tc.nodes {
		node.start(t, config)
	}
	for _, node := range tc.nodes {
		node.hub.start()
	}
	return tc
}

func (n *testNode) start(t *testing.T, config Config) {
	t.Helper()
	g, e, h := assemble(t, gateway.Config{Login: login.Open{}, ServerID: n.id, RequestTimeout: patience}, engine.Config{
		Loops: 2, Remote: &spreading{node: n, into: make(map[uint8]*engine.Injector)},
		Dialects: []engine.Dialect{{Name: "line", Append: func(dst []byte, p engine.Push) ([]byte, error) {
			return append(append(dst, p.Payload...), '\n'), nil
		}}},
	}, config)
	n.hub, n.engine = h, e
	g.AddEvents(h)
	gateway.Join(g, testRegistry{n})
	SetCluster(h, n)
	h.far.wait = patience // the machine may be busy
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen(engine.ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []engine.Protocol{lineProtocol{n}}})
	if err != nil {
		t.Fatal(err)
	}
	n.addr = ln.String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
		_ = h.Close(ctx)
		h.running.Wait()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A lineClient is a client of a node.
type lineClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	id   string
}

func (n *testNode) client(t *testing.T, user string) *lineClient {
	t.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &lineClient{t: t, conn: conn, r: bufio.NewReader(conn)}
	c.send(user)
	c.id = c.line()
	if server, _, ok := session.ParseID(c.id); !ok || server != n.id {
		t.Fatalf("a client of node %d is called %q", n.id, c.id)
	}
	return c
}

func (c *lineClient) send(line string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(line + "\n")); err != nil {
		c.t.Fatal(err)
	}
}

// line returns the next line, "closed" at the end.
func (c *lineClient) line() string {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := c.r.ReadString('\n')
	if err != nil {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return "nothing"
		}
		return "closed"
	}
	return strings.TrimSuffix(line, "\n")
}

func (c *lineClient) want(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		if got := c.line(); got != want {
			c.t.Fatalf("%s got %q, want %q", c.id, got, want)
		}
	}
}

// worker attaches a worker of id 1, with the cluster's scope or without.
func (n *testNode) worker(t *testing.T, scope bool) *fakeWorker {
	t.Helper()
	w := attach(t, n.hub, true)
	w.ask(netsvr.CmdRegister, &netsvrpb.RegisterReq{
		WorkerId: 1, ServerId: uint32(n.id), AcceptsRequests: true, ClusterScope: scope,
	}, func(b []byte) {
		var resp netsvrpb.RegisterResp
		if err := proto.Unmarshal(b, &resp); err != nil || resp.Code != 0 || (resp.Cluster == "test") != scope {
			t.Fatalf("registered: %v %v", &resp, err)
		}
	})
	return w
}

func (w *fakeWorker) ask(cmd netsvr.Command, m proto.Message, f func([]byte)) {
	w.t.Helper()
	if err := w.send(cmd, m); err != nil {
		w.t.Fatal(err)
	}
	got, payload, err := w.read()
	if err != nil || got != cmd {
		w.t.Fatalf("%v was answered %v: %v", cmd, got, err)
	}
	f(payload)
}

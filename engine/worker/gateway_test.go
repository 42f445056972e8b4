package worker

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicenet/sluice/internal/faketime"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// fakeGateway plays a gateway: it greets workers and leaves the rest to the test.
type fakeGateway struct {
	t        testing.TB
	serverID int32
	links    chan *fakeLink             // one for each accepted connection
	refuse   netsvrpb.RegisterResp_Code // what registrations get

	mu     sync.Mutex
	down   func() error                        // a dial's error
	script func(*fakeLink, received) (ok bool) // sees frames first
}

// received is a command from the worker.
type received struct {
	cmd     netsvr.Command
	payload []byte
}

// fakeLink is the gateway's end of a link.
type fakeLink struct {
	gateway *fakeGateway
	nc      net.Conn
	turn    chan struct{}                 // capacity 1: who writes. A mutex would stop a bubble's clock
	inbox   chan received                 // what the fake does not answer itself
	gate    atomic.Pointer[chan struct{}] // closed: the fake reads
}

func newFake(t testing.TB) *fakeGateway {
	return &fakeGateway{t: t, serverID: 1, links: make(chan *fakeLink, 64)}
}

// dial is a Config.Dial for one fake gateway; dialAll for several, by address.
func (g *fakeGateway) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	g.mu.Lock()
	down := g.down
	g.mu.Unlock()
	if down != nil {
		if err := down(); err != nil {
			return nil, err
		}
	}
	ours, theirs := net.Pipe()
	g.accept(theirs)
	return ours, nil
}

func dialAll(gateways map[string]*fakeGateway) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return gateways[addr].dial(ctx, network, addr)
	}
}

func (g *fakeGateway) accept(nc net.Conn) {
	l := &fakeLink{gateway: g, nc: nc, inbox: make(chan received, 1<<16), turn: make(chan struct{}, 1)}
	l.pause()
	l.resume()
	go l.read()
	g.links <- l
}

// pause has the fake read nothing after the next frame; it may be waiting for that one already.
func (l *fakeLink) pause() {
	gate := make(chan struct{})
	l.gate.Store(&gate)
}

func (l *fakeLink) resume() { close(*l.gate.Load()) }

func (g *fakeGateway) setDown(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = func() error { return err }
}

func (g *fakeGateway) setScript(f func(*fakeLink, received) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.script = f
}

func (l *fakeLink) read() {
	defer close(l.inbox)
	defer l.nc.Close()
	var head [4]byte
	for {
		<-*l.gate.Load()
		if _, err := io.ReadFull(l.nc, head[:]); err != nil {
			return
		}
		size, err := netsvr.FrameSize(head[:], 0)
		if err != nil {
			l.gateway.t.Errorf("worker sent a bad frame: %v", err)
			return
		}
		body := make([]byte, size-4)
		if _, err := io.ReadFull(l.nc, body); err != nil {
			return
		}
		cmd, payload := netsvr.V2.Split(body)
		l.gateway.mu.Lock()
		script := l.gateway.script
		l.gateway.mu.Unlock()
		if r := (received{cmd, payload}); script == nil || !script(l, r) {
			l.greet(r)
		}
	}
}

func (l *fakeLink) greet(r received) {
	g := l.gateway
	switch r.cmd {
	case netsvr.CmdPing:
		l.write(netsvr.V2.AppendPong(nil))
	case netsvr.CmdUniqIDCount:
		l.send(r.cmd, &netsvrpb.UniqIdCountResp{ServerId: g.serverID, Count: 7})
	case netsvr.CmdRegister:
		l.send(r.cmd, &netsvrpb.RegisterResp{Code: g.refuse, Message: g.refuse.String(), RegisterId: "r1"})
	case netsvr.CmdUnregister:
		l.send(r.cmd, nil)
	default:
		l.inbox <- r
	}
}

func (l *fakeLink) send(cmd netsvr.Command, m proto.Message) {
	var payload []byte
	if m != nil {
		var err error
		if payload, err = netsvr.AppendMessage(nil, m); err != nil {
			l.gateway.t.Errorf("encode %v: %v", cmd, err)
		}
	}
	frame, err := netsvr.V2.AppendFrame(nil, cmd, payload, 0)
	if err != nil {
		l.gateway.t.Errorf("frame %v: %v", cmd, err)
	}
	l.write(frame)
}

// write ignores errors: the worker may be gone, and tests look at what arrives.
func (l *fakeLink) write(b []byte) {
	l.turn <- struct{}{}
	l.nc.Write(b)
	<-l.turn
}

func (l *fakeLink) request(uniqID, route string, id uint64, payload string) {
	l.send(netsvr.CmdRequest, &netsvrpb.Request{
		UniqId: uniqID, Route: route, Id: id, WantsReply: true, Payload: []byte(payload), Protocol: "gosoc",
	})
}

// next is the next command that the fake did not answer itself.
func (l *fakeLink) next() received {
	l.gateway.t.Helper()
	r, ok := <-l.inbox
	if !ok {
		l.gateway.t.Fatal("link closed; want a command")
	}
	return r
}

func (l *fakeLink) reply() *netsvrpb.Reply {
	l.gateway.t.Helper()
	var m netsvrpb.Reply
	l.decode(l.next(), netsvr.CmdReply, &m)
	return &m
}

func (l *fakeLink) decode(r received, want netsvr.Command, m proto.Message) {
	l.gateway.t.Helper()
	if r.cmd != want {
		l.gateway.t.Fatalf("got %v, want %v", r.cmd, want)
	}
	if err := netsvr.Unmarshal(r.payload, m); err != nil {
		l.gateway.t.Fatalf("%v: %v", want, err)
	}
}

// running is a Worker under test.
type running struct {
	*Worker
	t    testing.TB
	stop context.CancelFunc
	done chan error
}

// run starts a worker; setup gives it handlers. In a synctest bubble nothing of it may be left
// when the test ends, so tests end with halt.
func run(t testing.TB, config Config, setup func(*Worker)) *running {
	t.Helper()
	w, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if setup != nil {
		setup(w)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{Worker: w, t: t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- w.Run(ctx) }()
	return r
}

func (r *running) ready() {
	r.t.Helper()
	if err := r.Ready(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) halt() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// bubble runs f with a ready worker on one fake gateway, on a fake clock. It fails when a
// goroutine outlives the worker.
func bubble(t *testing.T, config Config, setup func(*Worker), f func(t *testing.T, w *running, l *fakeLink)) {
	t.Helper()
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		config.Dial = g.dial
		w := run(t, config, setup)
		w.ready()
		f(t, w, <-g.links)
		w.halt()
	})
}

package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// newHub starts a gateway without listeners and a Hub on it. When the test ends, nothing is charged.
func newHub(t testing.TB, config Config) (*Hub, *engine.Engine) {
	t.Helper()
	h, e := newHubAtRest(t, config)
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	return h, e
}

// assemble makes a gateway on an engine, and a Hub on it, none of which runs.
func assemble(
	t testing.TB, g gateway.Config, e engine.Config, config Config,
) (*gateway.Gateway, *engine.Engine, *Hub) {
	t.Helper()
	gw, err := gateway.New(g)
	if err != nil {
		t.Fatal(err)
	}
	en, err := engine.New(e)
	if err != nil {
		t.Fatal(err)
	}
	gw.Bind(en)
	tokens, err := session.NewOneTime(session.OneTimeConfig{Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHub(gw, tokens, config)
	if err != nil {
		t.Fatal(err)
	}
	return gw, en, h
}

// newHubAtRest is newHub without loops that run: for bubbles, in which nobody may wait for a socket.
func newHubAtRest(t testing.TB, config Config) (*Hub, *engine.Engine) {
	t.Helper()
	g, e, h := assemble(t, gateway.Config{Login: login.Open{}}, engine.Config{
		Loops: 2, ProxyTrust: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
	}, config)
	h.start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = h.Close(ctx)
		h.running.Wait()
		wantAccounts(t, e, 0, 0, 0)
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h, e
}

// wantAccounts checks what is charged for links, in bytes.
func wantAccounts(t testing.TB, e *engine.Engine, input, queue, delayed int64) {
	t.Helper()
	a := e.Stats().Accounts
	if a[engine.KindLinkInput] != input || a[engine.KindLinkQueue] != queue || a[engine.KindLinkDelayed] != delayed {
		t.Errorf("charged for input %d, queue %d, delayed %d; want %d, %d, %d",
			a[engine.KindLinkInput], a[engine.KindLinkQueue], a[engine.KindLinkDelayed], input, queue, delayed)
	}
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// heap returns the bytes that are allocated and in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // pools let go of their buffers at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// wantExplained checks that what is charged explains the growth of the heap to 20%.
func wantExplained(t testing.TB, e *engine.Engine, before int64, kinds ...engine.Kind) {
	t.Helper()
	grown, charged := heap()-before, int64(0)
	for _, k := range kinds {
		charged += e.Stats().Accounts[k]
	}
	if off := grown - charged; off > grown/5 || off < -grown/5 {
		t.Errorf("the heap has grown by %d bytes, %d are charged", grown, charged)
	}
}

// A fakeWorker is the other end of a link.
type fakeWorker struct {
	t testing.TB
	net.Conn
}

// attach opens a link. With sockets it is a real TCP connection, else a pipe, which holds nothing.
func attach(t testing.TB, h *Hub, sockets bool) *fakeWorker {
	t.Helper()
	ours, theirs := net.Pipe()
	if sockets {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if theirs, err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if ours, err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	h.serve(ours)
	t.Cleanup(func() { theirs.Close() })
	return &fakeWorker{t, theirs}
}

// attachWrapped is attach with sockets, whose gateway's side is wrapped.
func attachWrapped(t testing.TB, h *Hub, wrap func(net.Conn) net.Conn) *fakeWorker {
	t.Helper()
	if wrap == nil {
		return attach(t, h, true)
	}
	ours, theirs := tcpPair(t)
	h.serve(wrap(ours))
	return &fakeWorker{t, theirs}
}

func frameOf(t testing.TB, cmd netsvr.Command, m proto.Message) []byte {
	t.Helper()
	var payload []byte
	if m != nil {
		var err error
		if payload, err = proto.Marshal(m); err != nil {
			t.Fatal(err)
		}
	}
	wire, err := netsvr.V2.AppendFrame(nil, cmd, payload, 0)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func (w *fakeWorker) send(cmd netsvr.Command, m proto.Message) error {
	_ = w.SetWriteDeadline(time.Now().Add(patience))
	_, err := w.Write(frameOf(w.t, cmd, m))
	return err
}

// read returns the next frame's command and payload.
func (w *fakeWorker) read() (netsvr.Command, []byte, error) {
	_ = w.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 4)
	if _, err := io.ReadFull(w, head); err != nil {
		return 0, nil, err
	}
	size, err := netsvr.FrameSize(head, 1<<30)
	if err != nil {
		return 0, nil, err
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(w, body); err != nil {
		return 0, nil, err
	}
	cmd, payload := netsvr.V2.Split(body)
	return cmd, payload, nil
}

// serves checks that the link answers.
func (w *fakeWorker) serves() {
	w.t.Helper()
	go func() { _ = w.send(netsvr.CmdUniqIDCount, nil) }()
	if cmd, _, err := w.read(); err != nil || cmd != netsvr.CmdUniqIDCount {
		w.t.Fatalf("no answer to a query: %v, %v", cmd, err)
	}
}

func (w *fakeWorker) register(id int32) {
	w.t.Helper()
	go func() { _ = w.send(netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: id, AcceptsRequests: true}) }()
	if cmd, _, err := w.read(); err != nil || cmd != netsvr.CmdRegister {
		w.t.Fatalf("not registered: %v, %v", cmd, err)
	}
}

// A lockedLog collects log lines.
type lockedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lockedLog) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func (l *lockedLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func logTo(l *lockedLog) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// 1,000 delayed messages of 1 MiB are refused beyond the link's limit; the link goes on, and another
// has its own.
func TestDelayedFlood(t *testing.T) {
	var log lockedLog
	h, e := newHub(t, Config{Logger: logTo(&log)})
	w := attach(t, h, true)
	wire := frameOf(t, netsvr.CmdForceOfflineGuest, &netsvrpb.ForceOfflineGuest{Delay: 3600, Data: make([]byte, 1<<20)})
	begin, before := time.Now(), heap()
	messages := 1000
	if raceEnabled {
		messages = 100
	}
	for range messages {
		if _, err := w.Write(wire); err != nil {
			t.Fatal(err)
		}
	}
	w.serves()
	took := time.Since(begin)
	s := h.Stats()
	wantExplained(t, e, before, engine.KindLinkDelayed, engine.KindLinkInput)
	if want := messages - 15; s.DelayedFull != uint64(want) {
		t.Errorf("%d refused, want %d", s.DelayedFull, want)
	}
	if n := e.Stats().Accounts[engine.KindLinkDelayed]; n < 15<<20 || n > 16<<20+1<<16 {
		t.Errorf("%d bytes are charged", n)
	}
	if n := log.count("delayed message refused"); n < 1 || n > 10*(int(took/time.Second)+2) {
		t.Errorf("%d log lines in %v", n, took)
	}
	other := attach(t, h, true)
	if _, err := other.Write(wire); err != nil {
		t.Fatal(err)
	}
	other.serves()
	if n := h.Stats().DelayedFull; n != s.DelayedFull {
		t.Error("another link's message is refused")
	}
	// They are delivered though their link has ended.
	w.Close()
	await(t, "end of the link", func() bool { return h.Stats().Links == 1 })
	if n := e.Stats().Accounts[engine.KindLinkDelayed]; n < 16<<20 {
		t.Errorf("%d bytes are charged after the link's end", n)
	}
}

// What is due is forgotten by the accounts once it is delivered.
func TestDelayedDue(t *testing.T) { faketime.Test(t, delayedDue) }

func delayedDue(t *testing.T) {
	h, e := newHubAtRest(t, Config{})
	w := attach(t, h, false)
	if err := w.send(netsvr.CmdForceOfflineGuest, &netsvrpb.ForceOfflineGuest{Delay: 1, UniqIds: []string{"x"}, Data: make([]byte, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	w.serves()
	account := func() int64 { return e.Stats().Accounts[engine.KindLinkDelayed] }
	if account() < 1<<20 {
		t.Errorf("%d bytes are charged", account())
	}
	begun := time.Now()
	await(t, "delivery", func() bool { return account() < 1<<10 })
	if took := time.Since(begun); took < time.Second || took > time.Second+2*time.Millisecond {
		t.Errorf("delivered after %v, want a second", took)
	}
}

// Half a frame is charged as it comes, bounded by the limit of a packet, and given back.
func TestHalfFrame(t *testing.T) {
	h, e := newHub(t, Config{MaxPacket: 4 << 20})
	w := attach(t, h, true)
	wire := frameOf(t, netsvr.CmdBroadcast, &netsvrpb.Broadcast{Data: make([]byte, 4<<20-100)})
	input := func() int64 { return e.Stats().Accounts[engine.KindLinkInput] }
	before := heap() - input()
	if _, err := w.Write(wire[:len(wire)-1]); err != nil {
		t.Fatal(err)
	}
	await(t, "charge for half a frame", func() bool { return input() >= int64(len(wire)) })
	wantExplained(t, e, before, engine.KindLinkInput)
	if n := input(); n > 4<<20+4 {
		t.Errorf("%d bytes are charged for a frame of %d", n, len(wire))
	}
	if _, err := w.Write(wire[len(wire)-1:]); err != nil {
		t.Fatal(err)
	}
	w.serves()
	await(t, "end of the charge", func() bool { return input() == readBuffer })
	if _, err := w.Write(wire[:1<<20]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	await(t, "end of the link", func() bool { return h.Stats().Links == 0 })
	wantAccounts(t, e, 0, 0, 0)
}

// A client that floods a worker that does not read leaves room for others; all is charged.
func TestQueueFair(t *testing.T) {
	h, e := newHub(t, Config{})
	w := attach(t, h, false)
	w.register(1)
	l := h.groups[1].pickOpen()
	taken, before := 0, heap()
	ask := func(client string, size int) bool {
		m := netsvr.Request{UniqID: []byte(client), Payload: make([]byte, size), ID: 1}
		return h.queueFor(l, engine.Ref(named(client)), size, netsvr.CmdRequest, m.Append) == Delivered
	}
	for range 16 << 10 {
		if ask("flood", 1<<10) {
			taken++
		}
	}
	if taken > 8<<10 {
		t.Errorf("%d requests of the flood are taken", taken)
	}
	for i := range 10 {
		for range 100 {
			if !ask(fmt.Sprint("client ", i), 1<<10) {
				t.Fatalf("client %d is refused", i)
			}
		}
	}
	if n := e.Stats().Accounts[engine.KindLinkQueue]; n < 9<<20 || n > 30<<20 {
		t.Errorf("%d bytes are charged", n)
	}
	wantExplained(t, e, before, engine.KindLinkQueue)
	got := make(map[byte]int)
	for range taken + 1000 {
		_, payload, err := w.read()
		if err != nil {
			t.Fatal(err)
		}
		got[payload[2]]++ // the first letter of the id
	}
	if got['c'] != 1000 || got['f'] != taken {
		t.Errorf("the worker got %v", got)
	}
	await(t, "room for the flood when all is read", func() bool { return ask("flood", 1<<10) })
}

// Whatever the workers do, Close ends in time.
func TestHubClose(t *testing.T) {
	long := make([]byte, 1<<20)
	fill := func(h *Hub, w *fakeWorker) { // more than the sockets take
		l := h.groups[1].pickOpen()
		for range 12 {
			h.queue(l, 1, netsvr.CmdTransfer, func(dst []byte) []byte { return append(dst, long...) })
		}
	}
	for _, tc := range []struct {
		name string
		do   func(h *Hub, w *fakeWorker)
		cut  bool
	}{
		{"does nothing", func(h *Hub, w *fakeWorker) {}, false},
		{"stopped in the middle of a frame", func(h *Hub, w *fakeWorker) { _, _ = w.Write([]byte{0, 0, 1, 0, 5}) }, false},
		{"does not read", fill, true},
		{"asks and does not read", func(h *Hub, w *fakeWorker) {
			fill(h, w)
			fill(h, w)
			_ = w.send(netsvr.CmdUniqIDList, nil)
			time.Sleep(20 * time.Millisecond)
		}, true},
		{"goes on sending", func(h *Hub, w *fakeWorker) {
			ended := make(chan struct{})
			w.t.Cleanup(func() { w.Close(); <-ended })
			go func() {
				defer close(ended)
				for w.send(netsvr.CmdUniqIDCount, nil) == nil {
					time.Sleep(time.Millisecond) // lest no time passes in a bubble
				}
			}()
		}, true},
	} {
		end := func(t *testing.T, h *Hub, e *engine.Engine, sockets bool, late time.Duration) {
			w := attach(t, h, sockets)
			w.register(1)
			tc.do(h, w)
			begin := time.Now()
			const within = 700 * time.Millisecond
			ctx, cancel := context.WithTimeout(context.Background(), within)
			defer cancel()
			err := h.Close(ctx)
			if took := time.Since(begin); took > within+late {
				t.Errorf("Close took %v, want %v at most", took, within)
			}
			if !tc.cut && err != nil {
				t.Errorf("Close: %v", err)
			}
			if tc.cut && err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Close: %v", err)
			}
			h.running.Wait()
			wantAccounts(t, e, 0, 0, 0)
			if h.Close(ctx) != nil {
				t.Error("a second Close fails")
			}
		}
		t.Run(tc.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				h, e := newHubAtRest(t, Config{})
				end(t, h, e, false, 0)
			})
		})
		t.Run(tc.name+", sockets", func(t *testing.T) {
			t.Parallel()
			h, e := newHub(t, Config{})
			end(t, h, e, true, patience)
		})
	}
}

// A loop that is stuck in a handler keeps a link's reader, and not Close.
func TestHubCloseStuckLoop(t *testing.T) {
	h, e := newHub(t, Config{})
	w := attach(t, h, true)
	release, stuck := make(chan struct{}), make(chan struct{})
	pb := e.NewPublisher()
	if err := pb.DoOn(0, 0, func(*engine.Loop) { close(stuck); <-release }); err != nil {
		t.Fatal(err)
	}
	<-stuck
	if err := w.send(netsvr.CmdTopicUniqIDList, &netsvrpb.TopicUniqIdListReq{Topics: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	await(t, "query", func() bool { return h.Stats().Commands == 1 })
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := h.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begin); took > patience { // the loop would keep it for ever
		t.Errorf("Close took %v", took)
	}
	close(release)
}

// Close has nothing to say when there was no link, however late it comes.
func TestHubCloseWithoutLinks(t *testing.T) {
	h, _ := newHub(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// crashing is a log handler that does something on one line.
type crashing struct {
	slog.Handler
	on string
	do func()
}

func (c crashing) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == c.on {
		c.do()
	}
	return c.Handler.Handle(ctx, r)
}

// A command that panics, or ends its goroutine, costs its link only.
func TestCommandPanics(t *testing.T) {
	for _, tc := range []struct {
		name, logged string
		do           func()
	}{
		{"panic", "panic in a worker's command", func() { panic("planted") }},
		{"Goexit", "a worker's command ended its goroutine", runtime.Goexit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log lockedLog
			h, e := newHub(t, Config{Logger: slog.New(crashing{slog.NewTextHandler(&log, nil), "worker registered", tc.do})})
			other := attach(t, h, true)
			other.serves()
			w := attach(t, h, true)
			if err := w.send(netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: 1}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := w.read(); !errors.Is(err, io.EOF) {
				t.Errorf("the link ends with %v", err)
			}
			await(t, "end of the link", func() bool { return h.Stats().Links == 1 })
			if s := h.Stats(); s.Panics != 1 || s.Ended["panic"] != 1 {
				t.Errorf("%d panics are counted, %d ends", s.Panics, s.Ended["panic"])
			}
			if log.count(tc.logged) != 1 {
				t.Error("not logged")
			}
			other.serves()
			other.Close()
			await(t, "end of the other link", func() bool { return h.Stats().Links == 0 })
			wantAccounts(t, e, 0, 0, 0)
		})
	}
}

func TestMaxLinks(t *testing.T) {
	var log lockedLog
	h, _ := newHub(t, Config{MaxLinks: 2, Logger: logTo(&log)})
	first := attach(t, h, true)
	attach(t, h, true)
	for range 50 {
		w := attach(t, h, true)
		if _, _, err := w.read(); err == nil {
			t.Fatal("one link too many is served")
		}
	}
	if n := h.Stats().Refused; n != 50 {
		t.Errorf("%d refused, want 50", n)
	}
	if n := log.count("worker refused"); n < 1 || n > 10 {
		t.Errorf("%d log lines for 50 refusals", n)
	}
	first.Close()
	await(t, "end of a link", func() bool { return h.Stats().Links == 1 })
	attach(t, h, true).serves()
}

// Links that say nothing keep no worker out: they have a time of their own, and go first when there are
// too many.
func TestSilentLinks(t *testing.T) {
	t.Run("time", func(t *testing.T) {
		h, _ := newHub(t, Config{FirstByte: 50 * time.Millisecond})
		silent := attach(t, h, true)
		if _, _, err := silent.read(); err == nil {
			t.Error("a silent link is sent something")
		}
		await(t, "end of the silent link", func() bool { return h.Stats().Links == 0 })
	})
	t.Run("place", func(t *testing.T) {
		var log lockedLog
		h, _ := newHub(t, Config{MaxLinks: 2, Logger: logTo(&log)})
		speaking := attach(t, h, true)
		speaking.serves()
		silent := attach(t, h, true)
		h.mu.Lock()
		for l := range h.links {
			if !l.heard.Load() {
				l.begun = l.begun.Add(-evictAfter)
			}
		}
		h.mu.Unlock()
		attach(t, h, true).serves()
		if _, _, err := silent.read(); err == nil {
			t.Error("the silent link is still there")
		}
		speaking.serves()
		await(t, "end of the silent link", func() bool { return h.Stats().Ended["made-room"] == 1 })
		await(t, "its line", func() bool { return log.count("reason=made-room") == 1 })
		if log.count("closed network connection") != 0 {
			t.Error("the log blames the network")
		}
	})
}

// A flood of what cannot be decoded is counted, and logged now and then.
func TestMalformedFlood(t *testing.T) {
	var log lockedLog
	h, _ := newHub(t, Config{Logger: logTo(&log)})
	w := attach(t, h, true)
	wire, err := netsvr.V2.AppendFrame(nil, netsvr.CmdSingleCast, []byte{0xFF}, 0)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 1000 {
		if _, err := w.Write(wire); err != nil {
			t.Fatal(err)
		}
	}
	w.serves()
	if n := h.Stats().Malformed; n != 1000 {
		t.Errorf("%d malformed, want 1000", n)
	}
	if n := log.count("undecodable"); n < 1 || n > 10*(int(time.Since(begin)/time.Second)+2) {
		t.Errorf("%d log lines", n)
	}
}

// A bulk command whose data belong to nobody in particular does nothing, and is counted and logged; one
// without data says nothing, and is no mistake.
func TestBulkRefused(t *testing.T) {
	var log lockedLog
	h, _ := newHub(t, Config{Logger: logTo(&log)})
	w := attach(t, h, true)
	refused := uint64(0)
	for _, tc := range []struct {
		targets, data int
		refused       bool
	}{
		{0, 0, false}, {3, 0, false}, {1, 1, false}, {1, 3, false}, {2, 2, false},
		{0, 1, true}, {2, 1, true}, {2, 3, true}, {3, 2, true},
	} {
		targets, data := make([]string, tc.targets), make([][]byte, tc.data)
		for i := range targets {
			targets[i] = "somebody"
		}
		for i := range data {
			data[i] = []byte("x")
		}
		for cmd, m := range map[netsvr.Command]proto.Message{
			netsvr.CmdSingleCastBulk:   &netsvrpb.SingleCastBulk{UniqIds: targets, Data: data},
			netsvr.CmdTopicPublishBulk: &netsvrpb.TopicPublishBulk{Topics: targets, Data: data},
		} {
			if err := w.send(cmd, m); err != nil {
				t.Fatal(err)
			}
			w.serves()
			if tc.refused {
				refused++
			}
			if n := h.Stats().BadBulk; n != refused {
				t.Errorf("%v of %d data for %d: %d refused, want %d", cmd, tc.data, tc.targets, n, refused)
			}
			if n := log.count("bulk refused"); n > 0 != (refused > 0) { // there are no more than so many a second
				t.Errorf("%d refused, %d log lines", refused, n)
			}
		}
	}
}

// Replies to nothing are counted, those to a loop that there is not, too.
func TestStrayReplies(t *testing.T) {
	h, _ := newHub(t, Config{})
	w := attach(t, h, true)
	for _, id := range []uint64{0, 7, 1<<63 | 7} {
		m := netsvr.Reply{ID: id, Payload: []byte("x")}
		wire, err := netsvr.V2.AppendFrame(nil, netsvr.CmdReply, m.Append(nil), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(wire); err != nil {
			t.Fatal(err)
		}
	}
	w.serves()
	await(t, "the late replies", func() bool { return h.gateway.Stats().Late >= 3 })
	if s := h.gateway.Stats(); s.Late != 3 {
		t.Errorf("%d late replies, want 3", s.Late)
	}
	// Nobody's payload goes to a loop.
	l, payload := linkOf(h, w), []byte("x")
	n := testing.AllocsPerRun(100, func() { _ = l.gather(gateway.TicketOf(7<<32|7), 0, payload) })
	if n > 0 || l.replies.waiting || l.replies.batches != nil {
		t.Errorf("%v allocations for a reply to nothing, waiting: %v", n, l.replies.waiting)
	}
}

// What a link keeps of a long list is bounded, and charged.
func TestDecodedMemory(t *testing.T) {
	h, e := newHub(t, Config{})
	w := attach(t, h, true)
	for _, ids := range []int{100_000, 1000} {
		if err := w.send(netsvr.CmdMulticast, &netsvrpb.Multicast{UniqIds: make([]string, ids), Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		w.serves()
		n := e.Stats().Accounts[engine.KindLinkInput]
		if ids > keptEntries && n > keepBuffer {
			t.Errorf("%d bytes are kept after a list of %d", n, ids)
		}
		if ids < keptEntries && n < readBuffer+24*int64(ids) {
			t.Errorf("%d bytes are charged after a list of %d", n, ids)
		}
	}
}

// FuzzCommand carries out whatever a worker sends.
func FuzzCommand(f *testing.F) {
	for _, cmd := range []netsvr.Command{
		netsvr.CmdConnInfoUpdate, netsvr.CmdConnInfoDelete, netsvr.CmdBroadcast, netsvr.CmdMulticast, netsvr.CmdSingleCast,
		netsvr.CmdSingleCastBulk, netsvr.CmdTopicSubscribe, netsvr.CmdTopicUnsubscribe, netsvr.CmdTopicDelete,
		netsvr.CmdTopicPublish, netsvr.CmdForceOffline, netsvr.CmdForceOfflineGuest, netsvr.CmdTopicPublishBulk,
		netsvr.CmdRegister, netsvr.CmdUnregister, netsvr.CmdCheckOnline, netsvr.CmdUniqIDList, netsvr.CmdUniqIDCount,
		netsvr.CmdTopicCount, netsvr.CmdTopicList, netsvr.CmdTopicUniqIDList, netsvr.CmdTopicUniqIDCount, netsvr.CmdConnInfo,
		netsvr.CmdMetrics, netsvr.CmdLimit, netsvr.CmdConnOpenCustomUniqIDToken, netsvr.CmdReply, netsvr.CmdPush,
	} {
		for _, payload := range []string{"", "\x0a\x01x\x12\x01y", "\x08\x01\x12\x01y", "\x0a\x01x\x10\x01\x1a\x01z"} {
			f.Add(frameOf(f, cmd, nil)[4:], []byte(payload))
		}
	}
	f.Add([]byte("~3yPvmnz~"), []byte(nil))
	h, _ := newHub(f, Config{Metrics: []int32{0, 6}, Limits: []Limit{{Name: "x", Workers: []int{1}, Rate: 10}}})
	f.Fuzz(func(t *testing.T, head, payload []byte) {
		body := append(bytes.Clone(head), payload...)
		if len(body) < 4 {
			return
		}
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		h.mu.Lock()
		l := newLink(h, ours, 1)
		h.mu.Unlock()
		written := make(chan error, 1)
		go func() { written <- l.outbox.write(ours, patience, func(int) {}) }()
		before := h.Stats().Panics
		_ = l.handle(body)
		_ = l.flushReplies()
		l.publisher.Flush()
		h.forget(l)
		l.outbox.close()
		if err := <-written; err != nil {
			t.Error(err)
		}
		l.outbox.release()
		ours.Close()
		theirs.Close()
		if h.Stats().Panics != before {
			t.Errorf("a panic on %x", body)
		}
	})
}

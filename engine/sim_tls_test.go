package engine

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// A tlsWorld is a run of the simulation with TLS: clients make handshakes, come with records of any size
// and in any pieces, with new keys in between, stall, half-close, reset and leave handshakes where they
// are. What they ask is answered once and in order, what is published reaches them once and in order, and
// in the end nothing is left. Handshakes run on goroutines of the engine's, in a bubble, while the driver
// waits for them; lengths are the same in each run of a seed, so all of it is.
type tlsWorld struct {
	sim       *Sim
	clients   []*tlsClient
	conns     []*tlsPeer  // by port, less 1000
	live      []*tlsPeer  // whose end has not been seen on both sides
	published map[int]int // by connection: over another one there is no order
	draining  bool
	big       bool // messages are
	saw       tlsSaw
}

// tlsSaw counts what happened, which tells whether a run gets anywhere.
type tlsSaw struct {
	Handshakes12, Handshakes13, Left, TimedOut, Answers, Pushes, KeyUpdates, Empty, Halves, Resets, Goodbyes, Slow int
}

func (s *tlsSaw) add(o tlsSaw) {
	for i, n := range o.list() {
		*s.list()[i] += *n
	}
}

func (s *tlsSaw) list() []*int {
	return []*int{&s.Handshakes12, &s.Handshakes13, &s.Left, &s.TimedOut, &s.Answers, &s.Pushes, &s.KeyUpdates, &s.Empty,
		&s.Halves, &s.Resets, &s.Goodbyes, &s.Slow}
}

// simCertificate has a key whose signatures have one length.
var simCertificate = sync.OnceValue(func() tls.Certificate {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// simulateTLS runs one seed.
func simulateTLS(t *testing.T, seed uint64, steps int) (w *tlsWorld) {
	faketime.Test(t, func(t *testing.T) {
		w = new(tlsWorld)
		sim, err := NewSim(SimOptions{
			Seed: seed, Settle: w.settle,
			Config: Config{
				HandshakeTimeout: 10 * time.Second,
				Dialects:         []Dialect{{Name: "tls-sim", Append: func(dst []byte, p Push) ([]byte, error) { return append(append(dst, p.Payload...), '\n'), nil }}},
			},
			Setup: func(s *Sim, c *Config) error {
				c.Backlog, c.Lag = 8<<10<<s.Pick(4), 32<<10<<s.Pick(4)
				return nil
			},
			TLS:       &tls.Config{Certificates: []tls.Certificate{simCertificate()}},
			Protocols: func(*Engine) []Protocol { return []Protocol{tlsProtocol{w: w}} },
		})
		if err != nil {
			t.Fatal(err)
		}
		w.sim = sim
		hs := &sim.Engine().handshakes
		hs.cpu, hs.crowd = make(chan struct{}, 1), make(chan struct{}, 1) // one after the other
		hs.onWake = synctest.Wait                                         // in the order in which loops wake them
		w.shut()
		w.run(steps)
	})
	return w
}

// settle has the handshakes compute, which wait while the driver does something: what they do would
// come sooner or later, as it happens.
func (w *tlsWorld) settle() {
	<-w.sim.Engine().handshakes.cpu
	synctest.Wait()
	w.shut()
}

// shut has them wait.
func (w *tlsWorld) shut() { w.sim.Engine().handshakes.cpu <- struct{}{} }

func (w *tlsWorld) run(steps int) {
	n := w.sim.Between(2, 12)
	w.published = make(map[int]int)
	w.big = w.sim.OneIn(4)
	period := 2000 << w.sim.Pick(6)
	for i := range n {
		c := &tlsClient{w: w, index: i, period: period}
		w.clients = append(w.clients, c)
		w.sim.After(int64(w.sim.Pick(period)), c.act)
	}
	for w.sim.Steps() < steps && w.sim.Failure() == "" {
		w.sim.Step()
	}
	w.end()
}

// end brings everything to rest: all is answered, then all connections end.
func (w *tlsWorld) end() {
	w.draining = true
	w.sim.Calm()
	if !w.sim.Until(60e6, func() bool { return w.restless() == "" }) {
		w.sim.Fail("P8: it does not come to rest: %s", w.restless())
	}
	w.sim.Check()
	for _, p := range w.live {
		p.checkComplete()
	}
	w.sim.CloseAll()
	if !w.sim.Until(20e6, func() bool {
		w.reap()
		return w.sim.Engine().Connections() == 0 && !w.sim.Busy() && len(w.live) == 0
	}) {
		w.sim.Fail("P8: %d connections do not end, %d peers do not hear of it", w.sim.Engine().Connections(), len(w.live))
	}
	for _, p := range w.conns {
		p.mem.close()
	}
	w.sim.Until(3e6, func() bool { return false })
	w.settle()
	w.sim.End()
	simEndHandshakes(w.sim.Engine())
}

// reap forgets connections of which nothing is left on either side.
func (w *tlsWorld) reap() {
	for _, p := range slices.Clone(w.live) {
		if !p.k.Live() && p.k.Released() {
			p.over()
		}
	}
}

// restless says what is under way.
func (w *tlsWorld) restless() string {
	if w.sim.Busy() {
		return "a loop is busy"
	}
	w.reap()
	for _, p := range w.live {
		switch {
		case !p.k.Live():
			return fmt.Sprintf("connection %d has ended on one side only", p.index)
		case p.leaves, p.k.HalfClosed():
			return fmt.Sprintf("connection %d is to end", p.index)
		case len(p.tail) > 0 || len(p.raw) > 0 || !p.shaken || !p.k.Idle() || simUnsent(p.k.Conn()):
			return fmt.Sprintf("connection %d has bytes under way", p.index)
		case p.answered != p.asked:
			return fmt.Sprintf("connection %d has %d answers of %d", p.index, p.answered, p.asked)
		}
	}
	return ""
}

// A tlsClient connects again and again.
type tlsClient struct {
	w      *tlsWorld
	index  int
	period int
	peer   *tlsPeer // nil: not connected
}

func (c *tlsClient) act() {
	w := c.w
	if w.draining || w.sim.Failure() != "" {
		return
	}
	w.sim.After(int64(1+c.period/2+w.sim.Pick(c.period)), c.act)
	w.reap()
	if c.peer == nil {
		c.dial()
		return
	}
	if p := c.peer; p.k.Live() && p.shaken && !p.ended && len(p.tail) == 0 && !p.k.HalfClosed() && p.k.Unsent() < 64<<10 {
		p.act()
	}
}

func (c *tlsClient) dial() {
	w := c.w
	p := &tlsPeer{w: w, client: c, index: len(w.conns), next: make(map[int]int)}
	p.mem = &simMem{blocking: true}
	p.mem.more.L = &p.mem.mu
	p.packets = w.sim.OneIn(2)
	config := &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &p.keys, DynamicRecordSizingDisabled: true}
	if w.sim.OneIn(3) {
		config.MaxVersion = tls.VersionTLS12
	}
	p.conn = tls.Client(p.mem, config)
	c.peer = p
	w.conns, w.live = append(w.conns, p), append(w.live, p)
	p.k = w.sim.Dial(w.sim.Pick(len(w.sim.w.loops)), p)
	p.leaves = w.sim.OneIn(12)
	go func() {
		err := p.conn.Handshake()
		p.mem.mu.Lock()
		defer p.mem.mu.Unlock()
		p.mem.err, p.mem.done, p.mem.blocking = err, true, false
	}()
	p.flush()
}

// simMem is a client's connection in memory. During the handshake a Read waits, then there is an error
// that is temporary.
type simMem struct {
	tlsConn                // for what is not used
	mu                     sync.Mutex
	more                   sync.Cond
	in, out                []byte
	blocking, closed, done bool
	err                    error
}

func (m *simMem) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.in) == 0 && m.blocking && !m.closed {
		m.more.Wait()
	}
	if len(m.in) == 0 {
		return 0, errNoInput
	}
	n := copy(p, m.in)
	m.in = m.in[n:]
	return n, nil
}

func (m *simMem) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out = append(m.out, p...)
	return len(p), nil
}

func (m *simMem) Close() error { return nil }

func (m *simMem) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.more.Broadcast()
}

// A tlsPeer is a client's end of a connection. Behind the handshake it makes the records of TLS 1.3
// itself, and has crypto/tls make those of TLS 1.2.
type tlsPeer struct {
	w      *tlsWorld
	client *tlsClient
	index  int
	k      *SimSocket
	conn   *tls.Conn
	mem    *simMem
	keys   bytes.Buffer
	shaken bool
	own    *recordClient // of TLS 1.3

	leaves  bool // it does not go on with its handshake
	packets bool // it wants each line in a record of its own
	raw     []byte
	plain   []byte
	tail    []byte // of a record of which half is sent
	idle    int    // records without data so far

	asked, answered int
	subscribed      bool
	next            map[int]int // push expected, by the connection that has published it; 0: any
	floor           map[int]int // what had been published when the subscription was told of
	bye, notified   bool
	ended           bool // it has closed its side, or all
	handler         *tlsHandler
}

// flush has handshakes go on, and sends what the client's has written.
func (p *tlsPeer) flush() {
	synctest.Wait()
	m := p.mem
	m.mu.Lock()
	out := m.out
	m.out = nil
	done, err := m.done, m.err
	m.mu.Unlock()
	if p.leaves && len(out) > 1 {
		p.w.saw.Left++
		out = out[:1+p.w.sim.Pick(len(out)-1)]
	}
	p.send(out)
	if !done || p.shaken || p.ended {
		return
	}
	if err != nil {
		p.w.sim.Fail("connection %d: the handshake: %v", p.index, err)
		return
	}
	p.shaken = true
	if p.conn.ConnectionState().Version == tls.VersionTLS12 {
		p.w.saw.Handshakes12++
	} else {
		p.w.saw.Handshakes13++
		p.own = new(recordClient)
		if !p.own.takeKeys(p.keys.String()) {
			p.w.sim.Fail("another suite was agreed")
		}
		p.raw, m.in = m.in, nil
	}
	p.ask("C")
}

// send sends bytes of records, now and then the last part later.
func (p *tlsPeer) send(b []byte) {
	s := p.w.sim
	if len(p.tail) > 0 {
		p.tail = append(p.tail, b...)
		return
	}
	if len(b) > 1 && s.OneIn(8) && !p.leaves {
		n := 1 + s.Pick(len(b)-1)
		b, p.tail = b[:n], bytes.Clone(b[n:])
		s.After(int64(s.Pick(100_000)), func() {
			tail := p.tail
			p.tail = nil
			if p.k.Live() && !p.ended {
				p.k.Write(tail)
			}
		})
	}
	p.k.Write(b)
}

// ask sends a numbered request.
func (p *tlsPeer) ask(kind string, args ...int) {
	b := fmt.Appendf(nil, "%s %d", kind, p.asked)
	p.asked++
	for _, a := range args {
		b = fmt.Appendf(b, " %d", a)
	}
	p.say(append(b, '\n'))
}

// say sends a line in records of some size.
func (p *tlsPeer) say(line []byte) {
	s := p.w.sim
	size := [...]int{1, 2 + s.Pick(8), len(line), len(line)}[s.Pick(4)]
	for part := range slices.Chunk(line, size) {
		if p.own == nil {
			_, _ = p.conn.Write(part)
			continue
		}
		out := p.own.seal(recordData, part)
		if p.idle < 100 && s.OneIn(16) {
			p.idle++
			if s.OneIn(3) {
				p.w.saw.Empty++
				out = append(out, p.own.seal(recordData, nil)...)
			} else {
				p.w.saw.KeyUpdates++
				out = append(out, p.own.keyUpdate(s.OneIn(2))...)
			}
		}
		p.send(out)
	}
	if p.own == nil {
		p.flush()
	}
}

// act does one thing.
func (p *tlsPeer) act() {
	s := p.w.sim
	size := s.Pick(256 << s.Pick(5))
	if p.w.big || s.OneIn(40) {
		size = s.Pick(48 << 10) // three records
	}
	switch s.Pick(40) {
	case 0:
		p.w.saw.Resets++
		p.ended = true
		p.k.Reset()
	case 1: // with a close_notify or without
		if s.OneIn(2) {
			p.sayAlert()
		}
		p.w.saw.Halves++
		p.ended = true
		p.k.CloseWrite()
	case 2:
		p.ask("Q")
		p.asked-- // the answer is the goodbye
		p.ended = true
	case 3:
		p.k.Stall(int64(s.Pick(100_000 << s.Pick(9))))
	case 4, 5, 6, 7:
		p.ask("S")
	case 8, 9:
		p.ask("H", s.Pick(200))
	default:
		if s.OneIn(2) {
			p.ask("P", size)
		} else {
			p.ask("E", size)
		}
	}
}

func (p *tlsPeer) sayAlert() {
	if p.own == nil {
		_ = p.conn.CloseWrite()
		p.flush()
		return
	}
	p.send(p.own.seal(recordAlert, []byte{1, 0}))
}

// Bytes implements SimPeer.
func (p *tlsPeer) Bytes(_ *SimSocket, b []byte) int {
	if !p.shaken || p.own == nil {
		p.mem.mu.Lock()
		p.mem.in = append(p.mem.in, b...)
		p.mem.more.Broadcast()
		p.mem.mu.Unlock()
		if p.flush(); p.shaken && p.own == nil {
			p.read12()
		}
		return len(b)
	}
	p.raw = append(p.raw, b...)
	p.read13()
	return len(b)
}

func (p *tlsPeer) read12() {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.conn.Read(buf)
		p.data(buf[:n])
		if err == nil {
			continue
		}
		p.notified = p.notified || err.Error() == "EOF"
		if err != errNoInput && !p.notified {
			p.w.sim.Fail("connection %d receives: %v", p.index, err)
		}
		return
	}
}

func (p *tlsPeer) read13() {
	for p.w.sim.Failure() == "" {
		n := recordSize(p.raw)
		if n > len(p.raw) {
			return
		}
		inner, b, err := p.own.open(p.raw[:n])
		p.raw = p.raw[n:]
		switch {
		case err != nil:
			p.w.sim.Fail("connection %d receives: %v", p.index, err)
		case p.notified:
			p.w.sim.Fail("P5: connection %d receives a record behind the close_notify", p.index)
		case inner == recordAlert && b[1] == 0:
			p.notified = true
		case inner == recordAlert:
			p.w.sim.Fail("connection %d receives alert %d", p.index, b[1])
		case inner == recordData:
			if lines := bytes.Count(b, []byte("\n")); p.packets && (lines > 1 || lines == 1 && b[len(b)-1] != '\n') {
				p.w.sim.Fail("connection %d receives several packets in a record", p.index)
			}
			p.data(b)
		}
	}
}

// data takes what was decrypted.
func (p *tlsPeer) data(b []byte) {
	p.plain = append(p.plain, b...)
	for {
		line, rest, ok := bytes.Cut(p.plain, []byte("\n"))
		if !ok || p.w.sim.Failure() != "" {
			return
		}
		p.line(line)
		p.plain = rest
	}
}

// line is one message: an answer, a push, or the goodbye.
func (p *tlsPeer) line(b []byte) {
	s := p.w.sim
	r := simReader{b[1:]}
	switch {
	case p.bye:
		s.Fail("P5: connection %d: %.20q behind the goodbye", p.index, b)
	case b[0] == 'z':
		p.bye = true
		p.w.saw.Goodbyes++
	case b[0] == 'p':
		p.w.saw.Pushes++
		from, n, size := r.int(), r.int(), r.int()
		if len(r.b) != size+1 {
			s.Fail("P6: connection %d: push %d of %d has %d bytes, want %d", p.index, n, from, len(r.b)-1, size)
		}
		if p.next[from] != 0 && n != p.next[from] {
			s.Fail("P6: connection %d: push %d of %d, want %d", p.index, n, from, p.next[from])
		}
		p.next[from] = n + 1
	default:
		p.w.saw.Answers++
		if k, size := r.int(), r.int(); k != p.answered || len(r.b) != size+1 {
			s.Fail("P5: connection %d: answer %d of %d bytes, want %d of %d: %.40q", p.index, k, len(r.b)-1, p.answered, size, b)
		}
		p.answered++
		if b[0] == 's' && !p.subscribed {
			p.subscribed = true
			p.floor = maps.Clone(p.w.published)
		}
	}
}

// checkComplete is done when all has come to rest.
func (p *tlsPeer) checkComplete() {
	if !p.subscribed || p.w.sim.Failure() != "" {
		return
	}
	for from, n := range p.w.published {
		if n > p.floor[from] && p.next[from] != n+1 {
			p.w.sim.Fail("P6: connection %d misses pushes %d to %d of %d", p.index, p.next[from], n, from)
		}
	}
}

// End implements SimPeer.
func (p *tlsPeer) End(_ *SimSocket, reset bool) {
	s, h := p.w.sim, p.handler
	switch {
	case reset, h == nil, h.why == ReasonPeerClosed, h.why == ReasonSlowConsumer, h.why == ReasonWriteError:
	case s.w.clock-h.closedAt > 19*simSecond/10, s.w.clock-s.w.fair() != h.unfair: // it was cut off
	case !p.bye || !p.notified:
		s.Fail("P5: connection %d ends (%v) with goodbye %v, close_notify %v", p.index, h.why, p.bye, p.notified)
	}
	p.ended = true
}

// over forgets p.
func (p *tlsPeer) over() {
	w := p.w
	p.mem.close()
	if p.client.peer == p {
		p.client.peer = nil
	}
	w.live = slices.DeleteFunc(w.live, func(o *tlsPeer) bool { return o == p })
	if p.leaves {
		w.saw.TimedOut++
	}
}

// tlsProtocol is the server's side.
type tlsProtocol struct{ w *tlsWorld }

func (tlsProtocol) Name() string       { return "tls-sim" }
func (tlsProtocol) TrustedOnLoop()     {}
func (tlsProtocol) Sniff([]byte) Match { return Matched }

func (t tlsProtocol) Open(c *Conn) Handler {
	h := &tlsHandler{w: t.w, peer: t.w.conns[int(c.Peer().Port())-1000], ref: c.Ref()}
	h.peer.handler = h
	if info, ok := c.TLS(); !ok || info.Version < tls.VersionTLS12 {
		t.w.sim.Fail("connection %d without TLS: %+v", h.peer.index, info)
	}
	c.SetDeadline(0)
	if h.peer.packets {
		return tlsPackets{h}
	}
	return h
}

type tlsHandler struct {
	w      *tlsWorld
	peer   *tlsPeer
	ref    Ref
	why    Reason
	over   bool
	paused bool

	closedAt, unfair int64 // us, as simHandler has them
}

// tlsPackets wants each line in a record of its own.
type tlsPackets struct{ *tlsHandler }

func (tlsPackets) PacketSize(b []byte) int { return bytes.IndexByte(b, '\n') + 1 }

func (h *tlsHandler) OnBytes(c *Conn, b []byte) (n, need int) {
	if h.paused || h.over {
		h.w.sim.Fail("connection %d: input is handled while reading is paused or after the end", h.peer.index)
	}
	for c.Open() && !c.Paused() && !c.OutputFull() {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return n, len(b) - n + 1
		}
		line := b[n : n+i]
		n += i + 1
		h.command(c, line)
	}
	return n, 0
}

func (h *tlsHandler) command(c *Conn, line []byte) {
	r := simReader{line[1:]}
	k, arg := r.int(), r.int()
	switch line[0] {
	case 'C':
		h.reply(c, 'c', k, 0)
	case 'E':
		h.reply(c, 'e', k, arg)
	case 'S':
		c.Subscribe([]byte("topic"))
		h.reply(c, 's', k, 0)
	case 'P':
		from := h.peer.index
		h.w.published[from]++
		c.Publish([]byte("topic"), Push{Payload: simPush(nil, 'p', arg, from, h.w.published[from], arg)})
		h.reply(c, 'p'+1, k, 0)
	case 'H':
		h.paused = true
		c.Pause()
		h.w.sim.After(int64(arg)*1000, func() {
			h.w.sim.Engine().Tell(h.ref, func(c *Conn) {
				if c == nil || h.over {
					return
				}
				h.paused = false
				h.reply(c, 'h', k, 0)
				c.Resume()
			})
		})
	case 'Q':
		c.Close(ReasonClientClose)
	default:
		h.w.sim.Fail("connection %d: a command %.20q", h.peer.index, line)
	}
}

func (h *tlsHandler) reply(c *Conn, kind byte, k, size int) {
	if c.Open() {
		b := append([]byte{kind, ' '}, strconv.Itoa(k)...)
		b = append(append(b, ' '), strconv.Itoa(size)...)
		c.Write(append(simPad(b, size), '\n'))
	}
}

func (h *tlsHandler) OnDeadline(*Conn) {}

func (h *tlsHandler) Goodbye(c *Conn, why Reason) { c.Write([]byte("z " + why.String() + "\n")) }

func (h *tlsHandler) OnClose(c *Conn, why Reason) {
	if h.over {
		h.w.sim.Fail("P8: connection %d: OnClose twice", h.peer.index)
	}
	h.over, h.paused, h.why = true, false, why
	h.closedAt, h.unfair = h.w.sim.Clock(), h.w.sim.Clock()-h.w.sim.Fair()
	h.w.sim.Mix(uint64(why)<<32 | uint64(h.peer.index))
	p := h.peer
	switch why {
	case ReasonPeerClosed, ReasonWriteError:
		if !p.ended && p.k.Live() {
			h.w.sim.Fail("P8: connection %d is said to have ended: %v", p.index, why)
		}
	case ReasonSlowConsumer:
		h.w.saw.Slow++
	case ReasonClientClose:
	case ReasonShutdown:
		if !h.w.draining {
			h.w.sim.Fail("connection %d is closed for a shutdown", p.index)
		}
	default:
		h.w.sim.Fail("connection %d is closed: %v", p.index, why)
	}
}

const tlsReplay = "to see it again: go test ./engine -run 'TestSimulationTLS$' -sim.seed=%d -sim.steps=%d"

// TestSimulationTLS runs connections with TLS on simulated loops.
func TestSimulationTLS(t *testing.T) {
	t.Parallel()
	steps, first, last := *simSteps, uint64(1), uint64(max(*simSeeds/40, 10))
	switch {
	case *simSeed != 0:
		first, last = *simSeed, *simSeed
	case testing.Short():
		last = min(last, 15)
	}
	var saw tlsSaw
	begun, failures := time.Now(), 0
	for seed := first; seed <= last && failures < 3; seed++ {
		w := simulateTLS(t, seed, steps)
		if f := w.sim.Failure(); f != "" {
			failures++
			t.Errorf("seed %d, step %d, %d ms: %s\n"+tlsReplay, seed, w.sim.Steps(), w.sim.Clock()/1000, f, seed, steps)
		}
		saw.add(w.saw)
	}
	t.Logf("%d seeds in %v, saw %+v", last-first+1, time.Since(begun).Round(time.Millisecond), saw)
	if last >= 50 && failures == 0 {
		for i, n := range saw.list() {
			if *n == 0 {
				t.Errorf("it gets nowhere: number %d of %+v", i, saw)
			}
		}
	}
}

// TestSimulationReplayTLS: a seed gives the same run, although keys differ and goroutines run as they are
// scheduled. In those from 31 on, several handshakes are given a record in one turn of a loop.
func TestSimulationReplayTLS(t *testing.T) {
	t.Parallel()
	type run struct {
		digest uint64
		steps  int
		us     int64
		saw    tlsSaw
	}
	play := func(seed uint64) run {
		w := simulateTLS(t, seed, 1000)
		return run{w.sim.Digest(), w.sim.Steps(), w.sim.Clock(), w.saw}
	}
	for _, seed := range []uint64{1, 2, 3, 31, 38, 42, 55, 59, 68, 71, 73, 85, 88} {
		first := play(seed)
		for range 2 {
			if again := play(seed); again != first {
				t.Errorf("seed %d: %+v, then %+v", seed, first, again)
			}
		}
	}
}

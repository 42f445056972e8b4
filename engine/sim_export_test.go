package engine

import (
	"crypto/tls"
	"log/slog"

	"github.com/sluicenet/sluice/topic"
)

// The simulated system for tests of what imports the engine, in package engine_test.

// SimSeed, SimSeeds, SimSteps and SimTrace are the flags of the simulation.
var SimSeed, SimSeeds, SimSteps, SimTrace = simSeed, simSeeds, simSteps, simTrace

// A Sim is a simulated engine with protocols of the test's. Everything is done by the test's
// goroutine, but for goroutines that the test's own parts start, which run within Settle.
type Sim struct {
	w       *simWorld
	dialled int
}

// SimOptions set up a Sim.
type SimOptions struct {
	Seed      uint64
	Loops     int // 0: from the seed
	Config    Config
	Protocols func(*Engine) []Protocol
	// Setup is called before the engine is made, with its Config.
	Setup func(*Sim, *Config) error
	// Settle is called when the loops have given goroutines something to do; it returns when they
	// wait again.
	Settle func()
	// Kept returns the bytes of a kind that handlers have charged, negative where it does not know.
	Kept func(Kind) int64
	// Policy returns the listener's, once Setup was called; nil: SlowClose.
	Policy func() SlowConsumer
	// Numbered is told of what gets numbers in a topic's history.
	Numbered func(st *topic.Stream, first uint64, records []byte)
	// TLS has the listener speak it. Handshakes run beside the loops: Settle must wait for them.
	TLS *tls.Config
}

// NewSim makes a Sim. Network, jumps of the clock and standstills come from the seed, and so does
// the number of loops.
func NewSim(o SimOptions) (*Sim, error) {
	w := newSimWorld(o.Seed, simOptions{})
	w.randomOptions()
	opt := &w.opt
	opt.clients, opt.workers, opt.publishers, opt.topics, opt.modes = 0, 0, 0, 0, nil
	if o.Loops > 0 {
		opt.loops = o.Loops
	}
	opt.config, opt.pace = Config{}, min(opt.pace, 64)
	w.sendCost = min(w.sendCost, 20)
	w.shown = *opt
	w.settled, w.kept = o.Settle, o.Kept
	w.clock = int64(w.pick(1_000_000))
	w.canPause = !opt.noPause
	w.fds = make([]*simFile, 3, 64)
	o.Config.Loops = opt.loops
	o.Config.Logger = slog.New(simLog{w})
	s := &Sim{w: w}
	if o.Setup != nil {
		if err := o.Setup(s, &o.Config); err != nil {
			return nil, err
		}
	}
	lc := []ListenConfig{{Network: "tcp", TLS: o.TLS}}
	if o.Policy != nil {
		lc[0].SlowConsumer = o.Policy()
	}
	if err := simStart(w, o.Config, lc, w.canPause); err != nil {
		return nil, err
	}
	(*w.engine.listeners.Load())[0].config.Protocols = o.Protocols(w.engine)
	w.engine.numbered = o.Numbered
	return s, nil
}

// Engine returns the engine.
func (s *Sim) Engine() *Engine { return s.w.engine }

// Pick returns a number below n.
func (s *Sim) Pick(n int) int { return s.w.pick(n) }

// OneIn is true once in n times, never for 0.
func (s *Sim) OneIn(n int) bool { return s.w.oneIn(n) }

// Between returns a number from low to high.
func (s *Sim) Between(low, high int) int { return s.w.between(low, high) }

// Read fills p with random numbers; a gateway may take them for its own.
func (s *Sim) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s.w.pick(256))
	}
	return len(p), nil
}

// Clock returns the simulated time in us, and Fair what of it loops could use.
func (s *Sim) Clock() int64 { return s.w.clock }

// Fair returns the time in us in which the loops could do something.
func (s *Sim) Fair() int64 { return s.w.fair() }

// After has f called us from now.
func (s *Sim) After(us int64, f func()) { s.w.call(us, f) }

// Step is one choice of the driver.
func (s *Sim) Step() { s.w.step() }

// Steps returns how many there were.
func (s *Sim) Steps() int { return s.w.steps }

// Stick leaves a loop without a core for us.
func (s *Sim) Stick(loop int, us int64) { s.w.loops[loop].stuck = s.w.clock + us }

// Jump lets time pass in which nobody has a core.
func (s *Sim) Jump(us int64) { s.w.jump(us) }

// Until steps until done, or for us; it reports whether it is done.
func (s *Sim) Until(us int64, done func() bool) bool { return s.w.until(us, 1_000_000, done) }

// Calm ends jumps, standstills and failures of the system.
func (s *Sim) Calm() {
	s.w.opt.jumps, s.w.opt.stuck, s.w.opt.enobufs, s.w.opt.dupFails = 0, 0, 0, 0
	s.w.phase = simDraining
}

// CloseAll closes all connections for a shutdown.
func (s *Sim) CloseAll() { s.w.allClosing = true; s.w.engine.CloseAll(ReasonShutdown) }

// Busy reports whether a loop has something to do.
func (s *Sim) Busy() bool { return s.w.busy() }

// MailboxFull reports whether a Publisher would have to wait for a loop.
func (s *Sim) MailboxFull(loop int) bool { return s.w.engine.loops[loop].mailbox.full() }

// MayPublish reports whether a Publisher would not have to wait for a topic's subscribers.
func (s *Sim) MayPublish(name []byte) bool {
	e := s.w.engine
	pb, to := e.NewPublisher(), audience{kind: subscribersOf, name: name}
	pb.aim(&to)
	sight := pb.see(&to)
	return !sight.full && !sight.elsewhere && sight.congested == 0
}

// FitsRun reports whether messages with so many bytes of payloads and routes go together in a run: a
// Replica does not wait in the middle of a frame then.
func (s *Sim) FitsRun(bytes, messages int) bool {
	return messages == 1 || bytes+messages*overhead <= s.w.engine.maxRun
}

// Check compares the engine's accounts and gauges with the truth.
func (s *Sim) Check() { s.w.check() }

// End requires that nothing is left, and ends the loops.
func (s *Sim) End() {
	if s.w.failure == "" {
		if err := simLeft(s.w.engine); err != nil {
			s.Fail("P8: at the end: %v", err)
		}
	}
	s.w.abort()
}

// Fail notes the first promise that was broken.
func (s *Sim) Fail(format string, args ...any) { s.w.fail(format, args...) }

// Failure returns it, empty for none.
func (s *Sim) Failure() string { return s.w.failure }

// Mix puts n into the digest.
func (s *Sim) Mix(n uint64) { s.w.mix(n) }

// Digest is what two runs of one seed must agree on.
func (s *Sim) Digest() uint64 { return s.w.digest() }

// A SimPeer is who reads what a socket receives.
type SimPeer interface {
	// Bytes is given what has arrived, and returns how many bytes of it it has used.
	Bytes(k *SimSocket, b []byte) int
	// End is called when the server has closed, or reset, the connection.
	End(k *SimSocket, reset bool)
}

// A SimSocket is a client's end of a connection.
type SimSocket struct {
	s      *Sim
	peer   SimPeer
	client *simClient
	file   *simFile
	port   int
	ref    Ref // 0 until gnet has opened the connection
	due    bool
	stall  int64 // us, until when the peer does not read
}

// Dial has a connection accepted on a loop.
func (s *Sim) Dial(loop int, peer SimPeer) *SimSocket {
	w := s.w
	l := w.loops[loop]
	k := &SimSocket{s: s, peer: peer, port: 1000 + s.dialled}
	c := &simClient{w: w, index: s.dialled, kind: simQuick, source: -1, socket: k}
	s.dialled++
	f := &simFile{w: w, client: c, loop: l, sendCap: w.opt.sendCap, window: w.opt.window/2 + w.pick(w.opt.window),
		latency: 20 + int64(w.pick(w.opt.latency)), tookAt: w.clock}
	c.file, k.client, k.file = f, c, f
	fd := w.newFd(f)
	f.name = fd
	f.conn = &simConn{el: &l.gnet, file: f, fd: fd, ctx: simAcceptor(w.engine, 0)}
	f.conn.remote.IP, f.conn.remote.Port = simLoopback, k.port
	f.conn.local.IP, f.conn.local.Port = simLoopback, 7000
	l.opening = append(l.opening, f.conn)
	w.enrolling++
	return k
}

// Port is the peer's port, as the server sees it.
func (k *SimSocket) Port() int { return k.port }

// Conn returns the server's connection, nil before it begins and when its slot is free.
func (k *SimSocket) Conn() *Conn {
	if k.ref == 0 && k.file.conn != nil {
		k.ref = simRefOf(k.file.conn)
	}
	if k.ref == 0 {
		return nil
	}
	return simConnOf(k.s.w.engine, k.ref)
}

// Write sends b.
func (k *SimSocket) Write(b []byte) {
	if k.client.file != nil && !k.file.finAsked {
		k.file.tx = append(k.file.tx, b...)
		k.file.sendLater(0)
	}
}

// Acknowledged returns how many bytes the server knows to have arrived, and those of them that the
// peer has not used.
func (k *SimSocket) Acknowledged() (n int64, unused []byte) {
	f := k.file
	return f.acked, f.buf[f.head : f.head+int(max(0, f.acked-f.parsed))]
}

// Used returns how many bytes the peer has used.
func (k *SimSocket) Used() int64 { return k.file.parsed }

// Queued returns the bytes that wait for the server's socket.
func (k *SimSocket) Queued() int {
	if c := k.Conn(); c != nil {
		return simQueued(c)
	}
	return 0
}

// Unsent returns the bytes that the server's socket has not taken.
func (k *SimSocket) Unsent() int { return len(k.file.tx) }

// Stall has the peer not read for us.
func (k *SimSocket) Stall(us int64) { k.stall = k.s.w.clock + us }

// CloseWrite closes the peer's writing side.
func (k *SimSocket) CloseWrite() { k.client.finish() }

// Close closes the peer's socket.
func (k *SimSocket) Close() { k.client.close() }

// Reset breaks the connection.
func (k *SimSocket) Reset() { k.client.reset() }

// Live reports whether the peer has the connection.
func (k *SimSocket) Live() bool { return k.client.file != nil }

// Released reports whether the server has closed its side.
func (k *SimSocket) Released() bool { return k.file.open == 0 }

// HalfClosed reports whether the peer has closed its writing side.
func (k *SimSocket) HalfClosed() bool { return k.file.finAsked }

// Idle reports whether nothing is on its way, and the peer has read everything.
func (k *SimSocket) Idle() bool {
	f := k.file
	return f.read == f.sent && f.acked == f.sent && len(f.tx) == 0 && len(f.rx) == f.rxHead
}

// readLater has the peer read soon.
func (k *SimSocket) readLater() {
	if k.due {
		return
	}
	w := k.s.w
	k.due = true
	w.call(int64(w.pick(200))+max(0, k.stall-w.clock), k.read)
}

func (k *SimSocket) read() {
	k.due = false
	f, w := k.file, k.s.w
	if k.client.file != f {
		return
	}
	if f.delivered > f.read {
		f.read = f.delivered
		for f.parsed < f.read && k.client.file == f {
			b := f.buf[f.head : f.head+int(f.read-f.parsed)]
			n := k.peer.Bytes(k, b)
			if n == 0 || w.failure != "" {
				break
			}
			f.head += n
			f.parsed += int64(n)
		}
		if f.sent > f.delivered {
			f.netLater()
		}
	}
	switch {
	case k.client.file != f:
	case f.read < f.delivered:
		k.readLater()
	case f.finSeen && f.read == f.sent:
		k.peer.End(k, false)
		if k.client.file == f {
			k.client.close()
		}
	}
}

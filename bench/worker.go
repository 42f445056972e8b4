package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sluicenet/sluice/bench/latency"
	"github.com/sluicenet/sluice/bench/reactor"
	"github.com/sluicenet/sluice/bench/wire"
)

// never is a time that does not come.
const never = int64(math.MaxInt64)

// housekeeping is how often time-outs and keep-alives are looked at, in nanoseconds.
const housekeeping = int64(250 * time.Millisecond)

type role uint8

const (
	roleMember    role = iota // subscriber, requester, idler
	rolePublisher             // of fanout
)

type phase uint8

// The phases of a connection, in the order it goes through them.
const (
	phaseNone phase = iota
	phaseDialing
	phaseOpening     // the transport's own handshake
	phaseLogin       // waits for the verdict
	phaseSession     // waits for a secret to resume with
	phaseSubscribing // waits for pending answers
	phaseReady
	phaseGone
)

type conn struct {
	sock    *reactor.Socket
	peer    wire.Peer
	role    role
	phase   phase
	resumed bool  // by session: topics are there already
	tries   uint8 // failures to come up so far
	index   int   // among all connections of its role
	local   int   // in worker.conns
	group   int   // of topics that it hears
	pending int   // answers to subscriptions still to come
	joining bool  // takes the first message as it comes
	next    int   // first of its expected ids in worker.next
	began   int64 // when it was dialled
	due     int64 // when it should have been

	// of echo
	ring        int    // first of its slots in echo.ring
	outstanding int    // requests without an answer
	nextID      uint32 // of its next request
}

// A worker drives the connections of one loop.
type worker struct {
	*plan
	unit, units int // this loop among all loops of all processes
	loop        *reactor.Loop
	driver      wire.Driver // of members
	publishing  wire.Driver // of publishers: the same, or a *wire.Link
	behaviour   behaviour
	skimmer     wire.Skimmer
	ev          wire.Event // of Readable, here so that it is not made anew for each read

	conns              []conn
	next               []uint32 // expected ids, Publishers for each member; nil: nobody publishes
	stampAt, stampRoom int      // in a body
	queue              []int    // conns to dial
	dialing            int
	window             int // at most so many at once
	retry              []int
	retryAt            int64
	kept               int64 // when housekeeping was done last
	turn               int   // of ping

	count    Counters
	live     int   // connections that are up
	left     int   // connections not yet up for the first time
	enlisted int   // members that a worker has subscribed
	err      error // why the set-up cannot succeed
	errors   []string
	latency  *latency.Recorder // from when things were due
	raw      *latency.Recorder // from when they left
	aside    bool              // deliveries are not what the scenario counts
	started  bool
	halted   bool  // nothing more is to be sent
	t0       int64 // start of the run
	from, to int64 // the measured window; its end is the end of sending too
}

func newWorker(p *plan, unit, units int) (*worker, error) {
	d, err := wire.New(p.wireOptions())
	if err != nil {
		return nil, err
	}
	w := &worker{
		plan: p, unit: unit, units: units, driver: d,
		latency: latency.NewRecorder(), raw: latency.NewRecorder(),
		window: max(p.Dialing/units, 1), publishing: d,
	}
	if p.link.isValid() {
		w.publishing = wire.NewLink(d)
	}
	if w.loop, err = reactor.NewLoop(w); err != nil {
		return nil, err
	}
	if _, w.stampAt, w.stampRoom, err = d.Body(p.Size); err != nil {
		return nil, err
	}
	w.addConns(roleMember, p.Connections)
	if scenarios[p.Scenario].publishes(p) {
		w.next = make([]uint32, len(w.conns)*p.Publishers)
		for i := range w.conns {
			w.conns[i].next = i * p.Publishers
			w.expectFirst(&w.conns[i])
		}
		w.addConns(rolePublisher, p.Publishers)
	}
	w.left = len(w.conns)
	w.behaviour = scenarios[p.Scenario].behave(w)
	return w, nil
}

// addConns makes this worker's share of n connections: every units-th.
func (w *worker) addConns(r role, n int) {
	for i := w.unit; i < n; i += w.units {
		c := conn{role: r, index: i, local: len(w.conns), group: i % w.groups}
		if w.TokenPrefix != "" {
			c.peer.Token = fmt.Sprintf("%s%d-%d", w.TokenPrefix, r, i)
		}
		w.conns = append(w.conns, c)
	}
}

// connectAll queues every connection. On the loop.
func (w *worker) connectAll() {
	for i := range w.conns {
		w.queue = append(w.queue, i)
	}
}

func (w *worker) dialMore(now int64) {
	for len(w.queue) > 0 && w.dialing < w.window && w.err == nil {
		c := &w.conns[w.queue[0]]
		w.queue = w.queue[1:]
		w.dial(c, now, now)
	}
}

func (w *worker) dial(c *conn, now, due int64) {
	c.phase, c.began, c.due = phaseDialing, now, due
	c.peer.Reconnect()
	w.dialing++
	c.sock = nil
	var s *reactor.Socket
	to, secure := w.peer(c)
	switch {
	case to.unix != "":
		s = w.loop.DialUnix(to.unix, c.local)
	case secure != nil:
		s = w.loop.DialTLS(to.tcp, w.source(c.index), c.local, secure)
	default:
		s = w.loop.Dial(to.tcp, w.source(c.index), c.local)
	}
	if c.phase == phaseDialing {
		c.sock = s
	}
}

// peer is whom c connects to, and the TLS that is spoken there, nil for none. Where only workers may
// publish, publishers go to their listener.
func (w *worker) peer(c *conn) (address, *tls.Config) {
	if c.role == rolePublisher && w.link.isValid() {
		return w.link, nil
	}
	return w.addr(c.index), w.tls
}

func (w *worker) driverOf(c *conn) wire.Driver {
	if c.role == rolePublisher {
		return w.publishing
	}
	return w.driver
}

// Connected is the reactor's.
func (w *worker) Connected(s *reactor.Socket, err error) {
	c := &w.conns[s.Data]
	if err != nil {
		w.fail(c, err)
		return
	}
	c.sock = s
	out, wait := w.driverOf(c).AppendOpen(nil, &c.peer)
	s.Send(out)
	if wait {
		c.phase = phaseOpening
		return
	}
	w.login(c)
}

func (w *worker) login(c *conn) {
	c.phase = phaseLogin
	c.resumed = c.peer.Session != ""
	out, wait := w.driverOf(c).AppendLogin(nil, &c.peer)
	c.sock.Send(out)
	if c.peer.Resume {
		c.peer.Session = "" // a new one comes
	}
	if !wait {
		w.loggedIn(c)
	}
}

func (w *worker) loggedIn(c *conn) {
	if c.role == roleMember || !w.link.isValid() {
		w.count.Logins++ // workers do not log in
	}
	if c.peer.Resume && c.peer.Session == "" {
		c.phase = phaseSession
		return
	}
	w.subscribe(c)
}

// topicsPerRequest keeps a subscription well below what a gateway takes before and after a login.
const topicsPerRequest = 200

func (w *worker) subscribe(c *conn) {
	if c.role == rolePublisher || c.resumed || !w.wantsTopics() || !w.driver.Can(wire.CanSubscribe) {
		w.up(c)
		return
	}
	c.phase = phaseSubscribing
	var names []string
	send := func() {
		c.pending++
		out, err := w.driver.AppendSubscribe(nil, &c.peer, uint32(c.pending), names)
		if err != nil {
			w.err = err
			return
		}
		c.sock.Send(out)
		names = names[:0]
	}
	c.pending = 0
	for t := c.group; t < w.Topics; t += w.groups {
		if names = append(names, string(w.appendTopic(nil, t))); len(names) == topicsPerRequest {
			send()
		}
	}
	if len(names) > 0 {
		send()
	}
}

// wantsTopics reports whether members subscribe.
func (w *worker) wantsTopics() bool {
	return w.Scenario != "echo" && w.Scenario != "worker"
}

func (w *worker) up(c *conn) {
	c.phase = phaseReady
	w.dialing--
	w.live++
	if w.left > 0 {
		w.left--
	}
	now := w.loop.Now()
	w.behaviour.ready(c, now)
	w.dialMore(now)
}

// maxTries bounds how often a connection of the set-up is tried again, retryPause apart.
const (
	maxTries   = 5
	retryPause = int64(200 * time.Millisecond)
)

// fail ends a connection that was not up yet.
func (w *worker) fail(c *conn, err error) {
	c.phase = phaseGone
	w.dialing--
	w.count.Failed++
	w.note(err)
	if w.started {
		w.behaviour.failed(c)
		return
	}
	if c.tries++; c.tries > maxTries {
		to, _ := w.peer(c)
		w.err = fmt.Errorf("number %d, to %v: %w", c.index, to, err)
		return
	}
	w.retry = append(w.retry, c.local)
	w.retryAt = w.loop.Now() + retryPause
}

// note keeps the first few errors for the report.
func (w *worker) note(err error) {
	if len(w.errors) < 5 {
		w.errors = append(w.errors, err.Error())
	}
}

// hangUp closes c from our side. The bytes, if any, are sent first.
func (w *worker) hangUp(c *conn, last []byte) {
	if c.sock != nil && c.sock.Open() {
		c.sock.Send(last)
		c.sock.Flush()
	}
	if c.phase == phaseReady {
		w.live--
	}
	c.phase = phaseGone
	if c.sock != nil {
		c.sock.Close()
		c.sock = nil
	}
}

// Closed is the reactor's.
func (w *worker) Closed(s *reactor.Socket, err error) {
	c := &w.conns[s.Data]
	c.sock = nil
	if c.phase != phaseReady {
		w.fail(c, fmt.Errorf("closed during %s: %w", c.phase, err))
		return
	}
	c.phase = phaseGone
	w.live--
	w.count.Closed++
	w.note(fmt.Errorf("connection closed by the gateway: %w", err))
	w.behaviour.gone(c)
}

func (p phase) String() string {
	return [...]string{"nothing", "connecting", "the transport's handshake", "login", "waiting for a session", "subscribing", "service", "the end"}[p]
}

var errTimeout = errors.New("no answer in time")

// Tick is the reactor's.
func (w *worker) Tick(now int64) int64 {
	if now-w.kept >= housekeeping {
		w.kept = now
		w.keepHouse(now)
	}
	next := w.kept + housekeeping
	if len(w.queue) > 0 {
		w.dialMore(now)
	}
	if w.started {
		next = min(next, w.behaviour.tick(now))
	}
	return next
}

func (w *worker) keepHouse(now int64) {
	if len(w.retry) > 0 && now >= w.retryAt {
		w.queue = append(w.queue, w.retry...)
		w.retry = w.retry[:0]
	}
	if w.dialing > 0 {
		for i := range w.conns {
			c := &w.conns[i]
			if c.phase != phaseNone && c.phase < phaseReady && now-c.began > int64(w.StepTimeout) {
				err := fmt.Errorf("%s: %w", c.phase, errTimeout)
				if c.sock != nil {
					c.sock.Close()
					c.sock = nil
				}
				w.fail(c, err)
			}
		}
	}
	if w.Ping > 0 {
		w.ping()
	}
}

// ping keeps a share of the connections alive at each call, so that they do not all speak at once.
func (w *worker) ping() {
	turns := max(int(int64(w.Ping)/housekeeping), 1)
	for i := w.turn % turns; i < len(w.conns); i += turns {
		if c := &w.conns[i]; c.phase == phaseReady {
			c.sock.Extend(func(out []byte) []byte { return w.driverOf(c).AppendPing(out, &c.peer) })
		}
	}
	w.turn++
}

// Drained is the reactor's: nothing waits for it but the next tick, which follows.
func (w *worker) Drained(*reactor.Socket) {}

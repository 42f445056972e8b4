package engine_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/client/gosoc"
	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// A sessionWorld is one run of the simulation with the real gateway, session store, GOSOC and
// Longbridge: devices of a few users log in, vanish, come back and ask a worker, and a model knows what must come of it.
// Loops run on the driver's goroutine. The gateway's own goroutines run in its bubble, whose clock
// follows the simulated one, and only while the driver waits for them.
type sessionWorld struct {
	sim      *engine.Sim
	opt      sessionOptions
	gateway  *gateway.Gateway
	sealer   *session.Sealer
	provider *simProvider
	link     *simLink
	history  *historyModel
	slept    int64 // us, of the simulated time, that have passed in the bubble

	devices  []*device
	conns    []*clientConn // by their socket's port, less 1000
	live     []*clientConn // those that the server may have
	sessions map[session.SessionID]*modelSession
	arrivals int
	lost     uint64 // snapshots that the store had let go when it was asked last
	draining bool
	loops    int  // 0: from the seed
	scene    bool // devices do what a scene says, and verdicts are said by it
	logged   bool // topics' histories have a log
	tokens   int
	saw      sessionSaw
}

// sessionSaw counts what happened, which tells whether a run gets anywhere.
type sessionSaw struct {
	Logins, Resumed, Restored, Kicked, TakenOver, Concurrent, SessionRefused, Vanished, LateVerdicts int
	Expired, Trimmed, Forced, Requests, Replies, Failures, LateReplies, Timeouts, LinksLost, Holds   int
	Replayed, Gaps, Dropped, LogDown, Fetches                                                        int
}

func (s *sessionSaw) add(o sessionSaw) {
	for i, n := range o.list() {
		*s.list()[i] += *n
	}
}

func (s *sessionSaw) list() []*int {
	return []*int{
		&s.Logins, &s.Resumed, &s.Restored, &s.Kicked, &s.TakenOver, &s.Concurrent, &s.SessionRefused, &s.Vanished, &s.LateVerdicts,
		&s.Expired, &s.Trimmed, &s.Forced, &s.Requests, &s.Replies, &s.Failures, &s.LateReplies, &s.Timeouts, &s.LinksLost, &s.Holds,
		&s.Replayed, &s.Gaps, &s.Dropped, &s.LogDown, &s.Fetches,
	}
}

type sessionOptions struct {
	users, devices int // devices of each
	topics         int
	longbridge     int // devices in eight that speak it
	period         int // us between a device's actions
	workerPeriod   int // us
	immediate      bool
	size           int // bytes of a message, at most
	slow           engine.SlowConsumer
	config         gateway.Config
	shared         bool // a user's devices show each other's tickets
}

// A modelSession is what the model knows of a session: what its last holder had.
type modelSession struct {
	serial    uint32      // of the newest ticket that a holder was told of
	openedAt  int64       // unix ms, when it came to be the newest
	holder    *clientConn // the last that has had it
	ended     bool
	topics    []string // sorted
	text      string
	trimmed   uint64 // snapshots that the store had let go when this one came
	contested bool   // two have resumed it with one ticket
	trails    follower
	bereft    bool // what it had was not kept once
	lax       bool // where it was in its topics' histories is not known
}

// newSessionWorld makes a run's parameters from its seed, but for what a scene has set in w.
func newSessionWorld(seed uint64, w *sessionWorld) (*sessionWorld, error) {
	w.sessions = make(map[session.SessionID]*modelSession)
	w.logged = seed%3 == 0
	w.provider = &simProvider{w: w, asked: make(map[int]*simLogin), fresh: make(chan *simLogin, 64)}
	dialects := gosoc.Dialects(nil)
	first := len(dialects)
	config := engine.Config{Backlog: 256 << 10, Dialects: append(dialects, longbridge.Dialects(nil, longbridge.Config{})...)}
	sim, err := engine.NewSim(engine.SimOptions{Seed: seed, Config: config, Settle: w.settle, Kept: w.kept,
		Protocols: func(e *engine.Engine) []engine.Protocol {
			return []engine.Protocol{gosoc.New(w.gateway, 0, gosoc.Config{}), longbridge.New(w.gateway, first, longbridge.Config{})}
		},
		Setup: w.setUp, Loops: w.loops, Policy: func() engine.SlowConsumer { return w.opt.slow },
		Numbered: func(st *topic.Stream, first uint64, records []byte) {
			w.history.numbered(st, first, records)
		},
	})
	if err != nil {
		return nil, err
	}
	w.sim = sim
	if w.history.log != nil {
		w.history.log.replica = sim.Engine().NewReplica()
	}
	for i := range w.opt.users * w.opt.devices {
		d := &device{w: w, user: fmt.Sprintf("user-%d", i%w.opt.users), gosoc: sim.Pick(8) >= w.opt.longbridge}
		w.devices = append(w.devices, d)
		if w.scene {
			continue
		}
		sim.After(int64(sim.Pick(w.opt.period)), d.act)
	}
	sim.After(int64(sim.Pick(w.opt.workerPeriod)), w.link.act)
	if w.scene {
		sim.Calm()
		return w, nil
	}
	sim.After(int64(sim.Pick(w.opt.period*20)), w.kick)
	return w, nil
}

// setUp makes the gateway, once there are random numbers and an engine.
func (w *sessionWorld) setUp(sim *engine.Sim, c *engine.Config) error {
	w.sim = sim
	o := &w.opt
	if o.users, o.devices = sim.Between(1, 5), sim.Between(1, 4); w.scene {
		o.users, o.devices = 1, 3
	}
	o.topics = sim.Between(1, 6)
	if n := sim.Pick(16); !w.scene {
		o.longbridge = max(n-7, 0)
	}
	o.period = 2000 << sim.Pick(8)
	o.workerPeriod = 500 << sim.Pick(9)
	o.immediate = sim.OneIn(4) && !w.scene
	gc := &o.config
	gc.LoginTimeout = time.Duration(sim.Between(200, 5000)) * time.Millisecond
	gc.SessionGrace = time.Duration(sim.Between(20, 5000)) * time.Millisecond
	gc.SessionTTL = time.Duration(1<<sim.Between(0, 7)) * time.Second
	gc.RequestTimeout = time.Duration(sim.Between(50, 5000)) * time.Millisecond
	if w.scene {
		gc.SessionTTL = time.Minute
	}
	gc.SessionBytes = 64 << sim.Pick(8)
	if !w.scene {
		gc.MaxSessionsPerUser = o.devices // which lose their tickets now and then
	}
	gc.SessionTotal = 512 << sim.Pick(8)
	gc.UserLimit = sim.Between(1, 4)
	gc.MaxPending = 2 << sim.Pick(9) // in bytes, buffers from a pool of the whole process would count
	gc.Rand = sim
	gc.Logger = slog.New(refusals{slog.DiscardHandler, w})
	gc.SessionKey[0] = 1
	gc.Login = login.Provider(w.provider)
	if o.immediate {
		gc.Login = immediateProvider{w.provider}
	}
	var err error
	if w.gateway, err = gateway.New(*gc); err != nil {
		return err
	}
	o.config = *w.gateway.Config()
	w.sealer = session.NewSealer(gc.SessionKey)
	w.gateway.AddEvents(w)
	w.link = &simLink{w: w}
	o.size = 64 << sim.Pick(7)
	o.shared = !w.scene && sim.OneIn(4)
	w.setUpHistory(c)
	c.FirstBytes = gc.LoginTimeout
	return w.handle()
}

// refusals hear from the gateway's log which tickets are no good.
type refusals struct {
	slog.Handler
	w *sessionWorld
}

func (refusals) Enabled(context.Context, slog.Level) bool { return true }

func (h refusals) Handle(_ context.Context, r slog.Record) error {
	var peer netip.AddrPort
	outcome := ""
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "peer":
			peer, _ = a.Value.Resolve().Any().(netip.AddrPort)
		case "outcome":
			outcome = a.Value.String()
		}
		return true
	})
	switch {
	case r.Level >= slog.LevelError:
		h.w.sim.Fail("the gateway logged: %s", r.Message)
	case r.Message == "session refused" && outcome == gateway.SessionRefused.String():
		h.w.conns[int(peer.Port())-1000].refused = true
	}
	return nil
}

// handle sets up what serves requests: see device.request.
func (w *sessionWorld) handle() error {
	for route, f := range map[string]gateway.HandlerFunc{
		"sub": func(r *gateway.Request) {
			w.subscribe(w.connOf(r.Conn()), r, string(r.Payload), 0)
		},
		"last": func(r *gateway.Request) {
			name, n, _ := strings.Cut(string(r.Payload), " ")
			last, _ := strconv.Atoi(n)
			w.subscribe(w.connOf(r.Conn()), r, name, last)
		},
		"unsub": func(r *gateway.Request) {
			k := w.connOf(r.Conn())
			name := string(r.Payload)
			r.Unsubscribe(r.Payload)
			if i, ok := slices.BinarySearch(k.topics, name); ok {
				k.topics = slices.Delete(k.topics, i, i+1)
				if w.history.keeps(name) {
					w.history.join(k, r.Conn(), name, true)
				}
			}
			r.Reply(r.Payload)
		},
		"text": func(r *gateway.Request) {
			w.connOf(r.Conn()).text = string(r.Payload)
			_ = r.Gateway().SetSession(r.Conn(), r.Client(), string(r.Payload))
			r.Reply(r.Payload)
		},
		"echo": func(r *gateway.Request) { r.Reply(r.Payload) },
		"publish": func(r *gateway.Request) {
			_ = r.Publish(r.Payload, w.history.message(string(r.Payload)))
			r.Reply(r.Payload)
		},
	} {
		for _, pattern := range []string{route, fmt.Sprint("cmd:", simCommands[route])} {
			if err := w.gateway.Handle(pattern, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle has the gateway's goroutines do what they can, and looks at who has arrived.
func (w *sessionWorld) settle() {
	synctest.Wait()
	for _, k := range w.live {
		if k.arrival == 0 {
			k.look()
		}
	}
	w.provider.schedule()
}

// step is one choice of the driver, and the time that it takes in the bubble.
func (w *sessionWorld) step() {
	w.sim.Step()
	w.pass()
	w.check()
}

// pass has as much time pass in the bubble as has in the simulation.
func (w *sessionWorld) pass() {
	if d := w.sim.Clock() - w.slept; d > 0 {
		w.slept += d
		time.Sleep(time.Duration(d) * time.Microsecond)
	}
	w.settle()
}

// until steps until done or for us.
func (w *sessionWorld) until(us int64, done func() bool) bool {
	for end := w.sim.Clock() + us; w.sim.Failure() == "" && w.sim.Clock() < end; {
		if done() {
			return true
		}
		for range 16 {
			w.step()
		}
	}
	for range 64 { // a timer may be due just now
		if done() {
			break
		}
		w.step()
	}
	return w.sim.Failure() == "" && done()
}

// run does so many steps, brings everything to rest, and ends it.
func (w *sessionWorld) run(steps int) {
	w.gateway.Bind(w.sim.Engine())
	for w.sim.Steps() < steps && w.sim.Failure() == "" {
		w.step()
	}
	w.end()
}

// end brings everything to rest: requests are answered, then all connections end, then all sessions.
func (w *sessionWorld) end() {
	defer w.close()
	w.sim.Calm()
	w.draining = true
	w.until(60e6, func() bool { return w.restless() == "" })
	if why := w.restless(); why != "" {
		w.sim.Fail("P8: it does not come to rest: %s", why)
		return
	}
	w.sim.Check()
	w.checkRest()
	for _, k := range w.live {
		if k.socket.Live() && !k.socket.HalfClosed() {
			switch w.sim.Pick(5) {
			case 0:
				k.socket.Close()
			case 1:
				k.socket.Reset()
			case 2:
				k.socket.CloseWrite()
			}
		}
	}
	w.until(int64(w.sim.Pick(10000)), func() bool { return false })
	w.sim.CloseAll()
	if !w.until(10e6, func() bool { return w.sim.Engine().Connections() == 0 && !w.sim.Busy() }) {
		w.sim.Fail("P8: %d connections do not end", w.sim.Engine().Connections())
		return
	}
	w.until(3e6, func() bool { return false })
	w.check()
	w.checkReplies()
	w.history.end()
	for range 2 { // sessions first, then what is remembered of those that have ended
		w.sim.Jump(w.opt.config.SessionTTL.Microseconds() + 2e6)
		w.pass()
		w.sim.Jump(2e6)
		w.pass()
	}
	w.checkNothingLeft()
}

// close ends the gateway's goroutines and the loops' coroutines.
func (w *sessionWorld) close() {
	w.sim.End()
	w.provider.end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := w.gateway.Close(ctx); err != nil {
		w.sim.Fail("P8: %v", err)
	}
}

// restless says what is under way.
func (w *sessionWorld) restless() string {
	if w.sim.Busy() {
		return "a loop is busy"
	}
	if l := w.history.log; l != nil && l.restless() != "" {
		return l.restless()
	}
	if n := len(w.provider.asked); n > 0 {
		return fmt.Sprintf("%d logins are not decided", n)
	}
	for _, k := range w.live {
		c := k.socket.Conn()
		switch {
		case !k.socket.Live() || c == nil:
			if k.socket.Live() || !k.socket.Released() {
				return fmt.Sprintf("connection %d has ended on one side only", k.index)
			}
		case k.socket.Queued() > 0:
			return fmt.Sprintf("connection %d has %d bytes queued", k.index, k.socket.Queued())
		case !k.socket.Idle():
			return fmt.Sprintf("connection %d has something to read", k.index)
		case k.socket.HalfClosed():
			return fmt.Sprintf("connection %d has closed its side and the server has not", k.index)
		case k.online && k.closed:
			return fmt.Sprintf("connection %d ends", k.index)
		case !k.acked:
			return fmt.Sprintf("connection %d has no answer to its login", k.index)
		case len(k.owed) > 0:
			return fmt.Sprintf("connection %d has no answer to %d requests", k.index, len(k.owed))
		}
	}
	return ""
}

// A simProvider decides on logins when the driver says so: on goroutines of the gateway's that wait
// for it.
type simProvider struct {
	w     *sessionWorld
	asked map[int]*simLogin // by number
	fresh chan *simLogin
}

// A simLogin waits for its verdict. Its token says what that will be.
type simLogin struct {
	simToken
	ctx    context.Context
	decide chan struct{}
	gone   bool // the verdict is that nobody waits for it
}

// A simToken is "NUMBER PLAN USER".
type simToken struct {
	number int
	plan   byte
	user   string
}

func parseToken(s string) (t simToken) {
	if _, err := fmt.Sscanf(s, "%d %c %s", &t.number, &t.plan, &t.user); err != nil {
		panic(err)
	}
	return t
}

// The plans of a token.
const (
	planAccept  = 'a'
	planTopics  = 't' // accept, with topics and a session text
	planRefuse  = 'r'
	planFail    = 'f'
	planPanic   = 'p'
	planGoexit  = 'g'
	simPlans    = "aaaaaatttrfpg"
	simPlansNow = "aaaaaatttrf"
)

func (t simToken) verdict() (login.Identity, error) {
	switch t.plan {
	case planAccept:
		return login.Identity{User: t.user}, nil
	case planTopics:
		return login.Identity{User: t.user, Topics: []string{"home"}, Session: "text of " + t.user}, nil
	case planRefuse:
		return login.Identity{}, login.ErrRefused
	}
	return login.Identity{}, login.ErrUnavailable
}

// Login implements login.Provider.
func (p *simProvider) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	l := &simLogin{simToken: parseToken(r.Token), ctx: ctx, decide: make(chan struct{})}
	p.fresh <- l
	<-l.decide
	switch {
	case l.gone:
		return login.Identity{}, ctx.Err()
	case l.plan == planPanic:
		panic("as planned")
	case l.plan == planGoexit:
		goexit()
	}
	return l.verdict()
}

// schedule has the logins that were asked for since the last time decided some time later, in any
// order.
func (p *simProvider) schedule() {
	var list []*simLogin
	for {
		select {
		case l := <-p.fresh:
			list = append(list, l)
			continue
		default:
		}
		break
	}
	slices.SortFunc(list, func(a, b *simLogin) int { return cmp.Compare(a.number, b.number) })
	w := p.w
	for _, l := range list {
		p.asked[l.number] = l
		if w.scene {
			continue
		}
		d := int64(w.sim.Pick(30_000))
		switch {
		case w.sim.OneIn(4):
			d = int64(w.sim.Pick(int(2 * w.opt.config.LoginTimeout.Microseconds())))
		case w.sim.OneIn(3):
			d = 0
		}
		w.sim.After(d, func() { p.say(l) })
	}
}

// say says a verdict.
func (p *simProvider) say(l *simLogin) {
	if p.asked[l.number] == nil {
		return
	}
	delete(p.asked, l.number)
	w := p.w
	if l.ctx.Err() != nil {
		w.saw.LateVerdicts++
		l.gone = w.sim.OneIn(2)
	}
	w.decided(l.simToken)
	close(l.decide)
	w.settle()
}

// end says all verdicts.
func (p *simProvider) end() {
	for _, l := range p.asked {
		close(l.decide)
	}
	clear(p.asked)
}

// decided notes a verdict with the connection that has asked for it.
func (w *sessionWorld) decided(t simToken) {
	for _, k := range w.live {
		if k.token == t.number {
			_, err := t.verdict()
			k.accepted = err == nil
		}
	}
}

// An immediateProvider decides within the call.
type immediateProvider struct{ *simProvider }

// LoginNow implements login.Immediate.
func (p immediateProvider) LoginNow(_ time.Time, r login.Request) (login.Identity, error) {
	t := parseToken(r.Token)
	p.w.decided(t)
	return t.verdict()
}

const sessionReplay = "to see it again: go test ./engine -run 'TestSimulationSessions$' -sim.seed=%d -sim.steps=%d"

// simulateSessions runs one seed in a bubble of its own.
func simulateSessions(t *testing.T, seed uint64, steps int) (w *sessionWorld, failure string) {
	faketime.Test(t, func(t *testing.T) {
		var err error
		if w, err = newSessionWorld(seed, new(sessionWorld)); err != nil {
			t.Fatal(err)
		}
		w.run(steps)
	})
	return w, w.sim.Failure()
}

// TestSimulationSessions drives logins, sessions, requests and a worker's link through the gateway,
// GOSOC and Longbridge on simulated loops, and compares what comes of it with a model after every step.
func TestSimulationSessions(t *testing.T) {
	steps := *engine.SimSteps
	if *engine.SimSeed != 0 {
		w, failure := simulateSessions(t, *engine.SimSeed, steps)
		t.Logf("%+v", w.opt)
		t.Logf("%d steps, %d ms, digest %x, saw %+v", w.sim.Steps(), w.sim.Clock()/1000, w.sim.Digest(), w.saw)
		if failure != "" {
			t.Fatalf("step %d, %d ms: %s", w.sim.Steps(), w.sim.Clock()/1000, failure)
		}
		return
	}
	seeds := max(*engine.SimSeeds/7, 10)
	if testing.Short() {
		seeds = min(seeds, 50)
	}
	begun := time.Now()
	var saw sessionSaw
	total, failures := 0, 0
	for seed := 1; seed <= seeds && failures < 5; seed++ {
		w, failure := simulateSessions(t, uint64(seed), steps)
		if failure != "" {
			failures++
			t.Errorf("seed %d, step %d, %d ms: %s\n"+sessionReplay, seed, w.sim.Steps(), w.sim.Clock()/1000, failure, seed, steps)
		}
		saw.add(w.saw)
		total += w.sim.Steps()
	}
	t.Logf("%d seeds, %d steps in %v, saw %+v", seeds, total, time.Since(begun).Round(time.Millisecond), saw)
}

// TestSimulationReplaySessions: a seed gives the same run bit for bit.
func TestSimulationReplaySessions(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		a, fa := simulateSessions(t, seed, 1000)
		b, fb := simulateSessions(t, seed, 1000)
		if a.sim.Digest() != b.sim.Digest() || a.sim.Steps() != b.sim.Steps() || a.sim.Clock() != b.sim.Clock() || a.saw != b.saw || fa != fb {
			t.Errorf("seed %d: %d steps to %d us, %+v %s, then %d steps to %d us, %+v %s", seed,
				a.sim.Steps(), a.sim.Clock(), a.saw, fa, b.sim.Steps(), b.sim.Clock(), b.saw, fb)
		}
	}
}

// kick forces one of the clients offline, as an operator may.
func (w *sessionWorld) kick() {
	if w.draining || w.sim.Failure() != "" {
		return
	}
	w.sim.After(int64(1+w.sim.Pick(w.opt.period*20)), w.kick)
	refs := w.gateway.Connections(nil, fmt.Sprintf("user-%d", w.sim.Pick(w.opt.users)))
	for _, ref := range refs {
		w.sim.Engine().Tell(ref, func(c *engine.Conn) {
			if c != nil {
				c.Close(engine.ReasonForcedOffline)
			}
		})
	}
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/sluicenet/sluice/engine/internal/lograte"
	"github.com/sluicenet/sluice/engine/internal/looplag"
	"github.com/sluicenet/sluice/engine/internal/rate"
	"github.com/sluicenet/sluice/topic"
)

// An Engine holds connections on its loops. Its methods may be called from any goroutine.
type Engine struct {
	config Config
	limits atomic.Pointer[Limits]
	trust  atomic.Pointer[trust]
	log    *slog.Logger
	ends   endKinds
	system system
	maxRun int
	files  fileRules
	// beforeCut is the simulation's: it sees connections before their queues are cut.
	beforeCut func(c *Conn)
	// numbered is the simulation's, too: it sees what gets numbers in a topic's history.
	numbered func(st *topic.Stream, first uint64, records []byte)

	client  *gnet.Client
	loops   []*Loop
	loopOf  map[gnet.EventLoop]*Loop // written by Start, read by loops
	topics  *topic.Directory
	history *topic.History
	// Of ExpireHistory: what was logged of topics without history, and when it may be again.
	refusedTopics uint64
	warnTopics    int64
	awaited       awaited
	restarts      restarts
	kernel        *kernel // system, unless it is simulated
	ticker        *ticker
	lag           *looplag.Lag

	mu        sync.Mutex // guards Listen and Stop
	listeners atomic.Pointer[[]*listener]
	accepting sync.WaitGroup
	stopping  atomic.Bool
	stopped   chan struct{}
	running   sync.WaitGroup // goroutines that end when stopped is closed

	total       atomic.Int64 // bytes kept for connections, up to accountGrain off per loop
	connections atomic.Int64 // sockets accepted and not closed
	scarceFrom  int64        // connections, from which on descriptors may be used up
	accepted    atomic.Uint64
	acceptRetry atomic.Uint64
	retryLogged atomic.Int64 // unix, when the last line about those was
	refused     [numReasons]atomic.Uint64
	refusals    refusals
	spare       spare
	addresses   addresses
	wire        []Dialect   // Config.Dialects, and raw
	raw         uint8       // the dialect of attached connections, MaxDialects if there is no room for it
	heard       []func(End) // of HearEnds
	handshakes  handshakes
	outside     loopStats // what happens on no loop

	refuseNew atomic.Bool  // see RefuseNew
	squeezed  atomic.Int64 // bytes; see Squeeze
}

// New makes an Engine. It holds no goroutine and no descriptor until Start. The error says what in
// config cannot be: too many Dialects, a network in ProxyTrust or ForwardedTrust, a rule of History.
func New(config Config) (*Engine, error) {
	k := newKernel()
	e, err := newEngine(config, k)
	if err == nil {
		e.kernel = k
	}
	return e, err
}

func newEngine(config Config, system system) (*Engine, error) {
	if len(config.Dialects) > MaxDialects {
		return nil, fmt.Errorf("engine: %d dialects, at most %d", len(config.Dialects), MaxDialects)
	}
	e := &Engine{
		config:  config.withDefaults(),
		system:  system,
		ticker:  newTicker(),
		stopped: make(chan struct{}),
		// A quarter of the descriptors, and a few more where there are few, for all else that is open.
		scarceFrom: int64(fileLimit()/4*3 - 64),
	}
	e.raw = uint8(len(config.Dialects))
	if e.wire = e.config.Dialects; e.raw < MaxDialects {
		e.wire = append(slices.Clip(e.wire), Dialect{Name: rawDialect, Append: appendRaw, NoGaps: true})
	}
	e.log = e.config.Logger
	e.ends = newEndKinds(e.log)
	e.limits.Store(e.config.limits())
	if err := e.setTrust(&e.config); err != nil {
		return nil, err
	}
	e.refusals.limit = e.config.MaxRefusals
	e.addresses = addresses{engine: e, recent: rate.Table[addressKey]{Max: maxRecent}}
	e.handshakes.init(e)
	e.topics = topic.NewDirectory(e.config.Loops)
	if r := e.config.Remote; r != nil {
		e.topics.Watch(r.Subscribed, r.Unsubscribed)
	}
	e.history = topic.NewHistory(topic.HistoryConfig{
		Loops: e.config.Loops, Epoch: uint64(e.Time().UnixMicro()), Keep: e.config.HistoryKeep.Milliseconds(),
		Given: e.config.Log != nil,
	})
	if err := e.SetHistory(e.config.History); err != nil {
		return nil, fmt.Errorf("engine: history: %w", err)
	}
	e.listeners.Store(new([]*listener))
	for i := range e.config.Loops {
		e.loops = append(e.loops, newLoop(e, i))
	}
	e.lag = looplag.New(looplag.Config{
		Loops: e.config.Loops, Tell: e.TellLoop, Steps: e.steps, Stack: e.stack, Logger: e.log,
	})
	e.maxRun = int(min(maxRun, e.loops[0].highWater))
	e.files = fileRules{from: fileFrom, receivers: fileFor}
	return e, nil
}

// Now returns the time since New in ms, monotonic.
func (e *Engine) Now() int64 { return e.system.now() / 1_000_000 }

// Time returns the date and the time of day, for what is compared with other programs' clocks or
// outlives the process. Time that passes is measured with Now.
func (e *Engine) Time() time.Time { return e.system.time() }

// Topics returns the directory of topics that have subscribers.
func (e *Engine) Topics() *topic.Directory { return e.topics }

// Stopped returns a channel that is closed when the loops stop: what waits for them may give up.
func (e *Engine) Stopped() <-chan struct{} { return e.stopped }

// Config returns the configuration with its defaults filled in. It must not be changed.
func (e *Engine) Config() *Config { return &e.config }

// A LoopLag is what is known of how late loops are; see Engine.LoopLag.
type LoopLag = looplag.Lag

// LoopLag returns what is known of how late the loops are, for this module's health pages.
func (e *Engine) LoopLag() *LoopLag { return e.lag }

// Loops returns the number of loops.
func (e *Engine) Loops() int { return len(e.loops) }

// Start runs the loops. It is called once. On an error nothing is left running.
func (e *Engine) Start() (err error) {
	e.kernel.poller, err = newWritePoller()
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	client, err := gnet.NewClient(&events{engine: e},
		gnet.WithNumEventLoop(e.config.Loops),
		gnet.WithTCPNoDelay(gnet.TCPDelay), // Go sets TCP_NODELAY already
		gnet.WithLogger(gnetLogger{e.log}),
	)
	if err != nil {
		e.kernel.poller.abandon()
		return fmt.Errorf("engine: %w", err)
	}
	if err := client.Start(); err != nil {
		e.kernel.poller.abandon()
		return fmt.Errorf("engine: %w", err)
	}
	e.client = client // from here on there is something to stop
	e.spare.open()
	go e.kernel.poller.run(func(ref Ref) { e.loops[ref.loop()].mailbox.postWritable(ref) })
	go e.ticker.run(e)
	e.running.Go(func() { e.lag.Run(e.stopped) })

	// One socket pair per loop: gnet enrols each with the loop that has the fewest connections,
	// which makes its loops known to us. Until then the loops have nothing else.
	e.loopOf = make(map[gnet.EventLoop]*Loop)
	for _, l := range e.loops {
		if err := l.pairUp(); err != nil {
			_ = e.Stop(context.Background())
			return err
		}
		if other := e.loopOf[l.gnet]; other != nil {
			_ = e.Stop(context.Background())
			return errors.New("engine: gnet put two pairs on one loop")
		}
		e.loopOf[l.gnet] = l
	}
	e.begin()
	return nil
}

// begin lets the loops wake up, which have their handles now.
func (e *Engine) begin() {
	for _, l := range e.loops {
		l.mailbox.mu.Lock()
		l.mailbox.awake = false
		l.mailbox.mu.Unlock()
		l.mailbox.postTick()
	}
}

// pairUp makes the loop's socket pair and enrols one end.
func (l *Loop) pairUp() error {
	ours, theirs, err := connPair()
	if err != nil {
		return fmt.Errorf("engine: loop pair: %w", err)
	}
	l.pair = ours.(*net.UnixConn)
	if _, err := l.engine.client.EnrollContext(theirs, l); err != nil {
		return fmt.Errorf("engine: loop pair: %w", err)
	}
	return nil
}

// StopListening closes the listeners, and waits until no accepted connection is on its way to a
// loop, so it must not be called on one. Connections go on.
func (e *Engine) StopListening() {
	for _, l := range *e.listeners.Load() {
		l.close()
	}
	e.accepting.Wait()
}

// Connections returns the number of sockets that are open, those of Attach and those that are being
// closed included.
func (e *Engine) Connections() int { return int(e.connections.Load()) }

// WaitClosed waits until there are no connections, or ctx is done. The error, an *UntoldError, says that
// some are left to which not everything was sent, or that some which a shutdown closed were cut off before
// it was, by Config.Linger or to make room. Those that were told of their end and stay are no error.
// Refused ones are no error either, and are waited for a second behind CloseAll at most, or behind the TLS
// handshakes that it has let go on. When three quarters of ctx's time are over, these are ended. It must
// not be called on a loop.
func (e *Engine) WaitClosed(ctx context.Context) error {
	late := handshakesEnd(ctx.Deadline())
	for (e.served() > 0 || e.refusals.awaited(e.Now())) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-late:
			e.endHandshakes()
		case <-time.After(2 * time.Millisecond):
		}
	}
	left, cutOff := e.unfinished()
	switch {
	case left > 0 && ctx.Err() != nil:
		return &UntoldError{left + cutOff, ctx.Err()}
	case cutOff > 0:
		return &UntoldError{cutOff, nil}
	}
	return nil
}

// An UntoldError is the error of WaitClosed and Stop for connections that have ended, or are to be ended,
// before everything was sent to them.
type UntoldError struct {
	Connections int64
	Err         error // why nobody waits for them any more; nil: their own time was up
}

func (e *UntoldError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("engine: %d connections left: %v", e.Connections, e.Err)
	}
	return fmt.Sprintf("engine: %d connections cut off with something unsent", e.Connections)
}

// Unwrap returns Err.
func (e *UntoldError) Unwrap() error { return e.Err }

// served returns the number of sockets that are open, without those that were refused.
func (e *Engine) served() int64 { return e.connections.Load() - e.refusals.onLoops.Load() }

// unfinished returns the number of connections to which not everything was sent, or which were not told
// of their end, and of those that a shutdown has closed and that were cut off like that.
func (e *Engine) unfinished() (left, cutOff int64) {
	left = e.served()
	for _, l := range e.loops {
		left -= l.stats.told.Load()
		cutOff += l.stats.cutOff.Load()
	}
	return left, cutOff
}

// Stop closes the listeners, then all connections with ReasonShutdown, and waits for their final
// words until ctx is done; then it stops the loops and closes what is left. The error says that
// something was left, or that a connection was cut off before everything was sent to it.
//
// A loop that a handler blocks cannot be stopped: then the error says so when ctx is done, and the
// rest ends when the handler returns. On a loop the error is ErrOnLoop, at once. A second Stop waits
// for the first, and returns nil when that has ended.
func (e *Engine) Stop(ctx context.Context) error {
	if OnLoop() {
		return ErrOnLoop
	}
	// What ends by force needs a moment behind what may take all the time there is.
	soft, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		soft, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/10))
	}
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- e.stop(soft)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select { // the last tenth may not have been given: a context without a deadline was cancelled
	case err := <-done:
		return err
	case <-time.After(stopGrace):
		return fmt.Errorf("engine: a loop does not stop: %w", ctx.Err())
	}
}

// stopGrace is how long Stop waits behind the end of its context for loops to end by force.
const stopGrace = 200 * time.Millisecond

func (e *Engine) stop(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		return nil
	}
	e.StopListening()
	e.CloseAll(ReasonShutdown)
	err := e.WaitClosed(ctx)
	e.refusals.close()
	e.stopping.Store(true)
	close(e.stopped)
	e.ticker.close()
	e.running.Wait()
	for _, l := range e.loops {
		e.abandonMail(l.mailbox.close())
	}
	if serr := e.client.Stop(); serr != nil && err == nil {
		err = fmt.Errorf("engine: %w", serr)
	}
	if herr := e.handshakes.close(); herr != nil && err == nil {
		err = herr
	}
	e.kernel.poller.close() // after the loops, which use it
	for _, l := range e.loops {
		l.leave()
	}
	e.spare.close()
	e.client = nil
	e.history.Set(nil, 0, 0, e.Now())
	lograte.Flush(e.log)
	return err
}

// leave gives up what a loop had when it stopped. Its goroutine has ended.
func (l *Loop) leave() {
	if l.pair != nil {
		l.pair.Close()
	}
	l.each(func(c *Conn) {
		if c.flags&flagDetached != 0 { // gnet knows nothing of these
			c.Abort(ReasonShutdown)
		}
	})
	l.runCloses()
	if l.tickTimer != nil {
		l.tickTimer.Stop()
	}
	l.isolation.end()
	l.deferred.abandon(&l.publisher)
	if r := l.publisher.open; r != nil {
		l.publisher.open = nil
		l.publisher.recycle(r)
	}
	l.engine.abandonMail(l.mail.messages[l.mail.next:])
	l.mail.messages, l.mail.next = nil, 0
	l.topics.release(l)
	l.dropRates()
	l.publishAccounts()
}

// abandonMail gives up messages that no loop will handle.
func (e *Engine) abandonMail(left []message) {
	for i := range left {
		switch m := &left[i]; {
		case m.run != nil:
			e.abandon(m.run)
		case m.block != nil:
			e.Charge(KindUnsent, -m.block.release())
		}
	}
}

// Tell runs fn on the loop of ref, with the connection or, when it is gone, with nil. It does not
// wait, and reports false when the engine has stopped. A panic of fn costs the connection. It is for
// rare events, such as the verdict on a login: messages go through a Publisher, which waits when a loop
// is busy.
func (e *Engine) Tell(ref Ref, fn func(*Conn)) bool {
	if ref.loop() >= len(e.loops) {
		return false
	}
	return e.loops[ref.loop()].mailbox.postTell(tell{ref, fn})
}

// TellLoop runs fn on a loop, 0 to Loops-1, as Tell does.
func (e *Engine) TellLoop(i int, fn func()) bool {
	return e.loops[i].mailbox.postTell(tell{fn: func(*Conn) { fn() }})
}

// gnetLogger passes gnet's messages on. gnet logs a warning for events of a descriptor that was
// closed in the same batch, which is normal here.
type gnetLogger struct{ log *slog.Logger }

func (g gnetLogger) Debugf(format string, args ...any) {}
func (g gnetLogger) Infof(format string, args ...any)  {}
func (g gnetLogger) Warnf(format string, args ...any) {
	g.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}
func (g gnetLogger) Errorf(format string, args ...any) {
	g.log.Warn("gnet: " + fmt.Sprintf(format, args...))
}
func (g gnetLogger) Fatalf(format string, args ...any) {
	g.log.Error("gnet: " + fmt.Sprintf(format, args...))
}

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/engine/internal/lograte"
)

// A stage is how far a Server's life has come.
type stage uint8

const (
	stageMade stage = iota
	stageStarting
	stageRunning
	stageStopping // or stopped
)

// Start runs the loops and opens the listeners. On an error nothing is left running; that of a
// listener which cannot be opened is a *ListenError, that of a cluster which does not take the gateway
// a *ClusterError. A Server can be started once: the error is engine.ErrStopped after a Stop, also one
// that comes meanwhile. It may wait for others, as for NATS, so on a loop it is engine.ErrOnLoop.
func (s *Server) Start() error {
	if engine.OnLoop() {
		return engine.ErrOnLoop
	}
	s.mu.Lock()
	switch {
	case s.stage == stageStopping:
		s.mu.Unlock()
		return engine.ErrStopped
	case s.stage != stageMade:
		s.mu.Unlock()
		return errors.New("server: started twice")
	}
	s.stage = stageStarting
	s.mu.Unlock()
	if err := s.engine.Start(); err != nil {
		s.mu.Lock()
		s.stage = stageStopping
		s.mu.Unlock()
		s.closeGiven()
		s.endLife()
		close(s.ended)
		return err
	}
	s.gateway.Bind(s.engine)
	s.warnOfClients()
	if s.node != nil {
		link.SetCluster(s.hub, s.node)
		s.warnOfSessions()
	}
	s.turn <- s.engine.NewPublisher()
	if s.memory != nil {
		s.besides.Go(func() { s.memory.Run(s.life.Done()) })
	}
	err := s.gateway.OpenJournal()
	if err == nil {
		err = s.serve()
	}
	if err == nil && s.certs != nil { // an ACME service wants to find the listeners
		s.besides.Go(func() { s.certs.Run(s.life) })
	}
	s.mu.Lock()
	if err == nil && s.stopAsked {
		err = engine.ErrStopped
	}
	if err == nil {
		s.stage = stageRunning
	} else {
		s.stage = stageStopping
	}
	s.mu.Unlock()
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.teardown(ctx)
		return err
	}
	if s.admin != nil {
		s.admin.Ready()
	}
	if s.node != nil {
		s.node.Announce() // where clients are served
	}
	return nil
}

// A ListenError is the error of Start for a listener that could not be opened, and of New for a socket
// that was not handed over.
type ListenError struct {
	Field string // of Config: Listen, Listeners, WorkerListen or Admin
	Index int    // in Listen, or in Listeners; 0 of the others
	Err   error
}

// Error names the field.
func (e *ListenError) Error() string { return "server: " + e.Field + ": " + e.Err.Error() }

// Unwrap returns what went wrong, such as a *net.OpError.
func (e *ListenError) Unwrap() error { return e.Err }

// notOpened is the error for a listener that could not be opened, without what packages below say
// around the reason.
func notOpened(field string, index int, err error) error {
	if errors.Is(err, engine.ErrStopped) {
		return err
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op
	}
	return &ListenError{field, index, err}
}

// serve opens the listeners. Operators come first, so that they can watch, then the gateway becomes
// one of its cluster, whose server id it must have, and workers come before clients: those that come
// at once find them.
func (s *Server) serve() error {
	if s.admin != nil {
		if s.adminListen.Descriptor != "" {
			ln, err := s.inherit(s.adminSocket)
			if err != nil {
				return notOpened("Admin", 0, err)
			}
			s.admin.Serve(ln)
		}
		if err := s.admin.Start(); err != nil {
			return notOpened("Admin", 0, err)
		}
	}
	if err := s.joinCluster(); err != nil {
		return err
	}
	workers, err := s.listenForWorkers()
	if err != nil {
		return notOpened("WorkerListen", 0, err)
	}
	s.mu.Lock()
	s.workers = workers
	s.mu.Unlock()
	for _, e := range s.endpoints {
		s.mu.Lock()
		asked := s.stopAsked
		s.mu.Unlock()
		if asked {
			return engine.ErrStopped
		}
		url, err := s.open(e)
		switch {
		case err != nil && e.given != nil:
			return notOpened("Listeners", e.index, err)
		case err != nil:
			return notOpened("Listen", e.index, err)
		}
		s.mu.Lock()
		s.addrs = append(s.addrs, url)
		urls := slices.Clone(s.addrs)
		s.urls.Store(&urls)
		s.mu.Unlock()
	}
	s.tellUnused()
	return nil
}

// Stop stops accepting, has the requests answered that are under way, says goodbye to the clients,
// waits for them to leave until ctx is nearly done, and ends workers' links, loops and logins.
// Logins and requests that come meanwhile are refused; workers are served until the clients have
// gone. The error says that some clients had to be cut off before their final words were sent, or
// what has not ended: a handler, a hook or a login provider that does not return cannot be ended,
// but Stop is back when ctx is done, and what it waited for ends when it can. Clients that were
// told and stay, requests that were not answered in time and workers that do not read are cut off
// and logged; they are no error.
//
// Stop may be called at any time and more than once. A second one waits for the first, and for what
// that has left behind, until its own ctx is done. Before Start there is nothing to stop, and Start
// fails afterwards; during Start, Start fails. On a loop, in a handler or a hook, Stop would wait
// for itself: it does nothing and fails with engine.ErrOnLoop. Say go s.Stop(ctx) there.
func (s *Server) Stop(ctx context.Context) error {
	if engine.OnLoop() {
		return engine.ErrOnLoop
	}
	s.mu.Lock()
	s.stopAsked = true
	s.endStart()
	was := s.stage
	if was != stageStarting {
		s.stage = stageStopping
	}
	s.mu.Unlock()
	switch was {
	case stageMade:
		s.closeGiven()
		s.endLife()
		close(s.ended)
		return nil
	case stageRunning:
		return s.teardown(ctx)
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("server: still stopping: %w", ctx.Err())
	}
}

// teardown ends everything in its order. It is called once. What does not end by the time ctx is
// done is left to end by itself; s.ended says when.
func (s *Server) teardown(ctx context.Context) error {
	t := newTeardown(ctx)
	t.log = s.gateway.Log()
	defer t.cancel()
	s.gateway.Drain()
	// Clients first, then the workers: they still hear of each client that goes.
	t.step("accepting", func() error {
		s.engine.StopListening()
		return nil
	})
	answering, cancel := before(t.soft, goodbyeTime)
	s.gateway.Settle(answering)
	cancel()
	s.mu.Lock()
	why := s.why
	s.mu.Unlock()
	s.engine.CloseAll(why)
	leaving, cancel := reserve(t.soft)
	t.note(s.engine.WaitClosed(leaving))
	cancel()
	t.step("workers' links have not ended", func() error {
		ctx, cancel := before(t.soft, cutTime)
		defer cancel()
		if err := s.hub.Close(ctx); err != nil { // what their workers do not read is theirs to miss
			s.gateway.Log().Warn("shutdown", "err", err)
		}
		return nil
	})
	loopsEnded := make(chan struct{})
	t.step("a handler or a hook has not returned", func() error {
		defer close(loopsEnded)
		err := s.engine.Stop(t.soft)
		_ = s.engine.Stop(context.Background()) // a loop that has not stopped is left behind, not forgotten
		return err
	})
	what := "a login provider has not returned"
	select {
	case <-loopsEnded:
	default:
		what = "" // whatever keeps the loops, it has been named
	}
	t.step(what, func() error {
		<-loopsEnded                                 // they hand logins in
		return s.gateway.Close(context.Background()) // however long it takes: nobody waits for it
	})
	if s.node != nil {
		t.step("the server id has not been given back", func() error { return s.node.Close(t.soft) })
	}
	if s.admin != nil {
		s.admin.Shutdown(t.soft) // last: until then operators can watch the rest go
	}
	s.closeGiven()
	s.endLife()
	t.step("the certificates' files are still being read", func() error {
		s.besides.Wait()
		return nil
	})
	lograte.Flush(s.gateway.Log())
	go func() {
		t.steps.Wait()
		close(s.ended)
	}()
	return t.err
}

// A teardown is a row of steps, each of which may take as long as ctx lets it.
type teardown struct {
	// soft is what steps are given: it is done a moment before hard, so that they can cut off what
	// is left. At hard nobody waits for them any more.
	soft, hard context.Context
	cancel     func()
	steps      sync.WaitGroup
	late       time.Time // when nobody waits for steps that have begun after hard; zero: none has
	log        *slog.Logger
	untold     bool  // err has how many clients were not told
	err        error // of all steps
}

// cutTime is how long steps have to cut off what is left when ctx is done: a turn of each loop and
// some closes of sockets, on a busy machine, too. With a deadline it is a tenth of the time there is,
// if that is less, and comes out of it. Who cancels instead does not want to wait: it is a third then.
const cutTime = 300 * time.Millisecond

// Steps that begin when the time is up have lateTime together: those before them have used it, and with
// nothing to wait for they still need a turn of each loop. What comes behind one that has used up that,
// too, has stepTime, which is a turn of its goroutine.
const (
	lateTime = cutTime / 3
	stepTime = cutTime / 30
)

func newTeardown(ctx context.Context) *teardown {
	t := &teardown{log: slog.New(slog.DiscardHandler)}
	begun, grace := time.Now(), cutTime/3
	var soft context.Context
	var cancelSoft context.CancelFunc
	if deadline, ok := ctx.Deadline(); ok {
		grace = max(min(cutTime, time.Until(deadline)/10), cutTime/30)
		soft, cancelSoft = context.WithDeadline(ctx, deadline.Add(-grace))
	} else {
		soft, cancelSoft = context.WithCancel(ctx)
	}
	hard, cancelHard := context.WithCancel(context.Background())
	stop := context.AfterFunc(soft, func() {
		select {
		case <-time.After(max(grace, lateTime-time.Since(begun))): // a context may be done from the start
		case <-hard.Done():
		}
		cancelHard()
	})
	t.soft, t.hard = soft, hard
	t.cancel = func() {
		stop()
		cancelHard()
	}
	context.AfterFunc(hard, cancelSoft) // a step that is left behind must not wait for ctx
	return t
}

// note logs err and adds it to what Stop returns, in one line. The loops find the same clients left as
// were waited for, or some of them.
func (t *teardown) note(err error) {
	if err == nil {
		return
	}
	if untold := (*engine.UntoldError)(nil); errors.As(err, &untold) {
		if t.untold {
			return
		}
		t.untold = true
	}
	t.log.Error("shutdown", "err", err)
	if t.err == nil {
		t.err = err
	} else {
		t.err = fmt.Errorf("%w; %w", t.err, err)
	}
}

// step runs f and waits for it, as long as there is time. what says that it has not ended; empty: that is
// not its fault.
func (t *teardown) step(what string, f func() error) {
	done := make(chan error, 1)
	t.steps.Add(1)
	go func() {
		defer t.steps.Done()
		done <- f()
	}()
	limit := t.hard
	if limit.Err() != nil {
		if t.late.IsZero() {
			t.late = time.Now().Add(lateTime)
		}
		var cancel context.CancelFunc
		limit, cancel = context.WithTimeout(context.Background(), max(time.Until(t.late), stepTime))
		defer cancel()
	}
	select {
	case err := <-done:
		t.ended(what, err)
		return
	case <-limit.Done():
	}
	select {
	case err := <-done:
		t.ended(what, err)
	default:
		if what != "" {
			t.note(fmt.Errorf("server: %s: %w", what, context.Cause(t.soft)))
		}
	}
}

// ended notes the error of a step. One that comes when nobody waits any more is that of a step which was
// given up, and says so: a machine that stands still for a moment shows both at once.
func (t *teardown) ended(what string, err error) {
	untold := (*engine.UntoldError)(nil)
	if err != nil && what != "" && t.hard.Err() != nil && !errors.As(err, &untold) {
		err = fmt.Errorf("server: %s: %w", what, err)
	}
	t.note(err)
}

// goodbyeTime is how much of the time there is stays for goodbyes when requests are not answered, at
// most a fourth.
const goodbyeTime = time.Second

// before returns ctx with so much less time, at most a fourth.
func before(ctx context.Context, less time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, left-min(less, left/4))
}

// reserve returns ctx with a fifth less time: clients that do not leave must not use up what the
// workers' links need to end.
func reserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)*4/5)
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/sdnotify"
	"github.com/sluicenet/sluice/engine/server"
)

const (
	// statusEvery is the time between two looks at whether the status has changed.
	statusEvery = 10 * time.Second
	// drainEvery is the same during a shutdown, which is short.
	drainEvery = time.Second
	// stopMargin is what a process may take to end beyond --drain: to write the last of its log.
	stopMargin = 5 * time.Second
)

// A service tells the service manager what the gateway is at. On a nil service all methods do nothing.
type service struct {
	say      func(lines ...string) error // sends a message
	watchdog time.Duration               // how long the manager waits for a sign of life; 0: it does not
	log      *slog.Logger

	clients func() int           // connected now
	stands  func() time.Duration // how long a loop has not answered
	stall   time.Duration        // from when on that is too long

	mu     sync.Mutex // one message after another; guards what follows
	failed string     // what became of the last reload, empty: nothing bad
	status string     // told last
	drain  time.Time  // when a shutdown is over at the latest, zero: there is none
	deaf   bool       // the manager did not take the last message
}

// newService returns what tells the manager of the environment, nil if it does not want to be told.
func newService(getenv func(string) string, log *slog.Logger) *service {
	notify, err := sdnotify.New(getenv)
	if err != nil {
		log.Warn("the service manager is told nothing", "err", err)
	}
	if notify == nil {
		return nil
	}
	watchdog, err := sdnotify.WatchdogTime(getenv, os.Getpid())
	if err != nil {
		log.Warn("the service manager gets no signs of life", "err", err)
	}
	return &service{say: notify.Send, watchdog: watchdog, log: log}
}

// of says which gateway it is that the manager is told of. A loop is taken to hang as for /livez,
// earlier only if the manager is more impatient.
func (s *service) of(srv *server.Server, stall time.Duration) {
	if s == nil {
		return
	}
	s.clients = srv.Engine().Connections
	s.stands = func() time.Duration { return longestStand(srv) }
	s.stall = stall
	if s.watchdog > 0 {
		s.stall = min(stall, s.watchdog/2)
	}
}

// longestStand returns how long a loop has not run what it was told, 0 once the loops have ended.
func longestStand(srv *server.Server) (longest time.Duration) {
	e := srv.Engine()
	select {
	case <-e.Stopped():
		return 0
	default:
	}
	for i := range e.Loops() {
		longest = max(longest, e.LoopLag().Standing(i))
	}
	return longest
}

// ready says that clients are served, and keeps the manager informed until done is closed.
func (s *service) ready(done <-chan struct{}) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendStatus(sdnotify.Ready)
	go s.run(done)
}

// reloading says that a reload begins.
func (s *service) reloading() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain.IsZero() {
		s.send(sdnotify.Reloading, sdnotify.Monotonic(), sdnotify.Status("Reloading"))
	}
}

// reloaded says that a reload is over, and how it went.
func (s *service) reloaded(err error) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = ""
	if err != nil {
		s.failed = fmt.Sprintf("the reload of %s failed, the old settings stay: %v", time.Now().Format(time.TimeOnly), err)
	}
	if !s.drain.IsZero() {
		s.sendStatus() // READY=1 would take the shutdown back
		return
	}
	s.sendStatus(sdnotify.Ready)
}

// stopping says that a shutdown begins which takes at most d, and asks for as much time.
func (s *service) stopping(d time.Duration) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain = time.Now().Add(d)
	s.sendStatus(sdnotify.Stopping, sdnotify.ExtendTimeout(d+stopMargin))
}

// run sends signs of life, while all loops answer, and statuses that have changed.
func (s *service) run(done <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if s.watchdog > 0 {
		go s.live(ctx)
	}
	next := time.NewTimer(statusEvery)
	defer next.Stop()
	for {
		select {
		case <-done:
			return
		case <-next.C:
			next.Reset(s.tell())
		}
	}
}

// tell sends the status if it has changed, and returns when to look again.
func (s *service) tell() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text() != s.status {
		s.sendStatus()
	}
	if s.drain.IsZero() {
		return statusEvery
	}
	return drainEvery
}

// live sends a sign of life at half of the manager's time. While a loop hangs none is sent, and the
// loops are looked at more often: one that goes on in time spares the process.
func (s *service) live(ctx context.Context) {
	half := s.watchdog / 2
	next := time.NewTimer(half)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if s.stands() >= s.stall {
			next.Reset(half / 10)
			continue
		}
		s.mu.Lock()
		s.send(sdnotify.Watchdog)
		s.mu.Unlock()
		next.Reset(half)
	}
}

// text is the status. s.mu is held.
func (s *service) text() string {
	n := s.clients()
	connections := fmt.Sprintf("%d connections", n)
	if n == 1 {
		connections = "1 connection"
	}
	switch {
	case !s.drain.IsZero():
		return fmt.Sprintf("Draining %s, until %s at the latest", connections, s.drain.Format(time.TimeOnly))
	case s.failed != "":
		return "Serving " + connections + "; " + s.failed
	}
	return "Serving " + connections
}

// sendStatus sends lines with the status behind them. s.mu is held.
func (s *service) sendStatus(lines ...string) {
	s.status = s.text()
	s.send(append(lines, sdnotify.Status(s.status))...)
}

// send sends a message. The first of several that are not taken is logged. s.mu is held.
func (s *service) send(lines ...string) {
	err := s.say(lines...)
	if err != nil && !s.deaf {
		s.log.Warn("the service manager does not listen", "err", err)
	}
	s.deaf = err != nil
}

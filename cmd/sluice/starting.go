package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// startGrace is how long a gateway may take to get ready once a signal has come that is to end it. Most
// are ready in a moment, and end in order then. What one waits for at its start may never come: a file
// can be a pipe.
const startGrace = time.Second

// A startup is what a command that serves says of its start to who looks after its signals meanwhile.
type startup struct {
	ready func() // from now on it looks after them itself

	mu      sync.Mutex
	stop    func(context.Context) error
	givenUp bool
}

// began says what ends in order what the command is about to start. It reports false if it is too late:
// the process ends, and nothing may start.
func (s *startup) began(stop func(context.Context) error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = stop
	return !s.givenUp
}

// giveUp ends what has begun, as far as that is possible in a moment: who is connected by now is told,
// and no file of a socket stays behind.
func (s *startup) giveUp() {
	s.mu.Lock()
	s.givenUp = true
	stop := s.stop
	s.mu.Unlock()
	if stop == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), startGrace)
	defer cancel()
	_ = stop(ctx) // the process ends, whatever is left
}

// untilReady runs a command and returns its exit code. Signals that end it are looked after here until it
// is ready to do that itself. One that is not ready in time, or by a second signal, is given up: what it
// has begun is ended, and the process ends. Without a channel of signals the command is on its own.
func untilReady(ends chan os.Signal, stderr io.Writer, command func(*startup) int) int {
	if ends == nil {
		return command(&startup{ready: func() {}})
	}
	isReady, done := make(chan struct{}), make(chan int, 1)
	s := &startup{ready: sync.OnceFunc(func() { close(isReady) })}
	go func() { done <- command(s) }()
	var sig os.Signal
	select {
	case code := <-done:
		return code
	case <-isReady:
		return <-done
	case sig = <-ends:
	}
	t := time.NewTimer(startGrace)
	defer t.Stop()
	select {
	case code := <-done:
		return code
	case <-isReady:
		select {
		case ends <- sig:
		default: // others wait to be seen already
		}
		return <-done
	case <-ends:
	case <-t.C:
	}
	s.giveUp()
	fmt.Fprintf(stderr, "sluice: ended by a signal before the gateway was ready: %v\n", sig)
	return exitOK
}

package main

import (
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

// untilReady runs a command and returns its exit code. Signals that end it are looked after here until it
// is ready to do that itself. One that is not ready in time, or by a second signal, is left behind: the
// process ends. Without a channel of signals the command is on its own.
func untilReady(ends chan os.Signal, stderr io.Writer, command func(ready func()) int) int {
	if ends == nil {
		return command(func() {})
	}
	isReady, done := make(chan struct{}), make(chan int, 1)
	go func() { done <- command(sync.OnceFunc(func() { close(isReady) })) }()
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
	fmt.Fprintf(stderr, "sluice: ended by a signal before the gateway was ready: %v\n", sig)
	return exitOK
}

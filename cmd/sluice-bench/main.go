// Command sluice-bench loads a gateway and reports what it does. See package bench.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sluicenet/sluice/bench"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the run could not be done
	exitUsage  = 2
	exitBreach = 3 // it was done, and an expectation was not met

	exitInterrupted = 130 // as a shell would say it
)

// errBreach says that a run did not meet what was expected of it.
var errBreach = errors.New("expectations not met")

// errIncomplete says that a run ended before its time, for another reason than an interrupt.
var errIncomplete = errors.New("incomplete")

func main() {
	bench.ServeIfWorker()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends us at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// codeOf is the exit code of an error.
func codeOf(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errBreach):
		return exitBreach
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, bench.ErrConfig), errors.Is(err, errUsage):
		return exitUsage
	default:
		return exitFailed
	}
}

var errUsage = errors.New("usage")

func complain(w *os.File, err error) {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(w, "sluice-bench:", strings.TrimPrefix(err.Error(), "bench: "))
}

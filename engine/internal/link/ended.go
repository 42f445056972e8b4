package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
)

// An endReason says why a link ended. The counters and the log carry its name.
type endReason uint32

const (
	endUnknown endReason = iota // not ended

	// Nothing is wrong.
	endWorkerClosed // the worker closed its side
	endShutdown     // the gateway stops, and what waited for the worker is written

	// The network, or a worker that does not keep up.
	endReset        // the connection broke
	endSilent       // nothing heard for Config.Idle
	endWriteTimeout // took a part of what was written, and then nothing for Config.WriteTimeout
	endMadeRoom     // had sent nothing when there were more than Config.MaxLinks
	endCutOff       // had not ended when the gateway's time to stop was over

	// The worker's fault.
	endTooLarge // a frame over Config.MaxPacket
	endTooShort // a frame too short for a command
	endUnknownCommand
	endWrongDirection // a command that only gateways send
	endPong           // the answer to a heartbeat, which only gateways send
	endForeign1       // it speaks netsvr protocol 1
	endForeign3To6    // it speaks netsvr protocol 3 to 6

	// Ours.
	endPanic   // a command panicked, or ended its goroutine
	endStopped // the loops have stopped before the link
	endOther   // anything else

	numEndReasons
)

var endNames = [numEndReasons]string{
	endUnknown:        "unknown",
	endWorkerClosed:   "worker-closed",
	endShutdown:       "shutdown",
	endReset:          "reset",
	endSilent:         "silent",
	endWriteTimeout:   "write-timeout",
	endMadeRoom:       "made-room",
	endCutOff:         "cut-off",
	endTooLarge:       "frame-too-large",
	endTooShort:       "frame-too-short",
	endUnknownCommand: "unknown-command",
	endWrongDirection: "wrong-direction",
	endPong:           "pong",
	endForeign1:       netsvr.Foreign1.String(),
	endForeign3To6:    netsvr.Foreign3To6.String(),
	endPanic:          "panic",
	endStopped:        "gateway-stopped",
	endOther:          "other",
}

func (r endReason) String() string { return endNames[r] }

// ordinary reports whether a link that ends so is no news to an operator.
func (r endReason) ordinary() bool { return r == endWorkerClosed || r == endShutdown }

// An endError is why a link ends, with what more is known of it.
type endError struct {
	why endReason
	err error // nil: the reason says it all
}

func (e *endError) Error() string {
	if e.err == nil {
		return e.why.String()
	}
	return e.err.Error()
}

func (e *endError) Unwrap() error { return e.err }

func ends(why endReason, format string, args ...any) error {
	return &endError{why, fmt.Errorf(format, args...)}
}

// endOf is the reason for an error of a link.
func endOf(err error) endReason {
	var e *endError
	switch {
	case errors.As(err, &e):
		return e.why
	case errors.Is(err, io.EOF):
		return endWorkerClosed
	case errors.Is(err, netsvr.ErrFrameTooLarge):
		return endTooLarge
	case errors.Is(err, netsvr.ErrNoCommand):
		return endTooShort
	case errors.Is(err, os.ErrDeadlineExceeded):
		return endSilent
	case errors.Is(err, engine.ErrStopped):
		return endStopped
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.ErrClosedPipe), errors.Is(err, syscall.ETIMEDOUT):
		return endReset
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return endReset
	}
	return endOther
}

// endCounts counts links that ended, by reason.
type endCounts [numEndReasons]atomic.Uint64

func (c *endCounts) snapshot() map[string]uint64 {
	m := make(map[string]uint64, numEndReasons-1)
	for r := endUnknown + 1; r < numEndReasons; r++ {
		m[r.String()] = c[r].Load()
	}
	return m
}

package admin

import (
	"context"
	"errors"
	"time"

	"github.com/sluicenet/sluice/engine"
)

var (
	errLoopBusy   = errors.New("admin: a loop does not answer")
	errLoopFailed = errors.New("admin: a loop has failed at it: the log says why")
)

// loopTimeout is how long a loop may take to answer.
const loopTimeout = 5 * time.Second

// onLoop runs f on a loop and waits for it. One such function at a time is under way to a loop, so that
// no turn has to run more than one, however many ask. On an error f may run later all the same: what
// it writes must not be read then.
func (s *Server) onLoop(ctx context.Context, loop int, f func(*engine.Loop)) error {
	timeout := time.NewTimer(loopTimeout)
	defer timeout.Stop()
	wait := func(answer <-chan error) error {
		select {
		case err := <-answer:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-s.engine.Stopped():
			return engine.ErrStopped
		case <-timeout.C:
			return errLoopBusy
		}
	}
	turn, done := s.turns[loop], make(chan error, 1)
	if err := wait(turn); err != nil {
		return err
	}
	told := s.engine.Visit(loop, func(l *engine.Loop) {
		err := errLoopFailed // if it panics
		defer func() {
			turn <- nil
			done <- err
		}()
		f(l)
		err = nil
	})
	if !told {
		turn <- nil
		return engine.ErrStopped
	}
	return wait(done)
}

const (
	// sliceTime and sliceSteps are how long a query holds a loop up at a stretch, and how many things it
	// looks at: whichever comes first. A step takes a tenth of a microsecond, or a few of them.
	sliceTime  = 250 * time.Microsecond
	sliceSteps = 4096
)

// A slice says when a query has held a loop up for long enough.
type slice struct {
	begun    time.Time
	n, every int
}

// newSlice begins one that looks at the clock behind every so many steps: to look takes about as long
// as a short step.
func newSlice(every int) slice { return slice{begun: time.Now(), every: every} }

// over reports whether it is time. It is asked behind each step.
func (sl *slice) over() bool {
	sl.n++
	return sl.n >= sliceSteps || sl.n%sl.every == 0 && time.Since(sl.begun) > sliceTime
}

// Package logsink keeps a program going whatever becomes of its log.
//
// # Data flow
//
//	any goroutine -> Write -> a bounded buffer -> one goroutine -> the real writer
//
// A pipe that nobody reads, a full disk or a reader that has gone away stops that one goroutine, or
// fails it; Write returns at once. What does not fit, or cannot be written, is counted, and whoever
// asked for it is told: of the first line that is lost, at once, and of how many there were, once lines
// get through again.
//
// # Ownership
//
// Write copies what it is given.
//
// # Goroutines
//
// One, from New to Close. It outlives Close if the real writer does not return.
package logsink

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxPending is how many bytes may wait: some thousand lines, seconds of a busy log.
	maxPending = 1 << 20
	// maxWrite is how many bytes are written at a time, so that a failure costs few lines.
	maxWrite = 16 << 10
	// keepPending is how large an empty buffer may be that is used again.
	keepPending = 64 << 10
	// losingEvery is the time between two times that OnLosing's function is called: a disk that is full
	// for hours is worth a line now and then.
	losingEvery = time.Minute
)

// errFull is that there is no room for a line.
var errFull = errors.New("nobody takes the lines in time")

// A Sink is an io.Writer that neither blocks nor fails. Each Write is one or more whole lines.
type Sink struct {
	w       io.Writer
	dropped atomic.Uint64 // lines
	onLoss  atomic.Pointer[func(lines uint64)]

	onLosing atomic.Pointer[func(err error)]
	losing   atomic.Pointer[time.Time] // when it was called last, nil: never

	mu       sync.Mutex // guards what follows
	pending  []byte
	underway uint64 // lines that the goroutine has taken, and has neither written nor counted as lost
	closed   bool
	left     bool // Close has counted what the goroutine had left

	wake chan struct{} // has one element when there may be something to do
	done chan struct{} // closed when the goroutine has ended
}

// New makes a Sink that writes to w, which it uses on a goroutine of its own.
func New(w io.Writer) *Sink {
	s := &Sink{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// OnLoss has f called, on the Sink's goroutine, with the number of lines that were lost since the
// last time, once lines get through again. f may write to the Sink.
func (s *Sink) OnLoss(f func(lines uint64)) { s.onLoss.Store(&f) }

// OnLosing has f called when lines begin to be lost, and why, and again each minute that more are: on
// the Sink's goroutine, or on one that writes to it. f must not block, nor write to the Sink.
func (s *Sink) OnLosing(f func(err error)) { s.onLosing.Store(&f) }

// lose counts lines that are lost.
func (s *Sink) lose(lines uint64, err error) {
	s.dropped.Add(lines)
	f := s.onLosing.Load()
	if f == nil || lines == 0 {
		return
	}
	now, last := time.Now(), s.losing.Load()
	if (last == nil || now.Sub(*last) >= losingEvery) && s.losing.CompareAndSwap(last, &now) {
		(*f)(err)
	}
}

// Dropped returns the number of lines lost so far. Any goroutine may call it.
func (s *Sink) Dropped() uint64 { return s.dropped.Load() }

// Write copies p, or drops and counts its lines when there is no room. Any goroutine may call it. It
// never blocks on the real writer, and never fails.
func (s *Sink) Write(p []byte) (int, error) { return s.write(p, maxPending) }

// Part returns a writer that may use half of the Sink's buffer: what may be much goes there, and leaves
// room for the rest.
func (s *Sink) Part() io.Writer { return part{s} }

type part struct{ sink *Sink }

func (w part) Write(p []byte) (int, error) { return w.sink.write(p, maxPending/2) }

// write is Write while no more than most bytes wait.
func (s *Sink) write(p []byte, most int) (int, error) {
	s.mu.Lock()
	closed, room := s.closed, len(s.pending)+len(p) <= most
	if room && !closed {
		s.pending = append(s.pending, p...)
	}
	s.mu.Unlock()
	switch {
	case closed:
		s.dropped.Add(lines(p)) // the end is no news
	case !room:
		s.lose(lines(p), errFull)
	default:
		s.signal()
	}
	return len(p), nil
}

func (s *Sink) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close writes what waits, for at most so long, and reports whether all of it has been handed to the
// real writer. What has not, for all that is known, counts as lost, and what comes later is dropped.
func (s *Sink) Close(within time.Duration) bool {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-s.done:
		return true
	case <-t.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	s.dropped.Add(s.underway + lines(s.pending))
	s.underway, s.pending = 0, nil
	return false
}

// run writes until the Sink is closed and empty.
func (s *Sink) run() {
	defer close(s.done)
	var spare []byte
	told, written := uint64(0), false // of dropped; whether the last piece got through
	for range s.wake {
		for {
			s.mu.Lock()
			batch, closed := s.pending, s.closed
			s.pending, s.underway = spare[:0], lines(batch)
			s.mu.Unlock()
			if len(batch) > 0 {
				written = s.pass(batch)
				if spare = batch; cap(spare) > keepPending {
					spare = nil
				}
				continue
			}
			spare = batch
			if closed {
				return
			}
			// Only now is there room for another line for sure.
			lost, f := s.dropped.Load(), s.onLoss.Load()
			if !written || lost == told || f == nil {
				break
			}
			(*f)(lost - told)
			told = lost
		}
	}
}

// pass hands batch to the real writer in pieces of whole lines, and reports whether the last of them
// got through.
func (s *Sink) pass(batch []byte) (written bool) {
	for len(batch) > 0 {
		piece := batch
		if len(piece) > maxWrite {
			end := bytes.LastIndexByte(piece[:maxWrite], '\n') + 1
			if end == 0 { // a line longer than that
				if end = bytes.IndexByte(piece, '\n') + 1; end == 0 {
					end = len(piece)
				}
			}
			piece = piece[:end]
		}
		n, err := s.w.Write(piece)
		if !s.settle(lines(piece)) {
			return false
		}
		if written = err == nil; !written {
			s.lose(lines(piece[min(max(n, 0), len(piece)):]), err)
		}
		batch = batch[len(piece):]
	}
	return written
}

// settle notes that so many lines are under way no more. It reports false if Close has counted them.
func (s *Sink) settle(lines uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return false
	}
	s.underway -= lines
	return true
}

// lines counts the lines of p, the last of which may lack its end.
func lines(p []byte) uint64 {
	n := bytes.Count(p, []byte{'\n'})
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return uint64(n)
}

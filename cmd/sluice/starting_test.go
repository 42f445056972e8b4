package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// TestUntilReady: a signal that comes before the gateway listens ends it in order if it is ready soon, and
// the process with a line if it is not; none is lost.
func TestUntilReady(t *testing.T) {
	const stuck = time.Hour
	for _, tt := range []struct {
		name    string
		signals []time.Duration // when they come
		takes   time.Duration   // until it is ready
		fails   bool            // it is not, but ends with 2
		code    int
		after   time.Duration
		line    bool
	}{
		{"none", nil, time.Minute, true, exitUsage, time.Minute, false},
		{"it never gets ready", []time.Duration{0}, stuck, false, exitOK, startGrace, true},
		{"it never gets ready, and a second signal comes", []time.Duration{time.Minute, time.Minute + 100*time.Millisecond}, stuck, false,
			exitOK, time.Minute + 100*time.Millisecond, true},
		{"it is ready in a moment", []time.Duration{0}, startGrace / 2, false, 7, startGrace / 2, false},
		{"it fails in a moment", []time.Duration{0}, startGrace / 2, true, exitUsage, startGrace / 2, false},
		{"it is ready", []time.Duration{time.Minute}, time.Second, false, 7, time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				ends := make(chan os.Signal, 2)
				release := make(chan struct{})
				defer close(release)
				for _, at := range tt.signals {
					time.AfterFunc(at, func() { ends <- syscall.SIGQUIT })
				}
				var out bytes.Buffer
				begun := time.Now()
				code := untilReady(ends, &out, func(s *startup) int {
					select {
					case <-time.After(tt.takes):
					case <-release:
						return exitFailed
					}
					if tt.fails {
						return exitUsage
					}
					s.ready()
					<-ends
					return 7
				})
				if took := time.Since(begun); code != tt.code || took != tt.after {
					t.Errorf("exit code %d after %v, want %d after %v", code, took, tt.code, tt.after)
				}
				if line := strings.Contains(out.String(), "before the gateway was ready: quit"); line != tt.line {
					t.Errorf("it says %q", out.String())
				}
			})
		})
	}
}

// TestUntilReadyGivesUp: what has begun by the time that a start is given up is ended first, and nothing
// begins afterwards.
func TestUntilReadyGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name     string
		begins   time.Duration
		ends     time.Duration // from when it is told to
		giveUp   time.Duration // when untilReady is back
		tooLate  bool
		unending bool
	}{
		{"in the midst of it", 0, startGrace / 4, startGrace + startGrace/4, false, false},
		{"before it", 2 * startGrace, 0, startGrace, true, false},
		{"it does not end", 0, time.Hour, 2 * startGrace, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				ends := make(chan os.Signal, 2)
				ends <- syscall.SIGTERM
				release, over := make(chan struct{}), make(chan struct{})
				ended, began := false, false
				begun := time.Now()
				code := untilReady(ends, new(bytes.Buffer), func(s *startup) int {
					defer close(over)
					time.Sleep(tt.begins)
					began = s.began(func(ctx context.Context) error {
						select {
						case <-time.After(tt.ends):
							ended = true
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					})
					<-release
					return exitOK
				})
				if took := time.Since(begun); code != exitOK || took != tt.giveUp {
					t.Errorf("exit code %d after %v, want %d after %v", code, took, exitOK, tt.giveUp)
				}
				if want := !tt.tooLate && !tt.unending; ended != want {
					t.Errorf("what has begun has ended: %v, want %v", ended, want)
				}
				close(release)
				<-over
				if began == tt.tooLate {
					t.Errorf("it may begin: %v, want %v", began, !tt.tooLate)
				}
			})
		})
	}
}

package main

import (
	"bytes"
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
				code := untilReady(ends, &out, func(ready func()) int {
					select {
					case <-time.After(tt.takes):
					case <-release:
						return exitFailed
					}
					if tt.fails {
						return exitUsage
					}
					ready()
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

//go:build faults

package cluster

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/sluicenet/sluice/internal/faketime"
)

// sessionFaults are the faults that sessions have under the build tag faults, by number.
var sessionFaults = map[int]string{
	50: "a checkpoint does not wait for sessions that have lost their connection",
	51: "a checkpoint does not wait for sessions that are behind",
	52: "a checkpoint waits for nobody",
	53: "a session that is behind is resumed from the checkpoint",
	54: "a session that is given up is not written",
	55: "a session that was taken over is not behind",
	56: "a session is given up while it is taken over",
	57: "who was given a session does not see that its owner has taken it back",
}

// A finder is a tester whose test is over with the first fault.
type finder struct {
	t      *testing.T
	failed string
}

func (f *finder) Helper()                   {}
func (f *finder) Logf(string, ...any)       {}
func (f *finder) Output() io.Writer         { return io.Discard }
func (f *finder) Errorf(s string, a ...any) { f.failed = fmt.Sprintf(s, a...) }

func (f *finder) Fatalf(s string, a ...any) {
	f.Errorf(s, a...)
	runtime.Goexit()
}

func TestSessionsFindFaults(t *testing.T) {
	defer func() { fault = 0 }()
	const seeds = 150
	for number, what := range sessionFaults {
		fault = number
		f := &finder{t: t}
		play := func(what func()) {
			faketime.Test(t, func(*testing.T) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					what()
				}()
				<-done
			})
		}
		for name, scene := range pointScenes {
			if play(func() { scene(f) }); f.failed != "" {
				f.failed = name + ": " + f.failed
				break
			}
		}
		seed := uint64(0)
		for ; seed < seeds && f.failed == ""; seed++ {
			play(func() { wander(f, seed) })
		}
		if f.failed == "" {
			t.Errorf("fault %d, %s, was not found in %d seeds", number, what, seeds)
			continue
		}
		t.Logf("fault %d, %s: behind %d seeds: %s", number, what, seed, f.failed)
	}
}

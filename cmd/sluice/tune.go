package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// tune sets what a library must leave alone: one P more than loops, so that a worker's goroutine
// does not wait behind two busy loops, and a tighter heap, unless the environment says otherwise.
func (cmd *settings) tune() {
	if cmd.Loops <= 0 {
		cmd.Loops = runtime.GOMAXPROCS(0)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(cmd.Loops + 1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// A storm is what giveBack knows of clients that come or go in great numbers.
type storm struct {
	accepted uint64 // when last looked at
	quiet    int    // looks in a row without a new connection
	settled  int64  // connections when memory was last given back
}

const (
	stormLook  = time.Second
	stormOver  = 2    // quiet looks
	stormLeast = 1000 // connections
)

// over reports whether a storm has just ended: nobody has come for a while, and there are a quarter
// more connections than after the last one, or less than half.
func (s *storm) over(connections int64, accepted uint64) bool {
	if accepted != s.accepted {
		s.accepted, s.quiet = accepted, 0
		return false
	}
	if s.quiet++; s.quiet < stormOver {
		return false
	}
	more := connections-s.settled >= max(stormLeast, s.settled/4)
	less := s.settled-connections >= max(stormLeast, s.settled/2)
	if more || less {
		s.settled = connections
	}
	return more || less
}

// giveBack returns the memory of a storm's garbage to the system once the storm is over: a gateway
// whose clients are quiet allocates nothing, so the next collection might be minutes away.
func giveBack(e *engine.Engine, done <-chan struct{}) {
	look := time.NewTicker(stormLook)
	defer look.Stop()
	var s storm
	for {
		select {
		case <-done:
			return
		case <-look.C:
			if st := e.Stats(); s.over(st.Connections, st.Accepted) {
				runtime.GC() // what pools hold survives one collection
				debug.FreeOSMemory()
			}
		}
	}
}

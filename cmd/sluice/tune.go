package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/internal/beat"
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
	engine.ReleaseIdlePool()
}

// A burst is what releaseMemory knows of clients that come or go in great numbers.
type burst struct {
	accepted uint64 // when last looked at
	quiet    int    // looks in a row without a new connection
	settled  int64  // connections when memory was last released
}

const (
	burstLook  = time.Second
	burstOver  = 2    // quiet looks
	burstLeast = 1000 // connections
)

// over reports whether a burst has just ended: nobody has come for a while, and there are a quarter
// more connections than after the last one, or less than half.
func (b *burst) over(connections int64, accepted uint64) bool {
	if accepted != b.accepted {
		b.accepted, b.quiet = accepted, 0
		return false
	}
	if b.quiet++; b.quiet < burstOver {
		return false
	}
	more := connections-b.settled >= max(burstLeast, b.settled/4)
	less := b.settled-connections >= max(burstLeast, b.settled/2)
	if more || less {
		b.settled = connections
	}
	return more || less
}

// releaseMemory returns the memory of a burst's garbage to the system once the burst is over: a gateway
// whose clients are quiet allocates nothing, so the next collection might be minutes away.
func releaseMemory(e *engine.Engine, done <-chan struct{}) {
	var b burst
	beat.Run(burstLook, done, func() {
		if st := e.Stats(); b.over(st.Connections, st.Accepted) {
			runtime.GC() // what pools hold survives one collection
			debug.FreeOSMemory()
		}
	})
}

package engine

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
)

// A goroutineID is the number of a goroutine as stacks have it, 0 when it is not known. The goroutine
// notes it itself; any may read it.
type goroutineID struct{ n atomic.Uint64 }

// note sets it to the caller's.
func (id *goroutineID) note() {
	var b [64]byte
	text, ok := bytes.CutPrefix(b[:runtime.Stack(b[:], false)], []byte(goroutinePrefix))
	end := bytes.IndexByte(text, ' ')
	if !ok || end < 0 {
		return
	}
	n, _ := strconv.ParseUint(string(text[:end]), 10, 64)
	id.n.Store(n)
}

// goroutinePrefix begins a goroutine in a stack trace, its number follows.
const goroutinePrefix = "goroutine "

// waitsInCoroutine is in the first line of one that waits for the other of a pair.
const waitsInCoroutine = "[coroutine"

const (
	// mostStacks is how many goroutines are written down at most. The process stands still for that, some
	// 10 us each, and is late then because it is looked at.
	mostStacks = 1000
	// stackSize is what one of them takes, in bytes: some forty calls; most are shorter.
	stackSize = 8 << 10
)

// stack returns what loop i is at: the stack of the coroutine that handlers run in, if that is under
// way, or the loop's own. It stops the process for as long as it takes to write down all goroutines, and
// says so where there are too many.
func (e *Engine) stack(i int) string {
	n := runtime.NumGoroutine()
	if n > mostStacks {
		return fmt.Sprintf("not taken, of %d goroutines: a profile of goroutines has it", n)
	}
	l := e.loops[i]
	ids := [...]uint64{l.isolation.goroutine.n.Load(), l.goroutine.n.Load()}
	b := make([]byte, n*stackSize)
	b = b[:runtime.Stack(b, true)]
	var found []string
	for _, id := range ids {
		s := findStack(string(b), id)
		head, _, _ := strings.Cut(s, "\n")
		if s != "" && !strings.Contains(head, waitsInCoroutine) {
			found = append(found, s)
		}
	}
	return strings.Join(found, "\n\n")
}

// findStack returns a goroutine's part of a trace of all, empty if it is not there.
func findStack(trace string, id uint64) string {
	head := goroutinePrefix + strconv.FormatUint(id, 10) + " "
	for part := range strings.SplitSeq(trace, "\n\n") {
		if strings.HasPrefix(part, head) {
			return strings.TrimSpace(part)
		}
	}
	return ""
}

// steps returns how often gnet has called loop i, and whether such a call is under way.
func (e *Engine) steps(i int) (begun uint64, running bool) {
	n := e.loops[i].stats.calls.Load()
	return (n + 1) / 2, n%2 != 0
}

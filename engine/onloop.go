package engine

import (
	"errors"
	"reflect"
	"runtime"
)

// ErrOnLoop means that a call which waits was made on a loop: from a Handler, a function given to
// Tell or a Mail. Waiting there would stop every connection of the loop, and for what only the loop
// itself can do it would never end.
var ErrOnLoop = errors.New("engine: called on a loop, which must not wait")

// OnLoop reports whether the caller runs on a loop of any Engine. It looks through the stack for
// gnet's way into a loop, so it takes about a microsecond and more on a deep stack.
func OnLoop() bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		// The way in lies at the stack's root, so the search begins there.
		for i := n - 1; i >= 0; i-- {
			if f := runtime.FuncForPC(pcs[i] - 1); f != nil && isLoopEntry(f.Entry()) {
				return true
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// loopEntries are the functions by which gnet enters a loop, or a loop its coroutine. gnet calls them
// through interfaces, and run recovers, so each has a frame of its own on the stack.
var loopEntries = [...]uintptr{
	reflect.ValueOf((*Loop).Run).Pointer(),
	reflect.ValueOf((*events).OnOpen).Pointer(),
	reflect.ValueOf((*events).OnTraffic).Pointer(),
	reflect.ValueOf((*events).OnClose).Pointer(),
	reflect.ValueOf((*isolation).run).Pointer(), // on the loop's coroutine, which has a stack of its own
}

func isLoopEntry(pc uintptr) bool {
	for _, e := range loopEntries {
		if pc == e {
			return true
		}
	}
	return false
}

package engine

import "testing"

// needsPause skips a test of what is promised where reading can be paused.
func needsPause(t testing.TB, e *Engine) {
	t.Helper()
	if e.loops[0].poller < 0 {
		t.Skip("reading cannot be paused here")
	}
}

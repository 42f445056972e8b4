//go:build portable

package engine

import (
	"io"
	"strings"
	"testing"
)

// Where reading cannot be paused, a client whose input is held back and who goes on sending is closed
// by name, and nobody else notices.
func TestInputBoundedWithoutPause(t *testing.T) {
	const limit = 64 << 10
	e, addr := startLine(t, Config{Loops: 1, InputBacklog: limit}, ListenConfig{})
	eager, other := dialLine(t, addr), dialLine(t, addr)
	eager.send("STOP")
	_, _ = io.WriteString(eager, strings.Repeat("ECHO x\n", 8<<20/7)) // ends with an error once it is closed
	waitFor(t, "the close", func() bool { return e.Stats().Closed[ReasonInputBacklog] == 1 })
	other.send("ECHO y")
	other.expect("y")
}

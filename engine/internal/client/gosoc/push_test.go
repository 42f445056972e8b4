package gosoc

import (
	"bytes"
	"testing"

	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
)

// A push costs no allocation in any of the wire forms, and is the same each time.
func TestPushAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, and empties pools")
	}
	p := engine.Push{Route: "chat.Said", Payload: bytes.Repeat([]byte("hello "), 100)}
	for _, d := range Dialects(ws.NewTransport(ws.Config{}, nil)) {
		dst := make([]byte, 0, 4096)
		first, err := d.Append(dst, p)
		if err != nil {
			t.Fatal(err)
		}
		first = bytes.Clone(first)
		if n := testing.AllocsPerRun(200, func() {
			if b, _ := d.Append(dst, p); !bytes.Equal(b, first) {
				t.Fatal("not the same bytes")
			}
		}); n >= 1 {
			t.Errorf("%s: %v allocations per push", d.Name, n)
		}
	}
}

package engine

import (
	"strings"
	"testing"
)

// A long packet is charged as much as it takes, while it comes and no longer, and what follows it in
// the same segments is handled, too.
func TestLongInputIsCharged(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{})
	c := dialLine(t, addr)
	charged := func() int64 { return e.Stats().Accounts[KindInput] }
	for _, tt := range []struct {
		bytes int
		room  int64
	}{{100_000, 128 << 10}, {200_000, 256 << 10}, {1_000_000, 1 << 20}} {
		text := strings.Repeat("x", tt.bytes)
		if _, err := c.Write([]byte("ECHO " + text)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the packet to be charged", func() bool { return charged() == tt.room })
		c.send("y\nECHO behind\nECHO and behind that")
		c.expect(text + "y")
		c.expect("behind")
		c.expect("and behind that")
		waitFor(t, "the charge to be gone", func() bool { return charged() == 0 })
	}
	if _, err := c.Write([]byte("ECHO " + strings.Repeat("x", 300_000))); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the last one to be charged", func() bool { return charged() == 512<<10 })
	c.Close()
	waitFor(t, "its charge to go with it", func() bool { return charged() == 0 })
}

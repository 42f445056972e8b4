package engine

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// napProtocol has a line NAP that takes a millisecond, and one ASK that is answered with how many
// have been taken.
type napProtocol struct {
	lineProtocol
	naps *atomic.Int64
}

func (p napProtocol) Open(c *Conn) Handler {
	p.lineProtocol.Open(c)
	return &napHandler{naps: p.naps}
}

type napHandler struct {
	lineHandler
	naps *atomic.Int64
}

func (h *napHandler) OnBytes(c *Conn, b []byte) (n, need int) {
	for !c.Paused() {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			if n == 0 { // to look takes its time, too
				time.Sleep(2 * time.Millisecond)
			}
			return n, len(b) - n + 1
		}
		if bytes.HasPrefix(b[n:], []byte("NAP")) {
			time.Sleep(time.Millisecond)
			h.naps.Add(1)
		} else {
			c.Write(fmt.Appendf(nil, "%d\n", h.naps.Load()))
		}
		n += i + 1
		c.CountPackets(1)
	}
	return n, 0
}

// Who sends much that takes time lets others go first in between, and gets all of its own in order.
func TestLongInputInSlices(t *testing.T) {
	const naps = 60
	var taken atomic.Int64
	opened := make(chan Ref, 2)
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{napProtocol{lineProtocol{opened}, &taken}}})
	needsPause(t, e)
	busy, other := dialLine(t, addr), dialLine(t, addr)
	for _, c := range []*lineClient{busy, other} {
		c.send("ASK")
		c.expect("0")
	}
	held, release := make(chan struct{}), make(chan struct{})
	e.Tell(<-opened, func(*Conn) {
		close(held)
		<-release
	})
	<-held
	nap := "NAP " + strings.Repeat("z", 1000) + "\n"
	if _, err := io.WriteString(busy, strings.Repeat(nap, naps)+"ASK\n"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the loop finds it first, and all of it
	other.send("ASK")
	close(release)
	var seen int64
	if _, err := fmt.Fscan(other.r, &seen); err != nil || seen > naps/2 {
		t.Errorf("answered behind %d of %d, %v", seen, naps, err)
	}
	busy.expect(fmt.Sprint(naps))
}

// Who cannot do anything with what is there is given more, however long it looks.
func TestLongInputThatTakesTimeToLookAt(t *testing.T) {
	var taken atomic.Int64
	e, addr := startLine(t, Config{Loops: 1, InputBacklog: 4 << 20}, ListenConfig{Protocols: []Protocol{napProtocol{naps: &taken}}})
	needsPause(t, e)
	c := dialLine(t, addr)
	c.send("ASK")
	c.expect("0")
	go func() { _, _ = io.WriteString(c, "NAP "+strings.Repeat("z", 500_000)+"\nASK\n") }()
	c.expect("1")
}

// What is left for a later turn is no input that piles up: more than the limit of that may be here.
func TestLongInputAboveInputBacklog(t *testing.T) {
	const naps = 100
	var taken atomic.Int64
	e, addr := startLine(t, Config{Loops: 1, InputBacklog: 1 << 10}, ListenConfig{Protocols: []Protocol{napProtocol{naps: &taken}}})
	needsPause(t, e)
	c := dialLine(t, addr)
	if _, err := io.WriteString(c, strings.Repeat("NAP "+strings.Repeat("z", 400)+"\n", naps)+"ASK\n"); err != nil {
		t.Fatal(err)
	}
	c.expect(fmt.Sprint(naps))
}

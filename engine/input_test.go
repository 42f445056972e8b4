package engine

import (
	"testing"
	"time"
)

// A peer whose bytes wait in its socket for a loop that does not come to them is not silent; once they are read, it may be.
func TestSilenceLeft(t *testing.T) {
	opened := make(chan Ref, 1)
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{lineProtocol{opened}}})
	c := dialLine(t, addr)
	c.send("ECHO 1")
	c.expect("1")
	ref := <-opened
	type finding struct {
		left  int64
		moved uint32
	}
	ask := func(ago, limit int64, before func(*Conn)) finding {
		found := make(chan finding, 1)
		e.Tell(ref, func(c *Conn) {
			before(c)
			then := uint32(c.loop.now - ago)
			heard := then
			left := c.SilenceLeft(&heard, limit)
			found <- finding{left, heard - then}
		})
		return <-found
	}
	idle := func(*Conn) {}
	sends := func(i *Conn) { // while the loop is here, it does not read
		c.send("ECHO 2")
		waitFor(t, "its bytes", i.unread)
	}
	for _, tt := range []struct {
		name       string
		ago, limit int64
		before     func(*Conn)
		want       finding
	}{
		{"in time", 400, 1000, idle, finding{600, 0}},
		{"too long", 1000, 1000, idle, finding{0, 0}},
		{"far too long", 5000, 1000, idle, finding{-4000, 0}},
		{"unread", 5000, 1000, sends, finding{1000, 5000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ask(tt.ago, tt.limit, tt.before); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
	c.expect("2")
	if got, want := ask(1000, 1000, idle), (finding{0, 0}); got != want {
		t.Errorf("once they are read: %+v, want %+v", got, want)
	}
	if got, want := ask(5000, 1000, (*Conn).Pause), (finding{1000, 5000}); got != want {
		t.Errorf("held back: %+v, want %+v", got, want)
	}
}

// The first bytes of a connection may have come while its loop could not look.
func TestFirstBytesCameLate(t *testing.T) {
	plainOnly(t)
	e, addr := startLine(t, Config{Loops: 1, FirstBytes: time.Hour}, ListenConfig{})
	client := dialLine(t, addr)
	waitFor(t, "the connection", func() bool { return e.Stats().Connections == 1 })
	e.TellLoop(0, func() {
		e.loops[0].each(func(c *Conn) {
			client.send("ECHO 1")
			waitFor(t, "its bytes", c.unread)
			c.handler.OnDeadline(c)
		})
	})
	client.expect("1")
}

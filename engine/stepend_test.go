package engine

import "testing"

// What is to be done at the end of a step is done once, also what has come up meanwhile, and before a
// connection ends.
func TestAtStepEnd(t *testing.T) {
	opened := make(chan Ref, 1)
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{lineProtocol{opened}}})
	c := dialLine(t, addr)
	c.send("ECHO hello")
	c.expect("hello")
	said := make(chan string, 8)
	e.Tell(<-opened, func(c *Conn) {
		h, l := c.Handler().(*lineHandler), c.Loop()
		l.AtStepEnd(func() {
			if h.closed != 0 {
				said <- "too late"
			}
			said <- "end"
			l.AtStepEnd(func() { said <- "end of that" })
		})
		said <- "step"
		c.Close(ReasonServerError)
	})
	for _, want := range []string{"step", "end", "end of that"} {
		if got := <-said; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	c.expect("BYE server-error")
	c.expectEOF()
	e.TellLoop(0, func() { said <- "next step" })
	if got := <-said; got != "next step" {
		t.Errorf("%q once more", got)
	}
}

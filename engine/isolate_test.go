package engine

import (
	"runtime"
	"testing"
	"time"
)

// A handler that ends its goroutine costs one connection, wherever it does so: the loop goes on.
func TestGoexitCostsOneConnection(t *testing.T) {
	exit := func(*Conn) { runtime.Goexit() }
	for _, tt := range []struct {
		name    string
		handler func() Handler
		do      func(e *Engine, ref Ref, c *lineClient)
	}{
		{"OnBytes", func() Handler { return &exitHandler{} }, func(_ *Engine, _ Ref, c *lineClient) { c.send("ECHO x") }},
		{"OnDeadline", func() Handler { return &partingHandler{deadline: exit} }, func(_ *Engine, _ Ref, c *lineClient) { c.send("TIMER") }},
		{"Goodbye", func() Handler { return &partingHandler{goodbye: exit} }, func(_ *Engine, _ Ref, c *lineClient) { c.send("CLOSE") }},
		{"OnClose", func() Handler { return &partingHandler{onClose: exit} }, func(_ *Engine, _ Ref, c *lineClient) { c.send("CLOSE") }},
		{"Open", func() Handler { runtime.Goexit(); return nil }, func(_ *Engine, _ Ref, c *lineClient) { c.send("ECHO x") }},
		{"Tell", func() Handler { return &partingHandler{} }, func(e *Engine, ref Ref, c *lineClient) {
			c.send("ECHO there")
			c.expect("there")
			e.Tell(ref, exit)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refs := make(chan Ref, 3)
			first := true
			p := testProtocol{open: func(c *Conn) Handler {
				refs <- c.Ref()
				if first {
					first = false
					return tt.handler()
				}
				return &lineHandler{}
			}}
			e, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{p}})
			goroutines := runtime.NumGoroutine()
			bad := dialLine(t, addr)
			if tt.name == "Tell" {
				bad.send("ECHO hello")
				bad.expect("hello")
				tt.do(e, <-refs, bad)
			} else {
				tt.do(e, 0, bad)
			}
			_ = bad.SetReadDeadline(time.Now().Add(patience))
			for {
				if _, err := bad.r.ReadByte(); err != nil {
					if isTimeout(err) {
						t.Fatal("the connection is still open")
					}
					break
				}
			}
			good := dialLine(t, addr)
			good.send("ECHO after")
			good.expect("after")
			if n := e.Stats().Panics; n != 1 {
				t.Errorf("%d are counted, want 1", n)
			}
			waitFor(t, "the goroutine to end", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
		})
	}
}

type exitHandler struct{ lineHandler }

func (*exitHandler) OnBytes(*Conn, []byte) (n, need int) {
	runtime.Goexit()
	return 0, 0
}

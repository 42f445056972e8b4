package engine

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
)

// Whatever of a program's own code runs on a loop may panic or end its goroutine: the loop goes on.
func TestLoopOutlivesForeignCode(t *testing.T) {
	plainOnly(t)
	type place struct {
		name   string
		config Config
		do     func(e *Engine, ref Ref, bad func(*Conn))
	}
	places := []place{
		{"Do", Config{}, func(e *Engine, ref Ref, bad func(*Conn)) { _ = e.NewPublisher().Do(ref, bad) }},
		{"DoEach", Config{}, func(e *Engine, _ Ref, bad func(*Conn)) {
			_ = e.NewPublisher().DoEach(func(*Loop) { bad(nil) })
		}},
		{"DoOn", Config{}, func(e *Engine, ref Ref, bad func(*Conn)) {
			_ = e.NewPublisher().DoOn(ref.Loop(), 10, func(*Loop) { bad(nil) })
		}},
		{"TellLoop", Config{}, func(e *Engine, ref Ref, bad func(*Conn)) { e.TellLoop(ref.Loop(), func() { bad(nil) }) }},
		{"Mail", Config{}, func(e *Engine, ref Ref, bad func(*Conn)) {
			_ = e.NewPublisher().Mail(ref, badMail(bad), 0, 0, []byte("x"))
		}},
	}
	for _, how := range []string{"panic", "Goexit"} {
		bad := func(*Conn) { panic("asked to") }
		if how == "Goexit" {
			bad = func(*Conn) { runtime.Goexit() }
		}
		for _, p := range places {
			t.Run(fmt.Sprint(p.name, " ", how), func(t *testing.T) {
				opened := make(chan Ref, 2)
				p.config.Loops = 1
				e, addr := startLine(t, p.config, ListenConfig{Protocols: []Protocol{lineProtocol{opened}}})
				c := dialLine(t, addr)
				c.send("ECHO before")
				c.expect("before")
				p.do(e, <-opened, bad)
				good := dialLine(t, addr)
				good.send("ECHO after")
				good.expect("after")
				if n := e.Stats().Panics; n != 1 {
					t.Errorf("%d are counted, want 1", n)
				}
			})
		}
		t.Run("HearEnds "+how, func(t *testing.T) {
			first := new(atomic.Bool)
			e, addr := startLine(t, Config{Loops: 1}, ListenConfig{}, func(e *Engine) {
				e.HearEnds(func(End) {
					if !first.Swap(true) {
						bad(nil)
					}
				})
			})
			c := dialLine(t, addr)
			c.send("ECHO before")
			c.expect("before")
			c.Close()
			waitFor(t, "the end", first.Load)
			good := dialLine(t, addr)
			good.send("ECHO after")
			good.expect("after")
			if n := e.Stats().Panics; n != 1 {
				t.Errorf("%d are counted, want 1", n)
			}
		})
		t.Run("Sniff "+how, func(t *testing.T) {
			first := new(atomic.Bool)
			e, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{badSniff{lineProtocol{}, first, bad}}})
			c := dialLine(t, addr)
			c.send("ECHO before")
			c.expectOver()
			good := dialLine(t, addr)
			good.send("ECHO after")
			good.expect("after")
			if n := e.Stats().Panics; n != 1 {
				t.Errorf("%d are counted, want 1", n)
			}
		})
		t.Run("Admit "+how, func(t *testing.T) {
			var n atomic.Int64
			_, addr := startLine(t, Config{Loops: 1, Admit: func(netip.Addr) (Reason, bool) {
				if n.Add(1) <= 20 { // more than accept at a time
					bad(nil)
				}
				return 0, true
			}}, ListenConfig{})
			for range 20 {
				dialLine(t, addr).expectOver()
			}
			good := dialLine(t, addr)
			good.send("ECHO after")
			good.expect("after")
		})
	}
}

type badMail func(*Conn)

func (m badMail) OnMail(c *Conn, _ uint32, _ int32, _ []byte) { m(c) }

type badSniff struct {
	lineProtocol
	done *atomic.Bool
	bad  func(*Conn)
}

func (p badSniff) Sniff(first []byte) Match {
	if !p.done.Swap(true) {
		p.bad(nil)
	}
	return p.lineProtocol.Sniff(first)
}

func (c *lineClient) expectOver() {
	c.t.Helper()
	buf := make([]byte, 1)
	if _, err := c.Read(buf); err == nil || isTimeout(err) {
		c.t.Fatalf("the connection is still open: %v", err)
	}
}

package engine

import (
	"context"
	"net"
	"testing"
	"time"
)

// onLoopProtocol says from each callback of a Handler whether it runs on a loop.
type onLoopProtocol struct{ said chan string }

func (onLoopProtocol) Name() string         { return "on-loop" }
func (onLoopProtocol) Sniff([]byte) Match   { return Matched }
func (p onLoopProtocol) Open(*Conn) Handler { return p }

func (p onLoopProtocol) say(what string) {
	if OnLoop() {
		what += " on a loop"
	}
	p.said <- what
}

func (p onLoopProtocol) OnBytes(c *Conn, b []byte) (n, need int) {
	deep(200, func() { p.say("bytes") })
	beside := make(chan struct{})
	go func() {
		defer close(beside)
		p.say("beside")
	}()
	<-beside
	c.Loop().Engine().Tell(c.Ref(), func(*Conn) { p.say("tell") })
	c.SetDeadline(time.Millisecond)
	return len(b), 0
}

func (p onLoopProtocol) OnDeadline(c *Conn) {
	p.say("deadline")
	c.Close(ReasonForcedOffline)
}
func (p onLoopProtocol) Goodbye(*Conn, Reason) { p.say("goodbye") }
func (p onLoopProtocol) OnClose(*Conn, Reason) { p.say("close") }

// deep calls f below n frames.
//
//go:noinline
func deep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	deep(n-1, f)
}

func TestOnLoop(t *testing.T) {
	if OnLoop() {
		t.Error("a test's goroutine is taken for a loop")
	}
	e, err := New(Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	p := onLoopProtocol{make(chan string, 16)}
	addr, err := e.Listen(ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []Protocol{p}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Stop(context.Background()) })
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bytes on a loop", "beside", "tell on a loop", "deadline on a loop", "goodbye on a loop", "close on a loop"} {
		select {
		case got := <-p.said:
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("nothing said; want %q", want)
		}
	}
}

func BenchmarkOnLoop(b *testing.B) {
	b.ReportAllocs()
	deep(20, func() {
		for b.Loop() {
			OnLoop()
		}
	})
}

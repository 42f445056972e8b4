package worker

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr"
)

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l := &Link{worker: &Worker{config: Config{}.withDefaults()}, gateway: &Gateway{}}
	l.inbox.init(1 << 20)
	c := &conn{link: l, done: make(chan struct{})}
	c.out.init(1 << 20)
	l.current.Store(c)
	ctx, data := t.Context(), make([]byte, 100)
	ids, topics, many := []string{"a", "b", "c"}, []string{"t"}, [][]byte{data, data, data}
	r := &Request{UniqID: idOn1, id: 7, WantsReply: true, conn: c}
	for name, f := range map[string]func() error{
		"SingleCast":       func() error { return l.SingleCast(ctx, idOn1, data) },
		"SingleCastBulk":   func() error { return l.SingleCastBulk(ctx, ids, many) },
		"Multicast":        func() error { return l.Multicast(ctx, ids, data) },
		"Broadcast":        func() error { return l.Broadcast(ctx, data) },
		"TopicPublish":     func() error { return l.TopicPublish(ctx, topics, data) },
		"TopicPublishBulk": func() error { return l.TopicPublishBulk(ctx, topics, many) },
		"Push":             func() error { return l.Push(ctx, Push{Topics: topics, Route: "r", Payload: data}) },
		"reply":            func() error { r.reply(ctx, data, nil); return nil },
	} {
		n := testing.AllocsPerRun(100, func() {
			c.out.buf = c.out.buf[:0]
			if err := f(); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}

	var dec decoder
	m := netsvr.Request{UniqID: []byte(idOn1), Route: []byte("chat.Say"), ID: 7, WantsReply: true, Payload: data}
	payload := m.Append(nil)
	n := testing.AllocsPerRun(100, func() {
		if _, _, err := dec.event(c, netsvr.CmdRequest, payload); err != nil {
			t.Fatal(err)
		}
	})
	if n > 2 { // the Request, and the copy it points into
		t.Errorf("a request in: %v allocations, want 2", n)
	}
}

// tcpGateway greets one worker and hands out the connection.
func tcpGateway(b *testing.B) (addr string, accepted chan *net.TCPConn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	accepted = make(chan *net.TCPConn, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		l := &fakeLink{gateway: newFake(b), nc: nc, turn: make(chan struct{}, 1)}
		var head [4]byte
		for registered := false; !registered; {
			if _, err := io.ReadFull(nc, head[:]); err != nil {
				return
			}
			body := make([]byte, binary.BigEndian.Uint32(head[:]))
			io.ReadFull(nc, body)
			cmd, payload := netsvr.V2.Split(body)
			l.greet(received{cmd, payload})
			registered = cmd == netsvr.CmdRegister
		}
		accepted <- nc.(*net.TCPConn)
	}()
	return ln.Addr().String(), accepted
}

// A request over loopback TCP, through the handler, and back; window requests at a time.
func BenchmarkRequest(b *testing.B) {
	for _, size := range []int{100, 4096} {
		for _, window := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("size=%d/window=%d", size, window), func(b *testing.B) {
				addr, accepted := tcpGateway(b)
				w, err := New(Config{Gateways: []string{addr}})
				if err != nil {
					b.Fatal(err)
				}
				w.Handle("chat.*", echo)
				ctx, stop := context.WithCancel(b.Context())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx) }()
				nc := <-accepted

				var batch []byte
				for i := range window {
					m := netsvr.Request{
						UniqID: fmt.Appendf(nil, "01%016X", i), Protocol: []byte("gosoc"), Route: []byte("chat.Say"),
						ID: uint64(i), WantsReply: true, Payload: make([]byte, size),
					}
					batch, _ = netsvr.V2.AppendFrame(batch, netsvr.CmdRequest, m.Append(nil), 0)
				}
				in := bufio.NewReaderSize(nc, 256<<10)
				var head [4]byte
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += window {
					if _, err := nc.Write(batch); err != nil {
						b.Fatal(err)
					}
					for range window {
						if _, err := io.ReadFull(in, head[:]); err != nil {
							b.Fatal(err)
						}
						in.Discard(int(binary.BigEndian.Uint32(head[:])))
					}
				}
				b.StopTimer()
				nc.Close()
				stop()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// One goroutine that publishes as fast as the link takes it.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{100, 4096} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			addr, accepted := tcpGateway(b)
			w, err := New(Config{Gateways: []string{addr}})
			if err != nil {
				b.Fatal(err)
			}
			w.Handle("*", echo)
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			nc := <-accepted
			go io.Copy(io.Discard, nc)
			data, topics := make([]byte, size), []string{"lobby"}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := w.TopicPublish(ctx, topics, data); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			nc.Close()
			stop()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

package link

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
)

// A worker that was stopped is left out within a second of silence, and gets its share back when it
// goes on. One that answers no probes is noticed by the requests that it leaves.
func TestStill(t *testing.T) {
	transfer := func(h *Hub, l *link, n int) {
		m := netsvr.Transfer{UniqID: []byte("client"), Data: fmt.Append(nil, n)}
		h.queueFor(l, engine.Ref(1), 10, netsvr.CmdTransfer, m.Append)
	}
	request := func(h *Hub, l *link, n int) {
		m := netsvr.Request{UniqID: []byte("client"), Payload: fmt.Append(nil, n), WantsReply: true}
		l.noteAsked()
		h.queueFor(l, engine.Ref(1), 10, netsvr.CmdRequest, m.Append)
	}
	for _, tc := range []struct {
		name   string
		probes bool
		send   func(*Hub, *link, int)
		every  time.Duration
		left   bool // out, when it is stopped
	}{
		{"messages", true, transfer, 10 * time.Millisecond, true},
		{"few messages", true, transfer, 300 * time.Millisecond, true},
		{"messages, no probes", false, transfer, 10 * time.Millisecond, false},
		{"requests", true, request, 10 * time.Millisecond, true},
		{"requests, no probes", false, request, 10 * time.Millisecond, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				h, _ := newHubAtRest(t, Config{})
				var stopped [2]chan bool
				var probes atomic.Int32
				for i := range 2 {
					w := attachFrom(t, h, "127.0.0.1")
					if _, err := w.registers(&netsvrpb.RegisterReq{WorkerId: 1, AcceptsRequests: true, AnswersProbes: tc.probes}); err != nil {
						t.Fatal(err)
					}
					stopped[i] = make(chan bool)
					go func() { // a worker that reads all, as a kernel does, and answers unless it is stopped
						still := false
						frames := make(chan netsvr.Command)
						go func() {
							defer close(frames)
							for {
								_ = w.SetReadDeadline(time.Time{})
								cmd, _, err := w.read()
								if err != nil {
									return
								}
								frames <- cmd
							}
						}()
						for {
							select {
							case still = <-stopped[i]:
								if !still && tc.probes {
									_, _ = w.Write(netsvr.V2.AppendPing(nil))
								}
							case cmd, ok := <-frames:
								if !ok {
									return
								}
								if cmd == netsvr.CmdProbe {
									probes.Add(1)
								}
								if !still && (cmd == netsvr.CmdProbe || cmd == netsvr.CmdRequest) {
									_, _ = w.Write(netsvr.V2.AppendPing(nil))
								}
							}
						}
					}()
				}
				first := (*h.groups[1].links.Load())[0]
				// serve sends for a while and returns how many the first worker got at its end.
				serve := func(d, last time.Duration) (n int) {
					begun := time.Now()
					for i := 0; time.Since(begun) < d; i++ {
						l := h.groups[1].pickOpen()
						if l == first && time.Since(begun) >= d-last {
							n++
						}
						tc.send(h, l, i)
						time.Sleep(tc.every)
					}
					return n
				}
				// Only while both work does each have its half.
				if serve(5*time.Second, 4*time.Second) == 0 {
					t.Error("the first worker has no share")
				}
				if n := probes.Load(); tc.name == "messages" && (n < 10 || n > 50) {
					t.Errorf("%d probes in 5 s of two workers", n)
				}
				stopped[0] <- true
				if n := serve(3*time.Second, 2*time.Second); (n == 0) != tc.left {
					t.Errorf("a second after it was stopped the first worker got %d", n)
				}
				stopped[0] <- false
				synctest.Wait()
				if tc.probes && serve(time.Second, time.Second) == 0 {
					t.Error("the first worker has no share after it went on")
				}
				if n := probes.Load(); !tc.probes && n > 0 {
					t.Errorf("%d probes for those that know none", n)
				}
			})
		})
	}
}

package client_test

import (
	"encoding/binary"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine/server"
)

// serveRequests has the worker register for requests of id 2 and answer them while answer says so.
func (w *worker) serveRequests(got *atomic.Int64, answer func() bool) {
	w.t.Helper()
	if _, err := io.WriteString(w, workerFrame(900003001, "\x08\x02\xa0\x06\x01")); err != nil {
		w.t.Fatal(err)
	}
	registered := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			var head [4]byte
			if _, err := io.ReadFull(w, head[:]); err != nil {
				return
			}
			body := make([]byte, binary.BigEndian.Uint32(head[:]))
			if _, err := io.ReadFull(w, body); err != nil {
				return
			}
			if first {
				close(registered)
				continue
			}
			var m netsvr.Request
			if m.Decode(body[4:]) != nil {
				continue // the answer to a heartbeat
			}
			got.Add(1)
			if answer() {
				r := netsvr.Reply{UniqID: m.UniqID, ID: m.ID, Payload: []byte("{}")}
				_, _ = io.WriteString(w, workerFrame(uint32(netsvr.CmdReply), string(r.Append(nil))))
			}
		}
	}()
	<-registered
}

// A worker that has stopped loses its share of the requests within a second, and gets it back when it
// goes on.
func TestStoppedWorker(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) {
		c.WorkerListen = "tcp://127.0.0.1:0"
		c.Gateway.RequestTimeout = patience
	})
	if err := s.Gateway().Route("work", 2); err != nil {
		t.Fatal(err)
	}
	var running, stopped atomic.Int64
	dialWorker(t, s).serveRequests(&running, func() bool { return true })
	other := dialWorker(t, s)
	other.serveRequests(&stopped, func() bool { return false })
	w := gosocWire("gosoc", gosoc.Compact, false)
	c := online(t, s, &w)
	go io.Copy(io.Discard, c.r)
	sent := int64(0)
	ask := func() {
		c.write(gosocRequest("work", "{}"))
		sent++
		for running.Load()+stopped.Load() < sent {
			time.Sleep(time.Millisecond)
		}
	}
	for begin := time.Now(); time.Since(begin) < time.Second; time.Sleep(20 * time.Millisecond) {
		ask()
	}
	if stopped.Load() == 0 {
		t.Error("the stopped one had no share before it was known")
	}
	before := stopped.Load()
	for range 20 {
		ask()
	}
	if n := stopped.Load() - before; n > 0 {
		t.Errorf("the stopped one was given %d of 20 requests a second later", n)
	}
	if _, err := io.WriteString(other, workerFrame(0, "~3yPvmnz~")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); stopped.Load() == before; ask() {
		if time.Now().After(end) {
			t.Fatal("no share when it goes on")
		}
	}
}

package client_test

import (
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine/server"
)

// While a worker of its id is attached the development worker gets no customer's message: neither
// where workers of the id take requests, nor where one that did has gone and one is left that takes
// messages alone.
func TestMessagesPassTheDevelopmentWorker(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.WorkerListen = "tcp://127.0.0.1:0" })
	w := netsvrWire()
	c := online(t, s, &w)
	say := func(text string) { c.write(frame(websocket.OpText, true, []byte("001"+text))) }
	wantEcho := func(text string) {
		t.Helper()
		say(text)
		if p, err := c.next(); err != nil || string(p) != text {
			t.Fatalf("%q, %v from the development worker, want %q", p, err, text)
		}
	}
	register := func(requests bool) *worker {
		l := dialWorker(t, s)
		l.ask(netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: 1, AcceptsRequests: requests}, new(netsvrpb.RegisterResp))
		return l
	}
	wantTransfer := func(l *worker, text string) {
		t.Helper()
		say(text)
		m := new(netsvrpb.Transfer)
		if l.read(m); string(m.Data) != text {
			t.Errorf("the worker got %q, want %q", m.Data, text)
		}
	}
	ended := func(l *worker, left int) {
		t.Helper()
		l.Close()
		for end := time.Now().Add(patience); s.Hub().Stats().Links != left; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d links, want %d", s.Hub().Stats().Links, left)
			}
		}
	}

	wantEcho("to nobody")
	asked := register(true)
	wantTransfer(asked, "to who is asked")
	told := register(false)
	ended(asked, 1)
	wantTransfer(told, "to who is told")
	ended(told, 0)
	wantEcho("to nobody again")
}

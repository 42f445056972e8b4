package link

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
)

// linkOf returns the link of a worker.
func linkOf(h *Hub, w *fakeWorker) (found *link) {
	h.each(func(l *link) {
		if l.peer == w.LocalAddr().String() {
			found = l
		}
	})
	return found
}

// A worker that does not read is asked a lot by five clients. Once it stands still, or leaves, all
// that its socket does not have goes to the other worker, in order for each client, and nothing
// goes to both.
func TestMove(t *testing.T) {
	const clients, each = 5, 200
	for _, tt := range []struct {
		name  string
		leave bool
		other *netsvrpb.RegisterReq
		moves bool
	}{
		{"stands still", false, &netsvrpb.RegisterReq{WorkerId: 1, AcceptsRequests: true}, true},
		{"leaves", true, &netsvrpb.RegisterReq{WorkerId: 1, AcceptsRequests: true}, true},
		{"another id", false, &netsvrpb.RegisterReq{WorkerId: 2, AcceptsRequests: true}, false},
		{"the other takes messages", false, &netsvrpb.RegisterReq{WorkerId: 1}, false},
		{"the other wants identities", false, &netsvrpb.RegisterReq{WorkerId: 1, AcceptsRequests: true, WantsIdentity: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log lockedLog
			h, _ := newHub(t, Config{Logger: logTo(&log)})
			stopped, other := attach(t, h, true), attach(t, h, true)
			// What the system takes for a worker that reads nothing is few frames, however busy it is.
			_ = stopped.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
			stopped.register(1)
			_ = linkOf(h, stopped).conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
			go func() { _ = other.send(netsvr.CmdRegister, tt.other) }()
			if cmd, _, err := other.read(); err != nil || cmd != netsvr.CmdRegister {
				t.Fatal(cmd, err)
			}
			l := linkOf(h, stopped)
			for n := range each {
				for c := range clients {
					m := netsvr.Request{UniqID: fmt.Append(nil, "client ", c), Payload: make([]byte, 4<<10)}
					binary.BigEndian.PutUint32(m.Payload, uint32(n))
					if h.queueFor(l, engine.Ref(c+1), len(m.Payload), netsvr.CmdRequest, m.Append) != Delivered {
						t.Fatal("refused")
					}
				}
			}
			if !tt.moves {
				await(t, "standstill", func() bool { return l.standsStill([]*link{l, linkOf(h, other)}) })
				h.moveStill()
				if n := h.Stats().Moved; n > 0 {
					t.Fatalf("%d frames are moved", n)
				}
				return
			}
			if tt.leave {
				stopped.Close()
			}
			got := make(map[string][]uint32)
			read := func(w *fakeWorker) {
				_, payload, err := w.read()
				if err != nil {
					t.Fatal(err)
				}
				var m netsvr.Request
				if err := m.Decode(payload); err != nil {
					t.Fatal(err)
				}
				got[string(m.UniqID)] = append(got[string(m.UniqID)], binary.BigEndian.Uint32(m.Payload))
			}
			await(t, "move", func() bool { return h.Stats().Moved > 0 && !l.outbox.waits() })
			moved := int(h.Stats().Moved)
			for range moved {
				read(other)
			}
			for id, list := range got { // the last ones, in order
				for i, n := range list {
					if int(n) != each-len(list)+i {
						t.Fatalf("%s: %d frames are moved, number %d is %d", id, len(list), i, n)
					}
				}
			}
			if least := clients*each - 100; moved < least {
				t.Errorf("%d of %d frames are moved, want %d", moved, clients*each, least)
			}
			if log.count("moved to other links") == 0 || !strings.Contains(log.text(), "workerId=1") {
				t.Errorf("the log says\n%s", log.text())
			}
			if tt.leave {
				return
			}
			for range clients*each - moved { // it goes on
				read(stopped)
			}
			for id, list := range got {
				if len(list) != each {
					t.Errorf("%s: %d frames, want %d", id, len(list), each)
				}
			}
			stopped.serves()
		})
	}
}

// A worker that does not answer its only request is left out while others answer, and is back with
// its next sign of life.
func TestShareComesBack(t *testing.T) {
	t.Parallel()
	h, _ := newHub(t, Config{})
	silent, other := attach(t, h, true), attach(t, h, true)
	silent.register(1)
	other.register(1)
	l := linkOf(h, silent)
	share := func() (n int) {
		for range 10 {
			if h.groups[1].pick(nil) == l {
				n++
			}
		}
		return n
	}
	if n := share(); n != 5 {
		t.Fatalf("%d of 10 picks, want 5", n)
	}
	l.noteAsked()
	await(t, "standstill", func() bool { other.serves(); return share() == 0 })
	if _, err := silent.Write([]byte("\x00\x00\x00\x09~3yPvmnz~")); err != nil {
		t.Fatal(err)
	}
	await(t, "the share of a worker that goes on", func() bool { return share() == 5 })
}

// What has no room elsewhere stays.
func TestMoveNoRoom(t *testing.T) {
	t.Parallel()
	h, _ := newHub(t, Config{Queue: 256 << 10})
	stopped, other := attach(t, h, true), attach(t, h, true)
	stopped.register(1)
	other.register(1)
	from, to := linkOf(h, stopped), linkOf(h, other)
	m := netsvr.Request{Payload: make([]byte, 4<<10)}
	fill := func(l *link, first int) {
		for c, refused := first, 0; refused < 10; c++ {
			m.UniqID = fmt.Append(nil, c)
			if h.queueFor(l, engine.Ref(c), len(m.Payload), netsvr.CmdRequest, m.Append) != Delivered {
				refused++
			}
		}
	}
	fill(from, 1)
	fill(to, 1<<20)
	await(t, "full sockets", func() bool {
		fill(from, 1<<21)
		fill(to, 1<<22)
		return from.standsStill([]*link{from, to}) && to.standsStill([]*link{from, to})
	})
	h.moveStill()
	if n := h.Stats().Moved; n > 0 {
		t.Errorf("%d frames are moved to a worker that stands still, too", n)
	}
}

// Whose a frame is.
func TestAddressed(t *testing.T) {
	id := []byte("x")
	for _, tt := range []struct {
		name   string
		cmd    netsvr.Command
		encode func([]byte) []byte
		ticket uint64
		ok     bool
	}{
		{"request", netsvr.CmdRequest, (&netsvr.Request{UniqID: id, ID: 7, WantsReply: true, Payload: id}).Append, 7, true},
		{"request without reply", netsvr.CmdRequest, (&netsvr.Request{UniqID: id, ID: 7}).Append, 0, true},
		{"transfer", netsvr.CmdTransfer, (&netsvr.Transfer{UniqID: id, Data: id}).Append, 0, true},
		{"open", netsvr.CmdConnOpen, (&netsvr.ConnOpen{UniqID: id, RawQuery: id}).Append, 0, true},
		{"close", netsvr.CmdConnClose, (&netsvr.ConnClose{UniqID: id, Session: id}).Append, 0, true},
		{"answer", netsvr.CmdCheckOnline, func(b []byte) []byte { return append(b, "\x0a\x01x"...) }, 0, false},
	} {
		frame := appendFrame(nil, tt.cmd, tt.encode)
		got, ticket, ok := addressed(frame)
		if ok != tt.ok || ticket.ID() != tt.ticket || ok && string(got) != "x" {
			t.Errorf("%s: %q, %d, %v", tt.name, got, ticket.ID(), ok)
		}
	}
	for _, frame := range []string{"", "\x00", "\x00\x00\x00\x07~u38NvZ~"} {
		if _, _, ok := addressed([]byte(frame)); ok {
			t.Errorf("%q is a client's", frame)
		}
	}
}

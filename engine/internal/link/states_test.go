package link

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// In whatever state a worker's connection is, and however its other end goes, it ends, nothing of it
// is kept (see newHub), and other links serve on.
func TestEndsInEveryState(t *testing.T) {
	t.Parallel()
	half := []byte{0, 0, 1, 0, 1, 2, 3}
	states := []struct {
		name   string
		tokens bool
		pace   int // bytes a second
		enter  func(t *testing.T, h *Hub, w *fakeWorker)
	}{
		{"unproven, silent", true, 0, func(*testing.T, *Hub, *fakeWorker) {}},
		{"unproven, half a frame", true, 0, func(t *testing.T, _ *Hub, w *fakeWorker) { mustWrite(t, w, half) }},
		{"unproven, a wrong token", true, 0, func(t *testing.T, _ *Hub, w *fakeWorker) {
			mustWrite(t, w, frameOf(t, netsvr.CmdRegister, &netsvrpb.RegisterReq{WorkerId: 1, Token: tokenB}))
		}},
		{"silent", false, 0, func(*testing.T, *Hub, *fakeWorker) {}},
		{"half a frame", false, 0, func(t *testing.T, _ *Hub, w *fakeWorker) { mustWrite(t, w, half) }},
		{"registered", false, 0, func(_ *testing.T, _ *Hub, w *fakeWorker) { w.register(2) }},
		{"registered with a token", true, 0, func(_ *testing.T, _ *Hub, w *fakeWorker) { w.wantRegistered(tokenA) }},
		{"registered, half a frame", false, 0, func(t *testing.T, _ *Hub, w *fakeWorker) {
			w.register(2)
			mustWrite(t, w, half)
		}},
		{"with frames on their way", false, 0, func(t *testing.T, h *Hub, w *fakeWorker) {
			w.register(2)
			if l := h.groups[2].pick(nil); l != nil {
				for range 100 {
					h.queue(l, 1, netsvr.CmdTransfer, filler(100<<10))
				}
			}
		}},
		{"queries not read", false, 0, func(t *testing.T, _ *Hub, w *fakeWorker) {
			for range 1000 {
				mustWrite(t, w, frameOf(t, netsvr.CmdUniqIDCount, nil))
			}
		}},
		{"held back", false, 64 << 10, func(t *testing.T, _ *Hub, w *fakeWorker) {
			mustWrite(t, w, frameOf(t, netsvr.CmdBroadcast, &netsvrpb.Broadcast{Data: make([]byte, 80<<10)}))
		}},
	}
	type halfCloser interface{ CloseWrite() error }
	ends := []struct {
		name string
		end  func(w *fakeWorker)
	}{
		{"closes", func(w *fakeWorker) { w.Close() }},
		{"resets", func(w *fakeWorker) {
			if tcp, ok := w.Conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			w.Close()
		}},
		{"closes its writing side and reads", func(w *fakeWorker) {
			_ = w.Conn.(halfCloser).CloseWrite()
			go func() { _, _ = io.Copy(io.Discard, w) }()
		}},
		{"closes its writing side and reads nothing", func(w *fakeWorker) { _ = w.Conn.(halfCloser).CloseWrite() }},
		{"closes its reading side", func(w *fakeWorker) { _ = w.Conn.(interface{ CloseRead() error }).CloseRead() }},
		{"is gone without a word", func(*fakeWorker) {}},
	}
	for _, network := range []string{"tcp", "unix"} {
		for _, state := range states {
			for i, end := range ends {
				slow := i > 2
				if slow && (network == "unix" || testing.Short()) {
					continue // as over TCP
				}
				t.Run(network+", "+state.name+", "+end.name, func(t *testing.T) {
					t.Parallel()
					config := Config{ByteRate: state.pace}
					if slow {
						config.Idle, config.WriteTimeout, config.ProofTimeout = time.Second, time.Second, time.Second
					}
					if state.tokens {
						config.Tokens = []string{tokenA}
					}
					h, _ := newHub(t, config)
					ours, theirs := pairOf(t, network)
					h.serve(ours)
					w := &fakeWorker{t, theirs}
					t.Cleanup(func() { theirs.Close() })
					state.enter(t, h, w)
					end.end(w)
					await(t, "end of the connection", func() bool {
						s := h.Stats()
						return s.Links+s.Unproven == 0
					})
					if s := h.Stats(); s.Registered != 0 || s.Panics != 0 {
						t.Errorf("%+v", s)
					}
					ours, theirs = pairOf(t, network)
					h.serve(ours)
					defer theirs.Close()
					(&fakeWorker{t, theirs}).wantRegistered(tokenA)
				})
			}
		}
	}
}

func mustWrite(t *testing.T, w *fakeWorker, b []byte) {
	t.Helper()
	_ = w.SetWriteDeadline(time.Now().Add(patience))
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

// pairOf returns the ends of a connection.
func pairOf(t *testing.T, network string) (ours, theirs net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("/tmp", "link") // names of tests are too long for a socket's path
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		address = filepath.Join(dir, "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if theirs, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

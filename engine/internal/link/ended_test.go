package link

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// raw is a frame around any body.
func raw(body string) string { return string(netsvrFrame([]byte(body))) }

func netsvrFrame(body []byte) []byte {
	n := len(body)
	return append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// number is a command's frame with a message.
func number(n uint32, message string) string {
	return raw(string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + message)
}

// Each way in which a link can end has its name in the log and its counter, once.
func TestEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config Config
		send   string
		do     func(h *Hub, w *fakeWorker)
		wrap   func(net.Conn) net.Conn // our side of the connection
		reason string
		says   string // in the log line, beside it
	}{
		{name: "frame over the limit", send: "\x00\x20\x00\x01", reason: "frame-too-large", says: "frame exceeds limit"},
		{name: "frame of 3 bytes", send: "\x00\x00\x00\x03abc", reason: "frame-too-short"},
		{name: "empty frame", send: "\x00\x00\x00\x00", reason: "frame-too-short"},
		{name: "unknown command", send: number(900002099, ""), reason: "unknown-command", says: "900002099"},
		{name: "command 0", send: number(0, ""), reason: "unknown-command"},
		{name: "ConnOpen", send: number(900001001, ""), reason: "wrong-direction", says: "ConnOpen"},
		{name: "Request", send: number(900009001, ""), reason: "wrong-direction", says: "Request"},
		{name: "pong", send: raw("~u38NvZ~"), reason: "pong"},
		{name: "heartbeat of protocol 6", send: raw("~6YOt5rW35piO~"), reason: "netsvr-3-to-6", says: "2.0.2"},
		{name: "Router of protocol 1", send: raw("\x08\xb9\xbd\x94\xad\x03\x12\x02\x08\x01"), reason: "netsvr-1", says: "2.0.2"},
		{name: "2016", send: number(900002016, "\x0a\x01a"), reason: "netsvr-3-to-6", says: "900002016"},
		{name: "3017", send: number(900003017, ""), reason: "netsvr-3-to-6", says: "900003017"},
		{name: "TopicUnsubscribe", send: number(900002011, "\x0a\x01a\x12\x01t\x12\x01u"), reason: "netsvr-3-to-6"},
		{name: "the worker's close", do: func(_ *Hub, w *fakeWorker) { w.Close() }, reason: "worker-closed"},
		{name: "half a frame, then the worker's close", send: "\x00\x00", do: func(_ *Hub, w *fakeWorker) { w.Close() }, reason: "worker-closed"},
		{name: "reset", do: func(_ *Hub, w *fakeWorker) {
			_ = w.Conn.(interface{ SetLinger(int) error }).SetLinger(0)
			w.Close()
		}, reason: "reset"},
		{name: "silence", config: Config{Idle: 50 * time.Millisecond}, reason: "silent", says: "silent for 50ms"},
		{name: "shutdown", do: func(h *Hub, _ *fakeWorker) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = h.Close(ctx)
		}, reason: "shutdown"},
		{name: "takes a part and no more", config: Config{
			WriteTimeout: 100 * time.Millisecond,
		}, do: func(h *Hub, w *fakeWorker) {
			h.queue(linkOf(h, w), 1, netsvr.CmdTransfer, filler(12<<20))
		}, reason: "write-timeout"},
		{name: "cut off", do: func(h *Hub, w *fakeWorker) {
			h.queue(linkOf(h, w), 1, netsvr.CmdTransfer, filler(12<<20))
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			_ = h.Close(ctx)
		}, reason: "cut-off"},
		{name: "the loops have stopped", do: func(h *Hub, w *fakeWorker) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = h.gateway.Engine().Stop(ctx)
			h.stray = func(*gateway.Gateway, gateway.Ticket) bool { return false }
			m := netsvr.Reply{ID: 1<<32 | 7}
			_, _ = w.Write(appendFrame(nil, netsvr.CmdReply, m.Append))
		}, reason: "gateway-stopped"},
		{name: "an error nobody knows", wrap: func(c net.Conn) net.Conn { return strange{c} },
			send: "x", reason: "other", says: "strange"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log lockedLog
			tt.config.Logger = logTo(&log)
			h, _ := newHub(t, tt.config)
			w := attachWrapped(t, h, tt.wrap)
			if tt.wrap == nil {
				w.serves()
			}
			if _, err := io.WriteString(w, tt.send); err != nil {
				t.Fatal(err)
			}
			if tt.do != nil {
				tt.do(h, w)
			}
			await(t, "end of the link", func() bool { return h.Stats().Links == 0 })
			await(t, "line about the end", func() bool { return log.count("worker link ended") > 0 })
			for reason, n := range h.Stats().Ended {
				if want := map[bool]uint64{true: 1}[reason == tt.reason]; n != want {
					t.Errorf("%d links ended for %s, want %d", n, reason, want)
				}
			}
			text := log.text()
			if log.count("worker link ended") != 1 || !strings.Contains(text, "reason="+tt.reason+" ") ||
				!strings.Contains(text, tt.says) || strings.Contains(text, "nil") {
				t.Errorf("want reason=%s and %q in the log:\n%s", tt.reason, tt.says, text)
			}
		})
	}
}

// A strange connection fails as none does.
type strange struct{ net.Conn }

func (s strange) Read(p []byte) (int, error) {
	if n, err := s.Conn.Read(p); err != nil {
		return n, err
	}
	return 0, errors.New("strange")
}

func TestEndNames(t *testing.T) {
	seen := make(map[string]bool)
	for r := range numEndReasons {
		if n := r.String(); n == "" || seen[n] {
			t.Errorf("reason %d is called %q", r, n)
		} else {
			seen[n] = true
		}
	}
	if got := endOf(errors.New("strange")); got != endOther {
		t.Errorf("%v for a strange error", got)
	}
}

// A process of protocol 6 is told in the answer to its Register, once its host is known for it.
func TestForeignRegister(t *testing.T) {
	t.Parallel()
	var log lockedLog
	h, _ := newHub(t, Config{Logger: logTo(&log)})
	ask := func(message string) (*netsvrpb.RegisterResp, error) {
		w := attach(t, h, true)
		if _, err := io.WriteString(w, number(900003001, message)); err != nil {
			t.Fatal(err)
		}
		_, payload, err := w.read()
		if err != nil {
			t.Fatal(err)
		}
		resp := new(netsvrpb.RegisterResp)
		if err := proto.Unmarshal(payload, resp); err != nil {
			t.Fatal(err)
		}
		if resp.Code == 0 {
			w.serves()
			return resp, nil
		}
		_, _, err = w.read()
		return resp, err
	}
	const bare7 = "\x08\x07"
	if resp, _ := ask(bare7); resp.Code != 0 {
		t.Errorf("refused without a sign: %v", resp)
	}
	if log.count("could be an events mask") != 1 {
		t.Errorf("not logged:\n%s", log.text())
	}
	w := attach(t, h, true)
	if _, err := io.WriteString(w, raw("~6YOt5rW35piO~")); err != nil {
		t.Fatal(err)
	}
	await(t, "end of the link", func() bool { return h.Stats().Ended["netsvr-3-to-6"] == 1 })
	if resp, err := ask(bare7); resp.Code == 0 || !strings.Contains(resp.Message, "2.0.2") || !errors.Is(err, io.EOF) {
		t.Errorf("answered %v, %v", resp, err)
	}
	for name, message := range map[string]string{
		"an SDK of 2.0.2": "\x08\x07\x10\x19", "with a server id": "\x08\x07\x10\x19\x18\x00",
		"of our own": "\x08\x07\xa0\x06\x01", "worker 1": "\x08\x01", "worker 8": "\x08\x08",
	} {
		if resp, _ := ask(message); resp.Code != 0 {
			t.Errorf("%s is refused: %v", name, resp)
		}
	}
}

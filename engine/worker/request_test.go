package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

func TestReplies(t *testing.T) {
	answer := func(payload string, err error) HandlerFunc {
		return func(context.Context, *Request) ([]byte, error) { return []byte(payload), err }
	}
	setup := func(w *Worker) {
		w.Handle("ok", answer("fine", nil))
		w.Handle("empty", answer("", nil))
		w.Handle("message", answer("x", &StatusError{Status: 17, Message: `say "no"`}))
		w.Handle("payload", answer("x", &StatusError{Status: -3, Message: "m", Payload: []byte("raw")}))
		w.Handle("bare", answer("x", fmt.Errorf("wrapped: %w", &StatusError{Status: 9})))
		w.Handle("other", answer("x", errors.New("the password is 1234")))
		w.Handle("panic", func(context.Context, *Request) ([]byte, error) { panic("oops") })
		w.Handle("long", answer(strings.Repeat("x", 2048), nil))
		w.Handle("pre.*", answer("prefix", nil))
		w.Handle("pre.fix.*", answer("longer prefix", nil))
		w.Handle("pre.fix.x", answer("whole", nil))
		w.HandleCmd(6, 9, answer("first range", nil))
		w.HandleCmd(8, 20, answer("second range", nil))
	}
	tests := []struct {
		route   string
		cmd     uint32
		status  int32
		payload string
	}{
		{"ok", 0, 0, "fine"},
		{"empty", 0, 0, ""},
		{"message", 0, 17, `{"status":17,"message":"say \"no\"","data":null}`},
		{"payload", 0, -3, "raw"},
		{"bare", 0, 9, ""},
		{"other", 0, 5, ""},
		{"panic", 0, 5, ""},
		{"long", 0, 5, ""},
		{"pre.a", 0, 0, "prefix"},
		{"pre.fix.a", 0, 0, "longer prefix"},
		{"pre.fix.x", 0, 0, "whole"},
		{"pre", 0, 4, `{"status":4,"message":"no such route","data":null}`},
		{"okay", 6, 4, `{"status":4,"message":"no such route","data":null}`},
		{"", 6, 0, "first range"},
		{"", 9, 0, "first range"},
		{"", 10, 0, "second range"},
		{"", 21, 4, `{"status":4,"message":"no such route","data":null}`},
	}
	bubble(t, Config{MaxFrame: 1024}, setup, func(t *testing.T, w *running, l *fakeLink) {
		for i, tt := range tests {
			l.send(netsvr.CmdRequest, &netsvrpb.Request{
				UniqId: "u", Route: tt.route, Cmd: tt.cmd, Id: uint64(i), WantsReply: true,
			})
			r := l.reply()
			if r.GetUniqId() != "u" || r.GetId() != uint64(i) || r.GetStatus() != tt.status || string(r.GetPayload()) != tt.payload {
				t.Errorf("%q %d: got %v; want status %d, %q", tt.route, tt.cmd, r, tt.status, tt.payload)
			}
		}
		if s := w.Stats(); s.Panics != 1 || s.Failed != 2 || s.Requests != uint64(len(tests)) {
			t.Errorf("stats: %+v", s)
		}
	})
}

// Clients of each protocol get a status that says there what is meant.
func TestReplyStatus(t *testing.T) {
	tests := []struct {
		err          *StatusError
		gosoc, other int32  // to GOSOC and to Longbridge clients
		body         string // to GOSOC clients, if any
		raw          string // to both
	}{
		{err: errNoRoute, gosoc: 4, other: 3, body: `{"status":4,"message":"no such route","data":null}`},
		{err: errTooLate, gosoc: 5, other: 1, body: `{"status":5,"message":"no answer in time","data":null}`},
		{err: errStopping, gosoc: 5, other: 7, body: `{"status":5,"message":"worker is stopping","data":null}`},
		{err: errInternal, gosoc: 5, other: 7},
		{err: &StatusError{Status: StatusRefused}, gosoc: 4, other: 3},
		{err: &StatusError{Status: StatusInternal, Message: "x"}, gosoc: 5, other: 7, body: `{"status":5,"message":"x","data":null}`},
		{err: &StatusError{Status: 6, Message: "x"}, gosoc: 6, other: 6, body: `{"status":6,"message":"x","data":null}`},
		{err: &StatusError{Status: 5, Message: "x", Payload: []byte("raw")}, gosoc: 5, other: 5, raw: "raw"},
		{err: &StatusError{Status: 4, Payload: []byte("raw")}, gosoc: 4, other: 4, raw: "raw"},
	}
	for _, tt := range tests {
		if status, payload, _ := tt.err.reply("gosoc"); status != tt.gosoc || string(payload) != tt.body+tt.raw {
			t.Errorf("%v: GOSOC gets %d %q, want %d %q", tt.err, status, payload, tt.gosoc, tt.body+tt.raw)
		}
		if status, payload, message := tt.err.reply("longbridge"); status != tt.other || string(payload) != tt.raw ||
			len(tt.err.Payload) == 0 && message != tt.err.Message {
			t.Errorf("%v: Longbridge gets %d %q, want %d %q", tt.err, status, payload, tt.other, tt.raw)
		}
	}
	// And so does a client whose handler fails.
	setup := func(w *Worker) {
		w.HandleCmd(6, 6, func(context.Context, *Request) ([]byte, error) { return nil, errors.New("broken") })
		w.HandleCmd(7, 7, func(context.Context, *Request) ([]byte, error) { return make([]byte, 2048), nil })
	}
	bubble(t, Config{MaxFrame: 1024}, setup, func(t *testing.T, _ *running, l *fakeLink) {
		for cmd, want := range map[uint32]int32{6: 7, 7: 7, 8: 3} {
			l.send(netsvr.CmdRequest, &netsvrpb.Request{UniqId: "u", Protocol: "longbridge", Cmd: cmd, Id: 1, WantsReply: true})
			if r := l.reply(); r.GetStatus() != want || len(r.GetPayload()) > 0 {
				t.Errorf("cmd %d: got %v, want status %d", cmd, r, want)
			}
		}
	})
}

func TestRequestFields(t *testing.T) {
	var first *Request
	setup := func(w *Worker) {
		w.Handle("*", func(ctx context.Context, r *Request) ([]byte, error) {
			if first == nil {
				first = r
			}
			if deadline, ok := ctx.Deadline(); ok != (r.Timeout > 0) || ok && time.Until(deadline) != r.Timeout {
				t.Errorf("deadline %v %v, timeout %v", deadline, ok, r.Timeout)
			}
			return nil, nil
		})
	}
	bubble(t, Config{}, setup, func(t *testing.T, w *running, l *fakeLink) {
		l.send(netsvr.CmdRequest, &netsvrpb.Request{
			UniqId: "u1", Session: "s1", Protocol: "gosoc", Route: "r1", Cmd: 3, Id: 9, WantsReply: true,
			Payload: []byte("p1"), Data: []byte("d1"), TimeoutMs: 1500, Metadata: map[string]string{"k": "v"},
		})
		l.reply()
		l.request("another one", "that overwrites", 10, "the buffer of the reader")
		l.reply()
		r := first
		if r.UniqID != "u1" || r.Session != "s1" || r.Protocol != "gosoc" || r.Route != "r1" || r.Cmd != 3 ||
			!r.WantsReply || string(r.Payload) != "p1" || string(r.Data) != "d1" || r.Timeout != 1500*time.Millisecond ||
			r.Metadata("k") != "v" || r.Metadata("x") != "" || r.Gateway != w.Gateways()[0] {
			t.Errorf("got %+v", r)
		}
		for k, v := range r.AllMetadata() {
			if k != "k" || v != "v" {
				t.Errorf("metadata %q=%q", k, v)
			}
		}
		r.Payload = append(r.Payload, "xxxxxxxx"...)
		clear(r.Payload)
		if string(r.Data) != "d1" || r.UniqID != "u1" {
			t.Error("changing the payload changes its neighbours")
		}
	})
}

func TestNoReply(t *testing.T) {
	setup := func(w *Worker) {
		w.Handle("*", func(ctx context.Context, r *Request) ([]byte, error) {
			if r.Route == "fails" {
				return nil, errors.New("no")
			}
			return []byte("x"), nil
		})
	}
	bubble(t, Config{Concurrency: 1}, setup, func(t *testing.T, w *running, l *fakeLink) {
		l.send(netsvr.CmdRequest, &netsvrpb.Request{UniqId: "u", Route: "fine", Id: 1})
		l.send(netsvr.CmdRequest, &netsvrpb.Request{UniqId: "u", Route: "fails", Id: 2})
		l.request("u", "fine", 3, "")
		if id := l.reply().GetId(); id != 3 {
			t.Errorf("request %d was answered, which wants no reply", id)
		}
	})
}

// A request whose time is up before its turn is not handled: the client has been told so.
func TestLateRequest(t *testing.T) {
	var handled atomic.Int32
	setup := func(w *Worker) {
		w.Handle("*", func(ctx context.Context, r *Request) ([]byte, error) {
			handled.Add(1)
			if r.Route == "slow" {
				<-ctx.Done()
			}
			return nil, ctx.Err()
		})
	}
	bubble(t, Config{}, setup, func(t *testing.T, w *running, l *fakeLink) {
		m := &netsvrpb.Request{UniqId: "u", Route: "slow", Id: 1, WantsReply: true, TimeoutMs: 1000}
		l.send(netsvr.CmdRequest, m)
		m.Id, m.Route = 2, "late"
		l.send(netsvr.CmdRequest, m)
		m.Id, m.Route, m.WantsReply = 3, "nobody waits", false
		l.send(netsvr.CmdRequest, m)
		for id := range uint64(2) {
			if r := l.reply(); r.GetId() != id+1 || r.GetStatus() != StatusInternal {
				t.Errorf("got %v", r)
			}
		}
		synctest.Wait()
		if n, s := handled.Load(), w.Stats(); n != 2 || s.Skipped != 1 {
			t.Errorf("%d handled, want 2; stats %+v", n, s)
		}
	})
}

// Whoever handles something learns who it is about.
func TestIdentity(t *testing.T) {
	var got []string
	note := func(what string, id *Identity) {
		tier, ok := id.Claim("tier")
		_, missing := id.Claim("none")
		all := ""
		for k, v := range id.AllLoginMetadata() {
			all += k + "=" + v
		}
		for k, v := range id.AllClaims() {
			all += k + "=" + v
		}
		got = append(got, fmt.Sprint(what, " ", id.User, id.Protocol, id.Peer, id.LoginMetadata("l"), tier, ok, missing, all))
	}
	setup := func(w *Worker) {
		w.OnOpen(func(_ context.Context, o *Open) { note("open", &o.Identity) })
		w.OnMessage(func(_ context.Context, m *Message) { note("message", &m.Identity) })
		w.OnClose(func(_ context.Context, c *Close) { note("close", &c.Identity) })
		w.Handle("*", func(_ context.Context, r *Request) ([]byte, error) {
			note("request", &r.Identity)
			return []byte(r.Metadata("l")), nil
		})
	}
	bubble(t, Config{Concurrency: 1}, setup, func(t *testing.T, w *running, l *fakeLink) {
		said, claims := map[string]string{"l": "en"}, map[string]string{"tier": "gold"}
		l.send(netsvr.CmdConnOpen, &netsvrpb.ConnOpen{UniqId: "u", User: "ann", Protocol: "p", Peer: "[::1]:9", Metadata: said, Claims: claims})
		l.send(netsvr.CmdTransfer, &netsvrpb.Transfer{UniqId: "u", User: "bob", Protocol: "p", Peer: "[::1]:9", Metadata: said, Claims: claims})
		l.send(netsvr.CmdConnClose, &netsvrpb.ConnClose{UniqId: "u", User: "cid", Protocol: "p", Peer: "[::1]:9", Metadata: said, Claims: claims})
		l.send(netsvr.CmdRequest, &netsvrpb.Request{UniqId: "u", Route: "r", Id: 1, WantsReply: true, User: "dan", Protocol: "p", Peer: "[::1]:9",
			Metadata: map[string]string{"l": "of the request"}, LoginMetadata: said, Claims: claims})
		if r := l.reply(); string(r.GetPayload()) != "of the request" {
			t.Errorf("replied %q", r.GetPayload())
		}
		l.send(netsvr.CmdConnClose, &netsvrpb.ConnClose{UniqId: "u"})
		l.request("u", "x", 2, "")
		l.reply()
		want := []string{"open annp[::1]:9engoldtrue falsel=entier=gold", "message bobp[::1]:9engoldtrue falsel=entier=gold",
			"close cidp[::1]:9engoldtrue falsel=entier=gold", "request danp[::1]:9engoldtrue falsel=entier=gold", "close false false"}
		if len(got) != 6 || fmt.Sprint(got[:5]) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestEvents(t *testing.T) {
	var got []string
	setup := func(w *Worker) {
		w.OnOpen(func(_ context.Context, o *Open) {
			got = append(got, fmt.Sprint("open ", o.UniqID, o.RawQuery, o.SubProtocols, o.XForwardedFor))
		})
		w.OnMessage(func(_ context.Context, m *Message) {
			got = append(got, fmt.Sprint("message ", m.UniqID, m.Session, string(m.Data)))
			if len(m.Data) == 0 {
				panic("oops")
			}
		})
		w.OnClose(func(_ context.Context, c *Close) { got = append(got, fmt.Sprint("close ", c.UniqID, c.Session)) })
	}
	bubble(t, Config{Concurrency: 1}, setup, func(t *testing.T, w *running, l *fakeLink) {
		l.send(netsvr.CmdConnOpen, &netsvrpb.ConnOpen{
			UniqId: "u", RawQuery: "a=1", SubProtocol: []string{"p", "q"}, XForwardedFor: "::1"})
		l.send(netsvr.CmdTransfer, &netsvrpb.Transfer{UniqId: "u", Session: "s", Data: []byte("hi")})
		l.write([]byte{0, 0, 0, 6, 0x35, 0xa4, 0xec, 0xeb, 0x0a, 0x05}) // a Transfer that ends in its id
		l.send(netsvr.CmdTransfer, &netsvrpb.Transfer{UniqId: "u", Session: "s"})
		l.send(netsvr.CmdConnClose, &netsvrpb.ConnClose{UniqId: "u", Session: "s"})
		l.request("u", "nobody handles it", 1, "") // comes even to a worker that did not ask
		l.reply()
		want := []string{"open ua=1[p q]::1", "message ushi", "message us", "close us"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if s := w.Stats(); s.Panics != 1 || s.Malformed != 1 || s.Opens != 1 || s.Messages != 2 || s.Closes != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// What one client sends is handled in order, whatever the concurrency; a slow client holds up
// nobody who is in another lane.
func TestOrder(t *testing.T) {
	const clients, each = 50, 40
	var next [clients]int
	var busy, most atomic.Int32
	setup := func(w *Worker) {
		w.OnMessage(func(_ context.Context, m *Message) {
			most.Store(max(most.Load(), busy.Add(1)))
			time.Sleep(time.Millisecond)
			busy.Add(-1)
			client, seq := 0, 0
			fmt.Sscan(string(m.Data), &client, &seq)
			if seq != next[client] {
				t.Errorf("client %d: message %d, want %d", client, seq, next[client])
			}
			next[client] = seq + 1
		})
	}
	bubble(t, Config{Concurrency: 8}, setup, func(t *testing.T, w *running, l *fakeLink) {
		for seq := range each {
			for client := range clients {
				l.send(netsvr.CmdTransfer, &netsvrpb.Transfer{
					UniqId: fmt.Sprint("client", client), Data: fmt.Append(nil, client, " ", seq)})
			}
		}
	})
	if n := most.Load(); n < 2 || n > 8 {
		t.Errorf("%d handlers at once, want 2 to 8", n)
	}
	for client, n := range next {
		if n != each {
			t.Errorf("client %d: %d messages handled, want %d", client, n, each)
		}
	}
}

// Frames may come in any pieces, and be longer than the reader's first buffer.
func TestPieces(t *testing.T) {
	var got [][]byte
	setup := func(w *Worker) {
		w.OnMessage(func(_ context.Context, m *Message) { got = append(got, m.Data) })
	}
	sizes := []int{0, 1, readBuffer - 40, readBuffer, 3 * readBuffer, 5, 2 << 20, 7}
	for _, piece := range []int{1 << 10, 4099, 1 << 30} {
		got = nil
		bubble(t, Config{Concurrency: 1}, setup, func(t *testing.T, w *running, l *fakeLink) {
			var stream []byte
			for i, size := range sizes {
				m := netsvr.Transfer{UniqID: []byte("u"), Data: bytes.Repeat([]byte{byte(i + 1)}, size)}
				stream, _ = netsvr.V2.AppendFrame(stream, netsvr.CmdTransfer, m.Append(nil), 0)
			}
			for len(stream) > 0 {
				n := min(piece, len(stream))
				l.write(stream[:n])
				stream = stream[n:]
			}
		})
		for i, size := range sizes {
			if i >= len(got) || len(got[i]) != size || bytes.Count(got[i], []byte{byte(i + 1)}) != size {
				t.Fatalf("pieces of %d: message %d is wrong or missing", piece, i)
			}
		}
	}
}

func TestSmallPieces(t *testing.T) {
	setup := func(w *Worker) {
		w.Handle("*", func(_ context.Context, r *Request) ([]byte, error) { return r.Payload, nil })
	}
	bubble(t, Config{}, setup, func(t *testing.T, w *running, l *fakeLink) {
		m := netsvr.Request{UniqID: []byte("u"), Route: []byte("r"), ID: 5, WantsReply: true, Payload: []byte("pay")}
		frame, err := netsvr.V2.AppendFrame(nil, netsvr.CmdRequest, m.Append(nil), 0)
		if err != nil {
			t.Fatal(err)
		}
		for split := range frame {
			l.write(frame[:split])
			l.write(frame[split:])
			if r := l.reply(); string(r.GetPayload()) != "pay" {
				t.Fatalf("split at %d: %v", split, r)
			}
		}
	})
}

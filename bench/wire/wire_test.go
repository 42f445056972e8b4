package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
)

var drivers = map[string]Options{
	"gosoc":         {Protocol: "gosoc", Target: "tcp://h:1"},
	"gosoc-fixed6":  {Protocol: "gosoc-fixed6", Target: "tcp://h:1"},
	"gosoc ws":      {Protocol: "gosoc", Target: "ws://h:1"},
	"longbridge":    {Protocol: "longbridge", Target: "tcp://h:1"},
	"longbridge ws": {Protocol: "longbridge", Target: "ws://h:1/v2"},
	"netsvr ws":     {Protocol: "netsvr", Target: "ws://h:1", Replies: true},
}

func driver(tb testing.TB, o Options) Driver {
	tb.Helper()
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// A packet from a template must be, to the byte, the packet the driver would have encoded.
func TestTemplates(t *testing.T) {
	for name, o := range drivers {
		for _, size := range []int{10, 18, 26, 100, 300, 70_000} {
			if o.Protocol == "gosoc-fixed6" && size > 60_000 {
				continue // its fields are shorter
			}
			d := driver(t, o)
			body, at, room, err := d.Body(size)
			if err != nil {
				t.Fatal(name, err)
			}
			st := stamp.Stamp{ID: 0x01020304, Due: 5, Lag: 6}
			if d.Can(CanPublish) {
				tpl, err := PublishTemplate(d, "topic.0000000", size)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				stamp.Write(body[at:at+min(room, 24)], st)
				want, err := d.AppendPublish(nil, &Peer{}, 0x1234, "topic.0000007", body)
				if err != nil {
					t.Fatal(err)
				}
				if got := tpl.Append(nil, 0x1234, []byte("topic.0000007"), st); !bytes.Equal(got, want) {
					t.Errorf("%s, %d bytes: publish\n got %q\nwant %q", name, size, got, want)
				}
			}
			tpl, err := RequestTemplate(d, "", size)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body, at, _, _ = d.Body(size)
			if n := d.RequestStamp(); n > 0 {
				stamp.Write(body[at:at+n], st)
			}
			want, _ := d.AppendRequest(nil, &Peer{}, 0x4321, "", body)
			if got := tpl.Append([]byte("xyz"), 0x4321, nil, st); !bytes.Equal(got[3:], want) {
				t.Errorf("%s, %d bytes: request\n got %.80q\nwant %.80q", name, size, got[3:], want)
			}
		}
	}
}

func TestTemplateAppendAllocates0(t *testing.T) {
	for name, o := range drivers {
		tpl, err := RequestTemplate(driver(t, o), "", 100)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 0, 1000)
		if n := testing.AllocsPerRun(100, func() { tpl.Append(buf, 1, nil, stamp.Stamp{}) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestCompressedPublishHasNoTemplate(t *testing.T) {
	d := driver(t, Options{Protocol: "gosoc", Target: "tcp://h:1", Gzip: true})
	if _, err := PublishTemplate(d, "topic", 100); !errors.Is(err, ErrTemplate) {
		t.Errorf("got %v", err)
	}
}

func TestParseTarget(t *testing.T) {
	for target, want := range map[string][3]string{
		"tcp://127.0.0.1:7000":   {"tcp", "127.0.0.1:7000", "/"},
		"127.0.0.1:7000":         {"tcp", "127.0.0.1:7000", "/"},
		"wss://h:1/x?y":          {"ws", "h:1", "/x?y"},
		"unix:///run/s":          {"tcp", "/run/s", ""},
		"unix:/run/a%20b":        {"tcp", "/run/a b", ""},
		"ws+unix:///run/s":       {"ws", "/run/s", ""},
		"unix:@name":             {"tcp", "@name", ""},
		"ws+unix://@name":        {"ws", "@name", ""},
		"unix://run/s":           {},
		"unix:run/s":             {},
		"unix://":                {},
		"wss+unix:///run/s":      {},
		"tcp://h":                {},
		"http://127.0.0.1:7000/": {},
	} {
		transport, address, path, err := ParseTarget(target)
		got := [3]string{[...]string{"tcp", "ws"}[transport], address, path}
		if (err == nil) != (want[0] != "") || err == nil && got != want {
			t.Errorf("%s: %q, %v; want %q", target, got, err, want)
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		says string
	}{
		{Options{Protocol: "smtp", Target: "tcp://h:1"}, `no such protocol: "smtp" over tcp`},
		{Options{Protocol: "netsvr", Target: "tcp://h:1"}, "netsvr is spoken over WebSocket alone: want a target ws://"},
		{Options{Protocol: "netsvr", Target: "unix:///h"}, "netsvr is spoken over WebSocket alone: want a target ws://"},
		{Options{Protocol: "gosoc", Target: "quic://h:1"}, "scheme is not tcp"},
		{Options{Protocol: "gosoc", Target: "tcp://h"}, "no port"},
	} {
		if _, err := New(tt.o); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want %q", tt.o, err, tt.says)
		}
	}
	for _, route := range []string{"x", "3", "256"} {
		if _, err := RequestTemplate(driver(t, drivers["longbridge"]), route, 100); err == nil {
			t.Errorf("Longbridge route %q: accepted", route)
		}
	}
}

// what a gateway sends, protocol by protocol, with the events it is to become.
func conversations(tb testing.TB) map[string]struct {
	bytes []byte
	want  []Kind
} {
	req := func(f gosoc.Form, route, payload string) []byte {
		b, err := f.AppendSendReq(nil, gosoc.SendReq{Route: []byte(route), Payload: []byte(payload)})
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	gosocBytes := func(f gosoc.Form) []byte {
		b := f.AppendConnAck(nil, gosoc.ConnAck{})
		b = append(b, req(f, "sluice.Session", `{"session_id":"s"}`)...)
		b, _ = f.AppendSendResp(b, gosoc.SendResp{ID: 7, Payload: []byte(`{"status":0,"data":{}}`)})
		b = append(b, req(f, "push", `"abc"`)...)
		b = f.AppendPingResp(b)
		return f.AppendDisconnect(b, gosoc.Disconnect{Type: 1})
	}
	gosocKinds := []Kind{LoggedIn, SessionKey, Reply, Push, None, Goodbye}
	hs := longbridge.DefaultHandshake()
	control := func(b []byte, h longbridge.Header, m longbridge.Message) []byte {
		b, err := longbridge.AppendControl(b, hs, h, m)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	lb := control(nil, longbridge.Header{Type: longbridge.Response, Cmd: longbridge.CmdAuth}, &longbridge.AuthResponse{SessionID: "s"})
	lb, _ = longbridge.AppendResponse(lb, hs.Version, longbridge.Header{Cmd: 200, RequestID: 7}, nil, []byte("body"))
	lb, _ = longbridge.AppendPush(lb, hs.Version, longbridge.Header{Cmd: 100}, nil, []byte(`"abc"`))
	lb = control(lb, longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdHeartbeat, RequestID: 1}, &longbridge.Heartbeat{Timestamp: 5})
	lb = control(lb, longbridge.Header{Type: longbridge.Push, Cmd: longbridge.CmdClose}, &longbridge.Close{Code: 4, Reason: "why"})
	ws := websocket.AppendFrame(nil, websocket.OpBinary, gosocBytes(gosoc.Compact)) // all in one message
	ws = websocket.AppendFrame(ws, websocket.OpPing, []byte("x"))
	ws = websocket.AppendFrame(ws, websocket.OpPong, nil)
	ws = websocket.AppendClose(ws, websocket.CloseGoingAway, "bye")
	return map[string]struct {
		bytes []byte
		want  []Kind
	}{
		"gosoc":        {gosocBytes(gosoc.Compact), gosocKinds},
		"gosoc-fixed6": {gosocBytes(gosoc.Fixed6), gosocKinds},
		"longbridge":   {lb, []Kind{LoggedIn, Reply, Push, Ping, Goodbye}},
		"gosoc ws":     {ws, append(gosocKinds[:len(gosocKinds):len(gosocKinds)], Ping, None, Goodbye)},
	}
}

// read drains src, which may be cut anywhere, and returns the kinds of events.
func read(d Driver, p *Peer, src []byte) (kinds []Kind, n int, err error) {
	for n < len(src) {
		ev := Event{BodyAt: -1}
		used, err := d.Next(p, src[n:], &ev)
		if err != nil {
			return kinds, n, err
		}
		if used == 0 {
			break
		}
		if ev.BodyAt >= 0 && len(ev.Body) > 0 && !bytes.HasPrefix(src[n+ev.BodyAt:], ev.Body) {
			return kinds, n, errors.New("BodyAt does not say where the body is")
		}
		kinds = append(kinds, ev.Kind)
		n += used
	}
	return kinds, n, nil
}

func TestEventsOfEveryCut(t *testing.T) {
	for name, tt := range conversations(t) {
		for cut := range len(tt.bytes) + 1 {
			d := driver(t, drivers[name])
			p := &Peer{upgraded: true}
			src := bytes.Clone(tt.bytes)
			first, n, err := read(d, p, src[:cut])
			if err != nil {
				t.Fatalf("%s, cut at %d: %v", name, cut, err)
			}
			rest, _, err := read(d, p, src[n:])
			if err != nil {
				t.Fatalf("%s, from %d: %v", name, n, err)
			}
			got := append(first, rest...)
			if len(got) != len(tt.want) {
				t.Fatalf("%s, cut at %d: %v, want %v", name, cut, got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Fatalf("%s, cut at %d: %v, want %v", name, cut, got, tt.want)
				}
			}
		}
	}
}

func TestPongRepeatsTheHeartbeat(t *testing.T) {
	d := driver(t, drivers["longbridge"])
	packet := []byte{1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 3, 'a', 'b', 'c'}
	var ev Event
	if n, err := d.Next(&Peer{}, packet, &ev); n != len(packet) || err != nil || ev.Kind != Ping {
		t.Fatal(n, err, ev.Kind)
	}
	want := []byte{2, 1, 0, 0, 0, 2, 0, 0, 0, 3, 'a', 'b', 'c'}
	if got := d.AppendPong(nil, &Peer{}, ev.Body); !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

func pushes(t testing.TB, n, size int, due func(i int) uint32) (packets []byte, at int) {
	d := driver(t, drivers["gosoc"])
	body, bodyAt, room, err := d.Body(size)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		stamp.Write(body[bodyAt:bodyAt+room], stamp.Stamp{ID: stamp.ID(3, uint32(i)), Due: due(i)})
		packets, _ = gosoc.Compact.AppendSendReq(packets, gosoc.SendReq{Route: []byte("push"), Payload: body})
	}
	return packets, len(packets)/n - size + bodyAt
}

func TestSkimmer(t *testing.T) {
	const n = 10
	for _, size := range []int{10, 18, 26, 100, 1000} {
		b, at := pushes(t, n, size, func(i int) uint32 { return uint32(i / 4) })
		packet := b[:len(b)/n]
		var k Skimmer
		if _, ok := k.Skim(b); ok {
			t.Fatal("knows a shape it was not taught")
		}
		first, _ := stamp.Read(packet[at : at+min(24, size-2)])
		k.Learn(packet, at, first)
		st, ok := k.Skim(b)
		if !ok || st.ID != first.ID || k.Size() != len(packet) {
			t.Fatalf("%d: %+v %v", size, st, ok)
		}
		wantRun := 3 // the first four are due together
		if size < 18 {
			wantRun = n - 1 // no room to say when
		}
		if got := k.Run(b[k.Size():], st); got != wantRun {
			t.Errorf("%d: run of %d, want %d", size, got, wantRun)
		}
		if _, ok := k.Skim(b[:k.Size()-1]); ok {
			t.Errorf("%d: half a packet is whole", size)
		}
		for i := range at {
			other := bytes.Clone(b)
			other[i] ^= 1
			if _, ok := k.Skim(other); ok {
				t.Errorf("%d: head differs at %d and is not seen", size, i)
			}
			if got := k.Run(other, stamp.Stamp{ID: stamp.ID(3, 1<<24-1)}); got != 0 {
				t.Errorf("%d: head differs at %d and is not seen by Run", size, i)
			}
		}
		other := bytes.Clone(b)
		other[at] = 'x'
		if _, ok := k.Skim(other); ok {
			t.Errorf("%d: a stamp that is none", size)
		}
	}
}

func TestSkimmerGivesUp(t *testing.T) {
	b, at := pushes(t, 1, 100, func(int) uint32 { return 0 })
	var k Skimmer
	for range relearnLimit {
		k.Learn(b, at, stamp.Stamp{})
	}
	if k.Size() == 0 {
		t.Error("gave up too early")
	}
	if k.Learn(b, at, stamp.Stamp{}); k.Size() != 0 {
		t.Error("did not give up")
	}
}

func FuzzNext(f *testing.F) {
	for _, c := range conversations(f) {
		f.Add(c.bytes)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, o := range drivers {
			d := driver(t, o)
			b := bytes.Clone(src)
			if _, n, _ := read(d, &Peer{upgraded: true}, b); n > len(b) {
				t.Fatalf("%s: used %d of %d", o.Protocol, n, len(b))
			}
		}
		l := NewLink(driver(t, drivers["gosoc"]))
		read(l, &Peer{}, bytes.Clone(src))
	})
}

func BenchmarkSkim(b *testing.B) {
	buf, at := pushes(b, 2000, 100, func(int) uint32 { return 0 })
	size := len(buf) / 2000
	var k Skimmer
	k.Learn(buf[:size], at, stamp.Stamp{HasDue: true})
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		st, _ := k.Skim(buf)
		if k.Run(buf[size:], st) != 1999 {
			b.Fatal("run ended")
		}
	}
}

func TestNetsvrRoute(t *testing.T) {
	d, err := New(Options{Protocol: "netsvr", Target: "ws://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for route, want := range map[string]string{"": "001", "1": "001", "42": "042", "999": "999", "0": "", "1000": "", "+1": "", "x": "", "0001": ""} {
		_, err := RequestTemplate(d, route, 100)
		if (err == nil) != (want != "") {
			t.Errorf("%q: %v", route, err)
		}
		if err != nil {
			continue
		}
		b, err := d.(*webSocket).Driver.AppendRequest(nil, nil, 1, route, []byte("body"))
		if err != nil || string(b) != want+"body" {
			t.Errorf("%q: %q %v", route, b, err)
		}
	}
}

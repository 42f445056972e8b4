package nats

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/bench/wire"
)

func TestSends(t *testing.T) {
	var d Driver
	p := &wire.Peer{}
	sub, err := d.AppendSubscribe(nil, p, 2, []string{"a.1", "a.2"})
	if want := "SUB a.1 1001\r\nSUB a.2 1002\r\nPING\r\n"; string(sub) != want || err != nil {
		t.Errorf("got %q %v", sub, err)
	}
	pub, err := d.AppendPublish(nil, p, 7, "a.1", []byte("hello"))
	if want := "PUB a.1 5\r\nhello\r\n"; string(pub) != want || err != nil {
		t.Errorf("got %q %v", pub, err)
	}
}

// What a server says to a connection, event by event.
var dialogue = []struct {
	name, line string
	before     int // Peer.State
	want       wire.Event
}{
	{"first line", "INFO {\"max_payload\":1048576} \r\n", 0, wire.Event{Kind: wire.Open}},
	{"another INFO", "INFO {\"connect_info\":true} \r\n", opened, wire.Event{}},
	{"login", "PONG\r\n", opened, wire.Event{Kind: wire.LoggedIn}},
	{"subscription", "PONG\r\n", opened | loggedIn | subscribing, wire.Event{Kind: wire.Reply, OK: true}},
	{"keep-alive", "PONG\r\n", opened | loggedIn, wire.Event{}},
	{"its own", "PING\r\n", opened | loggedIn, wire.Event{Kind: wire.Ping}},
	{"verbose", "+OK\r\n", opened, wire.Event{}},
	{"error", "-ERR 'Slow Consumer'\r\n", opened, wire.Event{Kind: wire.Refused, Text: "'Slow Consumer'"}},
	{"message", "MSG a.1 1000 5\r\nhello\r\n", opened | loggedIn, wire.Event{Kind: wire.Push, Body: []byte("hello"), BodyAt: 16}},
	{"message with reply subject", "MSG a.1 1000 r 2\r\n\r\n\r\n", opened, wire.Event{Kind: wire.Push, Body: []byte("\r\n"), BodyAt: 18}},
}

func TestNext(t *testing.T) {
	for _, tt := range dialogue {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.line {
				var ev wire.Event
				if n, err := (Driver{}).Next(&wire.Peer{State: tt.before}, []byte(tt.line[:i]), &ev); n != 0 || err != nil {
					t.Errorf("prefix of %d bytes: n=%d err=%v", i, n, err)
				}
			}
			var ev wire.Event
			n, err := Driver{}.Next(&wire.Peer{State: tt.before}, []byte(tt.line+"PING\r\n"), &ev)
			if n != len(tt.line) || err != nil {
				t.Fatalf("n=%d err=%v", n, err)
			}
			if ev.Kind != tt.want.Kind || ev.OK != tt.want.OK || ev.Text != tt.want.Text || ev.BodyAt != tt.want.BodyAt || string(ev.Body) != string(tt.want.Body) {
				t.Errorf("got %+v, want %+v", ev, tt.want)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	for name, tt := range map[string]struct {
		line string
		want error
	}{
		"no operation": {"\r\n", ErrUnknown},
		"operation":    {"HELLO\r\n", ErrUnknown},
		"no size":      {"MSG a\r\n", ErrMalform},
		"size":         {"MSG a 1 x\r\n", ErrMalform},
		"negative":     {"MSG a 1 -1\r\n", ErrMalform},
		"too big":      {"MSG a 1 99999999\r\n", ErrMalform},
		"end":          {"MSG a 1 2\r\nabcd", ErrMalform},
		"endless line": {strings.Repeat("x", maxLine), ErrLine},
	} {
		var ev wire.Event
		if n, err := (Driver{}).Next(&wire.Peer{}, []byte(tt.line), &ev); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: n=%d err=%v", name, n, err)
		}
	}
	if _, _, _, err := (Driver{}).Body(7); err == nil {
		t.Error("a body without room for a stamp")
	}
}

func TestTemplate(t *testing.T) {
	d, err := wire.New(wire.Options{Protocol: Protocol, Target: "tcp://127.0.0.1:4222"})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{8, 16, 100, 70000} {
		if _, err := wire.PublishTemplate(d, "bench.0000000", size); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func FuzzNext(f *testing.F) {
	for _, tt := range dialogue {
		f.Add(tt.before, []byte(tt.line))
	}
	f.Fuzz(func(t *testing.T, state int, src []byte) {
		ev := wire.Event{BodyAt: -1}
		n, err := Driver{}.Next(&wire.Peer{State: state}, src, &ev)
		if n < 0 || n > len(src) || err != nil && n != 0 {
			t.Fatalf("n=%d of %d, err=%v", n, len(src), err)
		}
		if ev.Kind == wire.Push && string(src[ev.BodyAt:ev.BodyAt+len(ev.Body)]) != string(ev.Body) {
			t.Fatalf("body is not at %d", ev.BodyAt)
		}
	})
}

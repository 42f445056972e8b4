package mqtt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/bench/wire"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSends(t *testing.T) {
	var d Driver
	login, wait := d.AppendLogin(nil, &wire.Peer{Token: "m1"})
	sub, _ := d.AppendSubscribe(nil, nil, 10, []string{"a/b", "c"})
	pub, _ := d.AppendPublish(nil, nil, 3, "a", []byte("hi"))
	long, _ := d.AppendPublish(nil, nil, 3, "a", make([]byte, 200))
	for name, tt := range map[string]struct{ want, got string }{
		"CONNECT, 3.1":         {"10 0e 0004 4d515454 04 02 012c 0002 6d31", hex.EncodeToString(login)},
		"SUBSCRIBE, 3.8":       {"82 0c 000a 0003 612f62 00 0001 63 00", hex.EncodeToString(sub)},
		"PUBLISH, 3.3":         {"30 05 0001 61 6869", hex.EncodeToString(pub)},
		"length of 203, 2.2.3": {"30 cb01 0001 61", hex.EncodeToString(long[:6])},
		"PINGREQ, 3.12":        {"c0 00", hex.EncodeToString(d.AppendPing(nil, nil))},
		"DISCONNECT, 3.14":     {"e0 00", hex.EncodeToString(d.AppendGoodbye(nil, nil))},
	} {
		if want := strings.ReplaceAll(tt.want, " ", ""); tt.got != want {
			t.Errorf("%s: got %s, want %s", name, tt.got, want)
		}
	}
	if !wait {
		t.Error("CONNECT is answered")
	}
	if _, err := d.AppendPublish(nil, nil, 0, "a", make([]byte, 1<<28)); !errors.Is(err, ErrTooLong) {
		t.Errorf("256 MiB: %v", err)
	}
}

var vectors = []struct {
	name, packet string
	want         wire.Event
}{
	{"CONNACK accepted, 3.2", "20 02 00 00", wire.Event{Kind: wire.LoggedIn, BodyAt: -1}},
	{"CONNACK bad id", "20 02 00 02", wire.Event{Kind: wire.Refused, Code: 2, Text: "CONNACK", BodyAt: -1}},
	{"SUBACK, 3.9", "90 04 000a 00 01", wire.Event{Kind: wire.Reply, ID: 10, OK: true, BodyAt: -1}},
	{"SUBACK, one failed", "90 04 000a 00 80", wire.Event{Kind: wire.Reply, ID: 10, BodyAt: -1}},
	{"PINGRESP, 3.13", "d0 00", wire.Event{BodyAt: -1}},
	{"PUBLISH, 3.3", "30 05 0001 61 6869", wire.Event{Kind: wire.Push, Body: []byte("hi"), BodyAt: 5}},
	{"PUBLISH retained, empty", "31 03 0001 61", wire.Event{Kind: wire.Push, BodyAt: 5}},
	{"PUBLISH, long form of the length", "30 8580 00 0001 61 6869", wire.Event{Kind: wire.Push, Body: []byte("hi"), BodyAt: 7}},
}

func TestNext(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			packet := unhex(t, tt.packet)
			for i := range packet {
				var ev wire.Event
				if n, err := (Driver{}).Next(nil, packet[:i], &ev); n != 0 || err != nil {
					t.Errorf("prefix of %d bytes: n=%d err=%v", i, n, err)
				}
			}
			ev := wire.Event{BodyAt: -1}
			n, err := Driver{}.Next(nil, append(packet, 0xd0), &ev)
			if n != len(packet) || err != nil {
				t.Fatalf("n=%d err=%v", n, err)
			}
			if ev.Kind != tt.want.Kind || ev.ID != tt.want.ID || ev.OK != tt.want.OK || ev.Code != tt.want.Code ||
				ev.Text != tt.want.Text || ev.BodyAt != tt.want.BodyAt || !bytes.Equal(ev.Body, tt.want.Body) {
				t.Errorf("got %+v, want %+v", ev, tt.want)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	for name, tt := range map[string]struct {
		packet string
		want   error
	}{
		"length of five bytes": {"30 80808080 01", ErrMalform},
		"topic beyond the end": {"30 03 0002 61", ErrMalform},
		"no topic":             {"30 01 00", ErrMalform},
		"QoS 1":                {"32 05 0001 61 0001", ErrUnknown},
		"short CONNACK":        {"20 01 00", ErrUnknown},
		"empty SUBACK":         {"90 02 0001", ErrUnknown},
		"a client's packet":    {"c0 00", ErrUnknown},
	} {
		var ev wire.Event
		if n, err := (Driver{}).Next(nil, unhex(t, tt.packet), &ev); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: n=%d err=%v", name, n, err)
		}
	}
	if _, _, _, err := (Driver{}).Body(7); err == nil {
		t.Error("a body without room for a stamp")
	}
}

func TestTemplate(t *testing.T) {
	d, err := wire.New(wire.Options{Protocol: Protocol, Target: "tcp://127.0.0.1:1883"})
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
	for _, tt := range vectors {
		f.Add(unhex(f, tt.packet))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		ev := wire.Event{BodyAt: -1}
		n, err := Driver{}.Next(nil, src, &ev)
		if n < 0 || n > len(src) || err != nil && n != 0 {
			t.Fatalf("n=%d of %d, err=%v", n, len(src), err)
		}
		if ev.Kind == wire.Push && !bytes.Equal(src[ev.BodyAt:ev.BodyAt+len(ev.Body)], ev.Body) {
			t.Fatalf("body is not at %d", ev.BodyAt)
		}
	})
}

package netsvr

import (
	"encoding/binary"
	"testing"
)

func TestForeignBody(t *testing.T) {
	number := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	for _, tt := range []struct {
		name, body string
		want       Foreign
	}{
		{"heartbeat of 6.0.1", "~6YOt5rW35piO~", Foreign3To6},
		{"a configured heartbeat", "~ok~", Foreign3To6},
		{"ping", "~3yPvmnz~", NotForeign},
		{"pong", "~u38NvZ~", NotForeign},
		{"half a heartbeat", "~6YOt5rW35piO", NotForeign},
		{"1.x Register", "\x08\xb9\xbd\x94\xad\x03\x12\x02\x08\x01", Foreign1},
		{"1.x, command 8", "\x08\x08\x00\x00", Foreign1},
		{"2013", number(900002013), NotForeign},
		{"2014", number(900002014), Foreign3To6},
		{"2017 with a message", number(900002017) + "\x0a\x01a", Foreign3To6},
		{"2018", number(900002018), NotForeign},
		{"3013", number(900003013), NotForeign},
		{"3014", number(900003014), Foreign3To6},
		{"3018", number(900003018), Foreign3To6},
		{"3019", number(900003019), NotForeign},
		{"ours", number(900009002), NotForeign},
		{"nothing", "", NotForeign},
	} {
		if got := V2.ForeignBody([]byte(tt.body)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for n := CmdConnOpen; n < 900010000; n++ { // no command of ours is taken for another's
		if n.Class() != ClassUnknown && V2.ForeignBody([]byte(number(uint32(n)))) != NotForeign {
			t.Errorf("%v is foreign", n)
		}
	}
}

func TestSignOf(t *testing.T) {
	for _, tt := range []struct {
		name, message string
		want          RegisterSign
	}{
		{"OnOpen, OnClose and OnMessage", "\x08\x07", RegisterEvents},
		{"OnOpen", "\x08\x01", RegisterEvents},
		{"worker 8", "\x08\x08", RegisterOurs},
		{"worker 999", "\x08\xe7\x07", RegisterOurs},
		{"with a number of goroutines, as all SDKs of 2.0.2 and those of 3 to 5 have it", "\x08\x01\x10\x19", RegisterNeutral},
		{"with a server id", "\x08\x01\x10\x19\x18\x05", RegisterOurs},
		{"which takes requests", "\x08\x01\xa0\x06\x01", RegisterOurs},
		{"nothing", "", RegisterNeutral},
		{"0", "\x08\x00", RegisterNeutral},
		{"malformed", "\x08", RegisterNeutral},
		{"malformed behind it", "\x08\x07\x0a\x05", RegisterNeutral},
	} {
		if got := SignOf([]byte(tt.message)); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestForeignOffline(t *testing.T) {
	for _, tt := range []struct {
		name, message string
		certain       bool
		topic         string
	}{
		{"an id", "\x0a\x01a", false, ""},
		{"ids", "\x0a\x01a\x0a\x01b", false, ""},
		{"an id and data, or a topic", "\x0a\x01a\x12\x04news", false, "news"},
		{"ids and data", "\x0a\x01a\x0a\x01b\x12\x04news", false, ""},
		{"an id and two topics", "\x0a\x01a\x12\x04news\x12\x01b", true, ""},
		{"an id, a topic and data", "\x0a\x01a\x12\x04news\x1a\x03bye", true, ""},
		{"data that is no topic", "\x0a\x01a\x12\x01\xff", false, ""},
		{"malformed", "\x0a\x05a", false, ""},
	} {
		certain, topic := ForeignOffline([]byte(tt.message))
		if certain != tt.certain || string(topic) != tt.topic {
			t.Errorf("%s: %v, %q, want %v, %q", tt.name, certain, topic, tt.certain, tt.topic)
		}
	}
}

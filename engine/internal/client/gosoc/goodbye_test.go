package gosoc_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// What a client that is logged in is told for each reason to close it. At Disconnect 1 the clients
// in the field stop; behind Disconnect 0 or a plain close the one for phones comes back.
func TestDisconnectByReason(t *testing.T) {
	s := start(t, login.Open{})
	for why, want := range map[engine.Reason]string{
		engine.ReasonKickedOut:        "500101",
		engine.ReasonSessionTakenOver: "500101",
		engine.ReasonForcedOffline:    "500101",
		engine.ReasonLoginRefused:     "500101", // the token is not good any more
		engine.ReasonLoginBanned:      "500101",
		engine.ReasonUserLimit:        "500101",
		engine.ReasonShutdown:         "500100",
		engine.ReasonServerError:      "",
		engine.ReasonBacklogTotal:     "",
		engine.ReasonHeartbeatTimeout: "",
		engine.ReasonSlowConsumer:     "",
		engine.ReasonMalformed:        "",
	} {
		p := call(t, s)
		p.connect(fmt.Sprintf(`{"token":"user %v"}`, why))
		if code := p.code(); code != 0 {
			t.Fatalf("ConnAck %d", code)
		}
		if n, err := s.Kick(t.Context(), server.User(fmt.Sprintf("user %v", why)), why); n != 1 || err != nil {
			t.Fatalf("Kick: %d, %v", n, err)
		}
		rest, err := io.ReadAll(p.r)
		if got := fmt.Sprintf("%x", rest); got != want || err != nil {
			t.Errorf("%v: %q, %v, want %q", why, got, err, want)
		}
	}
}

// A first Connect that cannot be served is answered if it is one, with ConnAck 1, and so is one whose
// login ends before its verdict.
func TestConnectRefused(t *testing.T) {
	s := start(t, login.Open{})
	connect := func(body string) string { return string(varint([]byte{0x10}, len(body))) + body }
	big := strings.Repeat("x", 100<<10)
	for _, tc := range []struct{ name, wire, want string }{
		{"version 2", connect("\x05GOSOC\x02\x00\x00\x00\x00"), "20020001"},
		{"unknown flags", connect("\x05GOSOC\x01\x7f\x00\x00\x00"), "20020001"},
		{"no gzip", connect("\x05GOSOC\x01\x80\x00\x00\x02{}"), "20020001"},
		{"a byte left over", connect("\x05GOSOC\x01\x00\x00\x00\x00x"), "20020001"},
		{"the payload runs past", connect("\x05GOSOC\x01\x00\x00\x00\x09{}"), "20020001"},
		{"the name alone", connect("\x05GOSOC"), "20020001"},
		{"the name and a version", connect("\x05GOSOC\x01"), "20020001"},
		{"fixed6, the name alone", "\x01\x00\x00\x00\x07\x00\x00\x05GOSOC", "0200000002000001"},
		{"too big", connect("\x05GOSOC\x01\x00\x00\x00" + string(varint(nil, len(big))) + big), "20020001"},
		{"the header of one too big, and the name", "\x10\xff\xff\xff\x7f\x05GOSOC", "20020001"},
		{"fixed6, version 2", "\x01\x00\x00\x00\x0d\x00\x00\x05GOSOC\x02\x00\x00\x00\x00\x00", "0200000002000001"},
		{"fixed6, too big", "\x01\x00\x02\x00\x00\x00\x00\x05GOSOC", "0200000002000001"},
		{"no JSON", connect("\x05GOSOC\x01\x00\x00\x00\x01x"), "20020002"},

		{"the header of one too big", "\x10\xff\xff\xff\x7f", ""},
		{"another name", connect("\x05GOSOX\x01\x00\x00\x00\x00"), ""},
		{"another name, too big", "\x10\xff\xff\xff\x7f\x05GOSOX", ""},
		{"a ping", "\x30\x00", ""},
		{"a request", "\x62\x06\x00\x01\x01a\x01x", ""},
	} {
		for _, cut := range []int{len(tc.wire), 1, 5} {
			p := call(t, s)
			for wire := tc.wire; wire != ""; {
				n := min(cut, len(wire))
				if n < cut && cut < len(tc.wire) || len(tc.wire) > 1000 {
					n = len(wire)
				}
				if _, err := io.WriteString(p.conn, wire[:n]); err != nil {
					break // it is refused already
				}
				wire = wire[n:]
			}
			rest, err := io.ReadAll(p.r)
			if got := fmt.Sprintf("%x", rest); got != tc.want || err != nil {
				t.Errorf("%s, %d bytes at a time: %q, %v, want %q", tc.name, cut, got, err, tc.want)
			}
		}
	}
}

// An answer that says yes and nothing else has a body.
func TestEmptySuccess(t *testing.T) {
	s := start(t, login.Open{})
	for route, f := range map[string]func(*server.Request){
		"nil":      func(r *server.Request) { r.Reply(nil) },
		"empty":    func(r *server.Request) { r.ReplyStatus(0, []byte{}) },
		"deferred": func(r *server.Request) { s.Gateway().Answer(r.Defer(), 0, nil) },
	} {
		if err := s.Handle(route, f); err != nil {
			t.Fatal(err)
		}
	}
	const want = `{"status":0,"data":{}}`
	for _, gzipped := range []bool{false, true} {
		p := call(t, s)
		if gzipped {
			_, _ = io.WriteString(p.conn, "\x10\x0b\x05GOSOC\x01\x80\x00\x00\x00")
		} else {
			p.connect("")
		}
		if code := p.code(); code != 0 {
			t.Fatalf("ConnAck %d", code)
		}
		for _, route := range []string{"nil", "empty", "deferred"} {
			body := "\x00\x01" + string(varint(nil, len(route))) + route + "\x00"
			_, _ = p.conn.Write(append(varint([]byte{0x62}, len(body)), body...))
			_, got, err := p.next()
			if err != nil || len(got) < 3 {
				t.Fatalf("%s: %q, %v", route, got, err)
			}
			payload := string(got[3:])
			if gzipped {
				payload = unzip(t, payload)
			}
			if payload != want {
				t.Errorf("%s, gzip %v: %q, want %q", route, gzipped, payload, want)
			}
		}
	}
}

func unzip(t *testing.T, packed string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatalf("%q: %v", packed, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Over WebSocket the answer is a message, in front of the close frame.
func TestConnectRefusedOverWebSocket(t *testing.T) {
	s := start(t, login.Open{})
	for _, tc := range []struct{ name, wire, want string }{
		{"version 2", "\x10\x0b\x05GOSOC\x02\x00\x00\x00\x00", "820420020001"},
		{"cut off", "\x10\x0c\x05GOSOC\x01\x00\x00\x00\x01", "820420020001"},
		{"fixed6, version 2", "\x01\x00\x00\x00\x0d\x00\x00\x05GOSOC\x02\x00\x00\x00\x00\x00", "82080200000002000001"},
		{"packet too big", "\x10\xff\xff\xff\x7f\x05GOSOC", "820420020001"},
		{"message too big", string(make([]byte, 100<<10)), "820420020001"},
		{"another name", "\x10\x0b\x05GOSOX\x02\x00\x00\x00\x00", ""},
	} {
		b := upgrade(t, s)
		b.write(append(header(2, len(tc.wire)), tc.wire...))
		rest, err := io.ReadAll(b.r)
		got := fmt.Sprintf("%x", rest)
		if i := strings.Index(got, "88"); err != nil || i < 0 || got[:i] != tc.want {
			t.Errorf("%s: %q, %v, want %q and a close frame", tc.name, got, err, tc.want)
		}
	}
}

func TestBadTokenCode(t *testing.T) {
	for stops, want := range map[bool]int{false: 6, true: 3} {
		s := startWith(t, nobody{}, server.GosocConfig{BadTokenStops: stops})
		p := call(t, s)
		p.connect(`{"token":"x"}`)
		if got := p.code(); got != want {
			t.Errorf("BadTokenStops %v: ConnAck %d, want %d", stops, got, want)
		}
		p = call(t, s)
		p.connect(`{"session_id":"x"}`)
		if got := p.code(); got != want {
			t.Errorf("BadTokenStops %v, a bad session: ConnAck %d, want %d", stops, got, want)
		}
	}
}

// nobody may connect.
type nobody struct{}

func (nobody) Login(context.Context, login.Request) (login.Identity, error) {
	return login.Identity{}, login.ErrRefused
}

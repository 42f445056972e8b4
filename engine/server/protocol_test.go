package server

import (
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
)

func TestProtocolsThatAreRefused(t *testing.T) {
	change := func(f func(*Protocol)) []Protocol {
		p := linesProtocol()
		f(&p)
		return []Protocol{p}
	}
	for _, tc := range []struct {
		name      string
		listen    string
		protocols []Protocol
		want      string
	}{
		{"no name", "", change(func(p *Protocol) { p.Name = "" }), `name ""`},
		{"upper case", "", change(func(p *Protocol) { p.Name = "Lines" }), `name "Lines"`},
		{"hyphen", "", change(func(p *Protocol) { p.Name = "my-lines" }), `name "my-lines"`},
		{"gosoc's name", "", change(func(p *Protocol) { p.Name = "gosoc" }), "gosoc is the name of a protocol of the gateway's"},
		{"auto", "", change(func(p *Protocol) { p.Name = "auto" }), "auto is the name"},
		{"http", "", change(func(p *Protocol) { p.Name = "http" }), "http is the name"},
		{"twice", "", []Protocol{linesProtocol(), linesProtocol()}, "lines is there twice"},
		{"no New", "", change(func(p *Protocol) { p.New = nil }), "lines has no New"},
		{"New makes none", "", change(func(p *Protocol) { p.New = func(Binding) engine.Protocol { return nil } }), "New of lines makes no protocol"},
		{"New makes another", "", change(func(p *Protocol) { p.Name, p.Dialects = "other", nil }), "New of other makes no protocol of that name"},
		{"dialect of another", "", change(func(p *Protocol) { p.Dialects[0].Name = "gosoc-compact" }), `dialect "gosoc-compact", want lines-FORM`},
		{"dialect without form", "", change(func(p *Protocol) { p.Dialects[0].Name = "lines-" }), `want lines-FORM`},
		{"dialect twice", "", change(func(p *Protocol) { p.Dialects = append(p.Dialects, p.Dialects[0]) }), "dialect lines-text is there twice"},
		{"too many dialects", "", change(func(p *Protocol) {
			p.Dialects = nil
			for i := range engine.MaxDialects {
				p.Dialects = append(p.Dialects, engine.Dialect{Name: "lines-" + strings.Repeat("x", i+1)})
			}
		}), "at most 32 in all"},
		{"unknown on a listener", "tcp://127.0.0.1:0?protocol=line", []Protocol{linesProtocol()}, "want auto, gosoc, longbridge, netsvr or lines"},
		{"over WebSocket", "ws://127.0.0.1:0?protocol=lines", []Protocol{linesProtocol()}, "not spoken over WebSocket"},
		{"not there", "tcp://127.0.0.1:0?protocol=lines", nil, "want auto, gosoc, longbridge or netsvr"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := Config{Protocols: tc.protocols, Gateway: GatewayConfig{Login: login.Open{}}}
			if tc.listen != "" {
				config.Listen = []string{tc.listen}
			}
			if _, err := New(config); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q in it", err, tc.want)
			}
		})
	}
}

// A protocol of one's own, GOSOC and HTTP share a port and a topic; on a listener of its own it is
// alone.
func TestOwnProtocol(t *testing.T) {
	s, addr := begin(t, Config{
		Listen:    []string{"tcp://127.0.0.1:0", "tcp://127.0.0.1:0?protocol=lines"},
		Protocols: []Protocol{linesProtocol()},
		Dev:       true,
	})
	alone := strings.TrimPrefix(s.Addrs()[1], "tcp://")
	for name, g := range greetings {
		if !served(t, addr, g.first, g.answer) {
			t.Errorf("%s is not served beside it", name)
		}
		if served(t, alone, g.first, g.answer) {
			t.Errorf("%s is served on a listener of lines alone", name)
		}
	}
	g := dialGOSOC(t, addr, "ann")
	g.ask("sluice.Subscribe", `{"topics":["t"]}`)
	g.wantReply(`{"status":0,"data":{}}`)
	var all []*peer
	for _, a := range []string{addr, alone} {
		p := dial(t, a)
		p.write([]byte("SUB t\n"), nil)
		p.wantLine("SUB t")
		all = append(all, p)
	}
	if n := s.Engine().Stats().Clients; n[len(s.Engine().Config().Dialects)-1] != 2 {
		t.Errorf("clients by dialect: %v", n)
	}
	if err := s.Publish(t.Context(), "t", []byte("1")); err != nil {
		t.Fatal(err)
	}
	g.wantPush("1")
	for _, p := range all {
		p.wantLine("1")
	}
	// A panic of its encoder costs its clients the message, and nobody else anything.
	if err := s.Publish(t.Context(), "t", []byte("panic")); err != nil {
		t.Fatal(err)
	}
	g.wantPush("panic")
	if err := s.Publish(t.Context(), "t", []byte("2")); err != nil {
		t.Fatal(err)
	}
	g.wantPush("2")
	for _, p := range all {
		p.wantLine("2")
	}
}

// What a connection speaks does not depend on how its first bytes are cut: "G" may become HTTP,
// which is asked before lines.
func TestOwnProtocolWaitsForHTTP(t *testing.T) {
	s, addr := begin(t, Config{Protocols: []Protocol{linesProtocol()}})
	for _, tc := range []struct{ first, rest, want string }{
		{"G", upgradeTo("/gosoc")[1:], "HTTP/1.1 101 Switching Protocols\r"},
		{"GET", upgradeTo("/gosoc")[3:], "HTTP/1.1 101 Switching Protocols\r"},
		{"G", "O\n", "GO"},
		{"P", "OST\n", "POST"},
	} {
		p := dial(t, addr)
		p.write([]byte(tc.first), nil)
		p.write([]byte(tc.rest), nil)
		p.wantLine(tc.want)
	}
	// The bytes may have arrived together; this asks the protocol itself.
	for _, tc := range []struct {
		first string
		want  engine.Match
	}{{"G", engine.NeedMore}, {"GET", engine.NeedMore}, {"GO", engine.Matched}, {"SUB", engine.Matched}, {"\x10", engine.NoMatch}} {
		list := s.protocols[auto]
		if got := list[len(list)-1].Sniff([]byte(tc.first)); got != tc.want {
			t.Errorf("%q: %v, want %v", tc.first, got, tc.want)
		}
	}
}

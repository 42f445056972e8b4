package longbridge_test

import (
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine"
)

// A client that sends its packets in text messages gets such, although no text of them is UTF-8;
// one that sends binary ones gets these.
func TestTextMessages(t *testing.T) {
	s := start(t, nil)
	const textOp, binaryOp = 1, 2
	for _, f := range []form{forms[4], forms[5], forms[6]} {
		for op, name := range map[byte]string{textOp: "text", binaryOp: "binary"} {
			t.Run(f.name+", "+name, func(t *testing.T) {
				p := dial(t, s, f)
				say := func(cmd byte, id uint32, body string) { p.write(frame(op, p.req(cmd, id, 0, nil, []byte(body)))) }
				same := func(what string) {
					t.Helper()
					if p.opcode != op {
						t.Errorf("%s came with opcode %d, want %d", what, p.opcode, op)
					}
				}
				topic := "news-" + f.name + name
				say(2, 1, p.message("token", "ann-"+topic))
				p.wantResponse(2, 1, 0)
				same("the response to Auth")
				long := strings.Repeat("\xff\x00long ", 100)
				say(200, 2, long)
				if got := p.wantResponse(200, 2, 0); string(got.body) != long {
					t.Errorf("echo %q", got.body)
				}
				same("a response")
				say(1, 3, "beat")
				p.wantResponse(1, 3, 0)
				same("a heartbeat's response")
				say(201, 4, `{"topics":["`+topic+`"]}`)
				p.wantResponse(201, 4, 0)
				if err := s.Publish(t.Context(), topic, []byte("\xfe push")); err != nil {
					t.Fatal(err)
				}
				if got := p.want(); got.typ != 3 || string(got.body) != "\xfe push" {
					t.Errorf("got %+v, want a push", got)
				}
				same("a push")
				b := p.req(200, 5, 0, nil, []byte("\xc3\x28")) // not UTF-8, in two fragments
				first := frame(op, b[:7])
				first[0] &^= 0x80
				p.write(append(first, frame(0, b[7:])...))
				p.wantResponse(200, 5, 0)
				same("the response to fragments")
				p.end(s, engine.ReasonShutdown)
				p.wantClose(2)
				same("Close")
			})
		}
	}
}

// Half a packet is no packet, in whatever kind of message.
func TestTextMessageOfNoPacket(t *testing.T) {
	s := start(t, nil)
	p := online(t, s, forms[4], "ann")
	p.write(frame(1, []byte(`{"op":"subscribe"}`)))
	p.wantClose(3)
}

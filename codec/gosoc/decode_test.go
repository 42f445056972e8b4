package gosoc

import (
	"encoding/binary"
	"errors"
	"testing"
)

func TestDecode(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		src := raw(v.wire)
		p, n, err := decode(form, append(src, "the next packet"...))
		if err != nil || n != len(src) {
			t.Fatalf("%d of %d bytes: %v", n, len(src), err)
		}
		if !same(p, v.want) {
			t.Errorf("got  %+v\nwant %+v", p, v.want)
		}
	})
}

// A packet cut anywhere, with a header that says so, is malformed: no decoder reads on. The one
// exception is a data flag without a data field.
func TestDecodeEveryCutBody(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		src := raw(v.wire)
		h, _ := form.ParseHeader(src)
		body := src[h.Size:]
		for i := range body {
			cut := h
			cut.Remaining = i
			p, err := decodeBody(form, cut, body[:i])
			if req, ok := p.(SendReq); ok && err == nil && req.HasData && len(req.Data) == 0 {
				continue
			}
			var pe *ProtocolError
			if !errors.As(err, &pe) || !errors.Is(err, ErrMissingField) && !errors.Is(err, ErrFieldOverrun) {
				t.Errorf("body of %d bytes: %+v, %v", i, p, err)
			} else if pe.Type != h.Type || pe.Offset < h.Size || pe.Offset > cut.Len() {
				t.Errorf("body of %d bytes: %v", i, err)
			}
		}
	})
}

func TestDecodeTrailing(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		if v.name == "C++ empty attachment" || v.name == "data flag, no data field" {
			return // one more byte is the data field they lack
		}
		src := append(raw(v.wire), 0)
		h, _ := form.ParseHeader(src)
		end := h.Len()
		h.Remaining++
		_, err := decodeBody(form, h, src[h.Size:])
		var pe *ProtocolError
		if !errors.As(err, &pe) || pe.Err != ErrTrailing || pe.Offset != end {
			t.Errorf("%v, want it at byte %d", err, end)
		}
	})
}

// Bodies in either form, from their parts.
type part func(f Form, dst []byte) []byte

func u8(v byte) part { return func(_ Form, dst []byte) []byte { return append(dst, v) } }

func u16(v uint16) part {
	return func(_ Form, dst []byte) []byte { return binary.BigEndian.AppendUint16(dst, v) }
}

func str(s string) part { return claim(len(s), s) }

// claim is a field whose length says n.
func claim(n int, s string) part {
	return func(f Form, dst []byte) []byte { return append(f.appendLength(dst, n), s...) }
}

func TestDecodeMalformed(t *testing.T) {
	name, version, flags, keepAlive := str("GOSOC"), u8(1), u8(0), u16(60)
	for _, c := range []struct {
		name  string
		typ   Type
		flags byte
		body  []part
		want  error
	}{
		{"Connect: empty", TypeConnect, 0, nil, ErrMissingField},
		{"Connect: lower case", TypeConnect, 0, []part{str("gosoc"), version, flags, keepAlive, str("")}, ErrNotGOSOC},
		{"Connect: MQTT", TypeConnect, 0, []part{str("MQTT"), version, flags, keepAlive, str("")}, ErrNotGOSOC},
		{"Connect: no name", TypeConnect, 0, []part{str(""), version, flags, keepAlive, str("")}, ErrNotGOSOC},
		{"Connect: name claims 60000", TypeConnect, 0, []part{claim(60000, "GOSOC")}, ErrFieldOverrun},
		{"Connect: only a name", TypeConnect, 0, []part{name}, ErrMissingField},
		{"Connect: version 2", TypeConnect, 0, []part{name, u8(2), flags, keepAlive, str("")}, ErrVersion},
		{"Connect: version 255", TypeConnect, 0, []part{name, u8(255), flags, keepAlive, str("")}, ErrVersion},
		{"Connect: flag 0x01", TypeConnect, 0, []part{name, version, u8(0x01), keepAlive, str("")}, ErrConnectFlags},
		{"Connect: flag 0x40 with gzip", TypeConnect, 0, []part{name, version, u8(0xc0), keepAlive, str("")}, ErrConnectFlags},
		{"Connect: all flags", TypeConnect, 0, []part{name, version, u8(0xff), keepAlive, str("")}, ErrConnectFlags},
		{"Connect: no payload", TypeConnect, 0, []part{name, version, flags, keepAlive}, ErrMissingField},
		{"Connect: payload past the packet", TypeConnect, 0, []part{name, version, flags, keepAlive, claim(3, "{}")}, ErrFieldOverrun},
		{"Connect: left over", TypeConnect, 0, []part{name, version, flags, keepAlive, str("{}"), u8(0)}, ErrTrailing},

		{"ConnAck: empty", TypeConnAck, 0, nil, ErrMissingField},
		{"ConnAck: 1 byte", TypeConnAck, 0, []part{u8(0)}, ErrMissingField},
		{"ConnAck: 3 bytes", TypeConnAck, 0, []part{u8(0), u8(0), u8(0)}, ErrTrailing},
		{"PingReq: 1 byte", TypePingReq, 0, []part{u8(0)}, ErrTrailing},
		{"PingResp: 1 byte", TypePingResp, 0, []part{u8(0)}, ErrTrailing},
		{"Disconnect: empty", TypeDisconnect, 0, nil, ErrMissingField},
		{"Disconnect: 2 bytes", TypeDisconnect, 0, []part{u8(1), u8(0)}, ErrTrailing},

		{"SendReq: empty", TypeSendReq, 2, nil, ErrMissingField},
		{"SendReq: half an id", TypeSendReq, 2, []part{u8(0)}, ErrMissingField},
		{"SendReq: only an id", TypeSendReq, 2, []part{u16(1)}, ErrMissingField},
		{"SendReq: route past the packet", TypeSendReq, 2, []part{u16(1), claim(4, "a.b")}, ErrFieldOverrun},
		{"SendReq: route claims 65535", TypeSendReq, 2, []part{u16(1), claim(65535, "a.b"), str("")}, ErrFieldOverrun},
		{"SendReq: no payload", TypeSendReq, 2, []part{u16(1), str("a.b")}, ErrMissingField},
		{"SendReq: no payload, data flag", TypeSendReq, 10, []part{u16(1), str("a.b")}, ErrMissingField},
		{"SendReq: payload past the packet", TypeSendReq, 2, []part{u16(1), str("a.b"), claim(3, "{}")}, ErrFieldOverrun},
		{"SendReq: data without the flag", TypeSendReq, 2, []part{u16(1), str("a.b"), str("{}"), str("data")}, ErrTrailing},
		{"SendReq: data past the packet", TypeSendReq, 10, []part{u16(1), str("a.b"), str("{}"), claim(5, "data")}, ErrFieldOverrun},
		{"SendReq: left over behind data", TypeSendReq, 10, []part{u16(1), str("a.b"), str("{}"), str("data"), u8(0)}, ErrTrailing},

		{"SendResp: empty", TypeSendResp, 0, nil, ErrMissingField},
		{"SendResp: half an id", TypeSendResp, 0, []part{u8(0)}, ErrMissingField},
		{"SendResp: no payload", TypeSendResp, 0, []part{u16(1)}, ErrMissingField},
		{"SendResp: payload past the packet", TypeSendResp, 0, []part{u16(1), claim(3, "{}")}, ErrFieldOverrun},
		{"SendResp: left over", TypeSendResp, 0, []part{u16(1), str("{}"), u8(0)}, ErrTrailing},
	} {
		for _, form := range []Form{Compact, Fixed6} {
			var body []byte
			for _, p := range c.body {
				body = p(form, body)
			}
			src := append(form.appendHeader(nil, c.typ, c.flags, len(body)), body...)
			p, _, err := decode(form, append(src, "\x30\x00 the next packet"...))
			var pe *ProtocolError
			if !errors.Is(err, c.want) || !errors.As(err, &pe) || pe.Type != c.typ || pe.Offset > len(src) {
				t.Errorf("%v, %s: %+v, %v", form, c.name, p, err)
			}
		}
	}
}

func TestDecodeLengthOfField(t *testing.T) {
	for _, c := range []struct {
		name string
		form Form
		wire string
		want error
		at   int
	}{
		{"5-byte varint", Compact, `70 07 0001 8080808000`, ErrVarint, 4},
		{"varint cut", Compact, `70 05 0001 808080`, ErrFieldOverrun, 4},
		{"claims 2^28-1", Compact, `10 09 ffffff7f 474f534f43`, ErrFieldOverrun, 2},
		{"half a length", Fixed6, `07 00000003 00 0001 00`, ErrFieldOverrun, 8},
		{"claims 65535", Fixed6, `01 00000007 00 ffff 474f534f43`, ErrFieldOverrun, 6},
	} {
		_, _, err := decode(c.form, raw(c.wire))
		var pe *ProtocolError
		if !errors.As(err, &pe) || pe.Err != c.want || pe.Offset != c.at {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLevelValid(t *testing.T) {
	for level, want := range []bool{true, true, false, false} {
		src, err := Compact.AppendSendReq(nil, SendReq{Level: Level(level), Route: []byte("a.b")})
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := decode(Compact, src)
		if got := p.(SendReq).Level; err != nil || got != Level(level) || got.Valid() != want {
			t.Errorf("level %d: %v, %v, %v", level, got, got.Valid(), err)
		}
	}
}

// Appending to a field must not write over the next one, nor over the next packet.
func TestFieldsHaveNoSpareRoom(t *testing.T) {
	for _, form := range []Form{Compact, Fixed6} {
		src, _ := form.AppendSendReq(nil, SendReq{Route: []byte("a.b"), Payload: []byte("{}"), HasData: true, Data: []byte("data")})
		src = append(src, "next"...)
		before := string(src)
		p, _, err := decode(form, src)
		if err != nil {
			t.Fatal(err)
		}
		req := p.(SendReq)
		_ = append(req.Route, "xxxx"...)
		_ = append(req.Payload, "xxxx"...)
		_ = append(req.Data, "xxxx"...)
		if string(src) != before {
			t.Errorf("%v: %q became %q", form, before, src)
		}
		src[len(src)-5] = '!' // but it is the same memory: nothing was copied
		if string(req.Data) != "dat!" {
			t.Errorf("%v: data is a copy: %q", form, req.Data)
		}
	}
}

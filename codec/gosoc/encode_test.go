package gosoc

import (
	"bytes"
	"testing"
)

func TestEncode(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		if v.lossy {
			return
		}
		got, err := encode(form, []byte("kept"), v.want)
		if want := append([]byte("kept"), raw(v.wire)...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got  %x, %v\nwant %x", got, err, want)
		}
	})
}

// A gateway hands packets from one form to the other.
func TestEncodeInTheOtherForm(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		other := Compact + Fixed6 - form
		wire, err := encode(other, nil, v.want)
		if err != nil {
			t.Fatal(err)
		}
		p, n, err := decode(other, wire)
		if err != nil || n != len(wire) || !same(p, v.want) {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

func TestEncodeLimits(t *testing.T) {
	long := make([]byte, 1<<28)
	field := func(n int) []byte { return long[:n] }
	for _, c := range []struct {
		name string
		form Form
		p    any
		want error
	}{
		{"longest fixed6 reply", Fixed6, SendResp{Payload: field(65535)}, nil},
		{"fixed6 reply", Fixed6, SendResp{Payload: field(65536)}, ErrFieldTooLong},
		{"fixed6 push", Fixed6, SendReq{Payload: field(65536)}, ErrFieldTooLong},
		{"fixed6 route", Fixed6, SendReq{Route: field(65536)}, ErrFieldTooLong},
		{"fixed6 data", Fixed6, SendReq{HasData: true, Data: field(65536)}, ErrFieldTooLong},
		{"fixed6 data not sent", Fixed6, SendReq{Data: field(65536)}, nil},
		{"fixed6 Connect", Fixed6, Connect{Payload: field(65536)}, ErrFieldTooLong},
		{"compact reply of 64 KiB", Compact, SendResp{Payload: field(65536)}, nil},
		{"compact reply one too long", Compact, SendResp{Payload: field(1<<28 - 1 - 2 - 4 + 1)}, ErrPacketTooLong},
		{"compact reply, no such field", Compact, SendResp{Payload: field(1 << 28)}, ErrFieldTooLong},
		{"compact push", Compact, SendReq{Payload: field(1<<28 - 1)}, ErrPacketTooLong},
		{"compact sum", Compact, SendReq{Route: field(1 << 27), Payload: field(1 << 27)}, ErrPacketTooLong},
		{"compact Connect", Compact, Connect{Payload: field(1<<28 - 1)}, ErrPacketTooLong},
		{"level 4", Compact, SendReq{Level: 4}, ErrLevel},
	} {
		got, err := encode(c.form, []byte("kept"), c.p)
		if err != c.want || err != nil && string(got) != "kept" {
			t.Errorf("%s: %d bytes, %v", c.name, len(got), err)
		}
		size, sizeErr := 0, error(nil)
		switch p := c.p.(type) {
		case SendReq:
			size, sizeErr = c.form.SendReqSize(p)
		case SendResp:
			size, sizeErr = c.form.SendRespSize(p)
		default:
			continue
		}
		if sizeErr != err || err == nil && size != len(got)-4 {
			t.Errorf("%s: size %d, %v for %d bytes", c.name, size, sizeErr, len(got)-4)
		}
	}
	// The longest there is: announced only, a quarter of a GiB need not be copied to see it.
	if size, err := Compact.SendRespSize(SendResp{Payload: field(1<<28 - 1 - 2 - 4)}); err != nil || size != 5+1<<28-1 {
		t.Errorf("longest compact reply: %d, %v", size, err)
	}
}

func TestSizes(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		if v.lossy {
			return
		}
		size, err := 0, error(nil)
		switch p := v.want.(type) {
		case SendReq:
			size, err = form.SendReqSize(p)
		case SendResp:
			size, err = form.SendRespSize(p)
		default:
			return
		}
		if want := len(raw(v.wire)); err != nil || size != want {
			t.Errorf("%d bytes, %v; want %d", size, err, want)
		}
	})
}

package gosoc

import (
	"errors"
	"testing"
)

func TestSniff(t *testing.T) {
	for b := range 256 {
		f, ok := Sniff(byte(b))
		wantOK := b == 0x10 || b == 0x01
		if ok != wantOK || ok && (f == Fixed6) != (b == 0x01) {
			t.Errorf("%#02x: %v, %v", b, f, ok)
		}
	}
}

func TestRecognizeConnects(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		src := raw(v.wire)
		if _, isConnect := v.want.(Connect); !isConnect {
			if _, ok, err := Recognize(src); ok || !errors.Is(err, ErrNotGOSOC) {
				t.Errorf("%v, %v", ok, err)
			}
			return
		}
		decided := 8 // through the name
		if form == Fixed6 {
			decided = 13
		}
		for i := range len(src) + 1 {
			f, ok, err := Recognize(src[:i])
			if err != nil || ok != (i >= decided) || i > 0 && f != form {
				t.Errorf("%d bytes: %v, %v, %v", i, f, ok, err)
			}
		}
	})
}

func TestRecognizeFirstImpossibleByte(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		at         int // the byte that proves it; -1 for a Connect
	}{
		{"HTTP", `474554202f`, 0},
		{"TLS", `16030100`, 0},
		{"Longbridge", `11`, 0},
		{"PingReq compact", `3000`, 0},
		{"PingReq fixed6", `03`, 0},
		{"Connect with flags", `12`, 0},
		{"reserved flag", `11`, 0},

		{"5-byte length", `10 ff ff ff ff`, 4},
		{"nothing behind", `10 00`, 1},
		{"one byte less than the name", `10 05`, 1},
		{"the same, long varint", `10 85 00`, 2},
		{"the name alone, a broken Connect", `10 06 05 474f534f43`, -1},
		{"least Connect", `10 0b 05 474f534f43`, -1},
		{"long varints", `10 9a808000 85808000 474f534f43`, -1},
		{"name of 6 bytes", `10 1a 06`, 2},
		{"name of 5 + 128 bytes", `10 1a 85 01`, 3},
		{"5-byte name length", `10 1a 85 80 80 80`, 5},
		{"wrong first letter", `10 1a 05 67`, 3},
		{"wrong last letter", `10 1a 05 474f534f63`, 7},
		{"fixed6 behind compact", `10 1a 00 05`, 2},

		{"negative length", `01 ff`, 1},
		{"length 2^28", `01 10`, 1},
		{"length too small", `01 00000006`, 4},
		{"the name alone, fixed6", `01 00000007 00 0005 474f534f43`, -1},
		{"reserved flag, fixed6", `01 0000001c 01`, 5},
		{"other flags", `01 0000001c 0e 0005 474f534f43`, -1},
		{"name of 5 + 256 bytes", `01 0000001c 00 01`, 6},
		{"name of 4 bytes", `01 0000001c 00 00 04`, 7},
		{"wrong second letter", `01 0000001c 00 00 05 47 47`, 9},
	} {
		src := raw(c.wire)
		for i := range len(src) + 1 {
			_, ok, err := Recognize(src[:i])
			var pe *ProtocolError
			switch {
			case c.at < 0 && (err != nil || ok != (i == len(src))):
				t.Errorf("%s, %d bytes: %v, %v", c.name, i, ok, err)
			case c.at >= 0 && i <= c.at && (ok || err != nil):
				t.Errorf("%s, %d bytes, none of them wrong: %v, %v", c.name, i, ok, err)
			case c.at >= 0 && i > c.at && (ok || !errors.Is(err, ErrNotGOSOC) || !errors.As(err, &pe) || pe.Offset != c.at):
				t.Errorf("%s, %d bytes: %v, %v; want byte %d", c.name, i, ok, err, c.at)
			}
		}
	}
}

// What Recognize says must agree with the decoders: what it refuses they refuse.
func FuzzRecognize(f *testing.F) {
	for _, v := range append(compactVectors, fixed6Vectors...) {
		f.Add(raw(v.wire))
	}
	f.Add(raw(`10 9a808000 85808000 474f534f43`))
	f.Fuzz(func(t *testing.T, src []byte) {
		refused := false
		for i := range min(len(src), 20) + 1 {
			form, ok, err := Recognize(src[:i])
			if ok && err != nil || refused && err == nil {
				t.Fatalf("%d bytes: %v, %v after a refusal: %v", i, ok, err, refused)
			}
			refused = err != nil
			if !ok {
				continue
			}
			if h, err := form.ParseHeader(src); err != nil || h.Type != TypeConnect {
				t.Fatalf("%d bytes recognized, but the header is %+v, %v", i, h, err)
			}
		}
		if len(src) == 0 {
			return
		}
		form, ok := Sniff(src[0])
		if !ok {
			return
		}
		if p, n, err := decode(form, src); n > 0 && err == nil && refused {
			t.Fatalf("refused, but it is %+v", p)
		}
	})
}

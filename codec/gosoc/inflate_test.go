package gosoc

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sluicenet/sluice/codec/gzip"
)

func TestInflateVectors(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		if v.gzip {
			plain, grown, _, err := InflatePayload([]byte("kept"), payload(v.want), 100, 0)
			if err != nil || string(plain) != v.text || string(grown) != "kept"+v.text {
				t.Errorf("payload %q, %q, %v; want %q", plain, grown, err, v.text)
			}
			// Our own deflater makes other bytes of the same text.
			plain, _, _, err = InflatePayload(nil, gzip.Deflate(nil, plain), 100, 0)
			if err != nil || string(plain) != v.text {
				t.Errorf("deflated here: %q, %v", plain, err)
			}
		}
		req, ok := v.want.(SendReq)
		if !ok || !req.HasData {
			return
		}
		want := string(req.Data)
		if v.data != "" {
			want = v.data
		}
		if plain, _, _, err := InflateData(nil, req.Data, 100, 0); err != nil || string(plain) != want {
			t.Errorf("data %q, %v; want %q", plain, err, want)
		}
	})
}

func TestInflatePayload(t *testing.T) {
	member := gzip.Deflate(nil, []byte("payload"))
	bomb := gzip.Deflate(nil, make([]byte, 1<<20))
	badCRC := bytes.Clone(member)
	badCRC[len(badCRC)-8] ^= 1
	for _, c := range []struct {
		name    string
		payload []byte
		plain   string
		want    error
	}{
		{"empty", nil, "", nil},
		{"gzip of nothing", raw(gzNothing), "", nil},
		{"two members", append(bytes.Clone(member), member...), "payloadpayload", nil},
		{"plain JSON", []byte(`{}`), "", gzip.ErrCorrupt},
		{"cut", member[:len(member)-1], "", gzip.ErrCorrupt},
		{"bad CRC", badCRC, "", gzip.ErrCorrupt},
		{"junk behind", append(bytes.Clone(member), "junk"...), "", gzip.ErrCorrupt},
		{"bomb", bomb, "", gzip.ErrTooLarge},
	} {
		plain, grown, _, err := InflatePayload([]byte("kept"), c.payload, 1000, 0)
		if !errors.Is(err, c.want) || string(plain) != c.plain || string(grown) != "kept"+c.plain {
			t.Errorf("%s: %q, %q, %v", c.name, plain, grown, err)
		}
	}
}

func TestInflateData(t *testing.T) {
	inner := gzip.Deflate(nil, []byte("a .gz file"))
	for _, c := range []struct {
		name        string
		data, plain []byte
		want        error
	}{
		{"empty", nil, nil, nil},
		{"one byte", []byte{0x1f}, []byte{0x1f}, nil},
		{"raw, above the limit", make([]byte, 2000), make([]byte, 2000), nil},
		{"gzip", inner, []byte("a .gz file"), nil},
		{"gzip of gzip: one layer", gzip.Deflate(nil, inner), inner, nil},
		{"only the magic", []byte{0x1f, 0x8b}, nil, gzip.ErrCorrupt},
		{"magic, no gzip", []byte{0x1f, 0x8b, 1, 2, 3, 4, 5, 6, 7, 8, 9}, nil, gzip.ErrCorrupt},
		{"junk behind", append(bytes.Clone(inner), 0), nil, gzip.ErrCorrupt},
		{"bomb", gzip.Deflate(nil, make([]byte, 2000)), nil, gzip.ErrTooLarge},
	} {
		plain, _, _, err := InflateData(nil, c.data, 1000, 0)
		if !errors.Is(err, c.want) || !bytes.Equal(plain, c.plain) {
			t.Errorf("%s: %d bytes, %v", c.name, len(plain), err)
		}
	}
}

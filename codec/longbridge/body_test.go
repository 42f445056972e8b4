package longbridge

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/gzip"
)

func TestInflate(t *testing.T) {
	zipped := unhex(t, `1f8b08000000000000ff4a1c05a360148c5800080000ffffb997557c00040000`) // vector 11
	liar := append(bytes.Clone(zipped[:len(zipped)-4]), 0xff, 0xff, 0xff, 0x7f)            // claims 2 GiB
	tests := []struct {
		name  string
		gzip  bool
		body  []byte
		limit int
		want  string
		err   error
	}{
		{"plain", false, []byte("ping"), 1, "ping", nil},
		{"plain that looks like gzip", false, zipped, 1, string(zipped), nil},
		{"plain and empty", false, nil, 0, "", nil},
		{"gzip", true, zipped, 1024, strings.Repeat("a", 1024), nil},
		{"over the limit", true, zipped, 1023, "", gzip.ErrTooLarge},
		{"empty", true, nil, 1024, "", ErrGzipEmpty},
		{"no gzip", true, []byte{1, 2}, 1024, "", gzip.ErrCorrupt},
		{"cut short", true, zipped[:len(zipped)-1], 1024, "", gzip.ErrCorrupt},
		{"bytes behind it", true, append(bytes.Clone(zipped), 0), 1024, "", gzip.ErrCorrupt},
		{"false size", true, liar, 4096, "", gzip.ErrCorrupt},
	}
	for _, tt := range tests {
		for _, scratch := range [][]byte{nil, []byte("used before"), make([]byte, 5, 4096)} {
			h := Header{Gzip: tt.gzip}
			got, _, err := h.Inflate(scratch, tt.body, tt.limit, 0)
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%s: %d bytes, %v; want %d, %v", tt.name, len(got), err, len(tt.want), tt.err)
			}
		}
	}
}

func TestMaybeDeflate(t *testing.T) {
	easy := []byte(strings.Repeat("a", 1024))
	hard := unhex(t, `00112233445566778899aabbccddeeff`)
	tests := []struct {
		name      string
		body      []byte
		threshold int
		gzipped   bool
	}{
		{"at the threshold", easy, 1024, true},
		{"below it", easy, 1025, false},
		{"never", easy, 0, false},
		{"never, empty", nil, 0, false},
		{"empty", nil, 1, false},
		{"negative", easy, -1, false},
		{"would get longer", hard, 1, false},
	}
	for _, tt := range tests {
		payload, gzipped := MaybeDeflate(nil, tt.body, tt.threshold)
		if gzipped != tt.gzipped {
			t.Errorf("%s: %v", tt.name, gzipped)
		}
		if gzipped != (len(payload) < len(tt.body)) {
			t.Errorf("%s: %d bytes became %d", tt.name, len(tt.body), len(payload))
		}
		h := Header{Gzip: gzipped}
		if got, _, err := h.Inflate(nil, payload, 1024, 0); err != nil || !bytes.Equal(got, tt.body) {
			t.Errorf("%s: came back as %d bytes, %v", tt.name, len(got), err)
		}
	}
}

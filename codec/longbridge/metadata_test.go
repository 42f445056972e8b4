package longbridge

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestMetadataMap(t *testing.T) {
	tests := []struct {
		name string
		wire string
		want map[string]string
	}{
		{"none", ``, nil},
		{"one", `01 6b 01 76`, map[string]string{"k": "v"}},
		{"empty key and value", `00 00`, map[string]string{"": ""}},
		{"upper case", `02 4b5b 01 56`, map[string]string{"k[": "V"}}, // [ is the byte behind Z
		{"last duplicate wins", `01 6b 01 31 01 4b 01 32`, map[string]string{"k": "2"}},
		{"beyond ASCII", `02 c389 00`, map[string]string{"É": ""}},
		{"not UTF-8", `01 ff 00`, map[string]string{"\xff": ""}},
		{"127 bytes", `00 7f` + strings.Repeat("76", 127), map[string]string{"": strings.Repeat("v", 127)}},
		{"128 bytes", `00 8080` + strings.Repeat("76", 128), map[string]string{"": strings.Repeat("v", 128)}},
		{"32767 bytes", `00 ffff` + strings.Repeat("76", 32767), map[string]string{"": strings.Repeat("v", 32767)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			got, err := MetadataMap(wire)
			if err != nil || !maps.Equal(got, tt.want) {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if err := CheckMetadata(wire); err != nil {
				t.Errorf("check: %v", err)
			}
		})
	}
}

func TestMetadataMalformed(t *testing.T) {
	tests := []struct {
		name string
		wire string
		want error
	}{
		{"18 length 1 in two bytes", `8001 6b 00`, ErrMetadataLength},
		{"length 127 in two bytes", `807f` + strings.Repeat("6b", 127) + `00`, ErrMetadataLength},
		{"the same in a value", `01 6b 8000`, ErrMetadataLength},
		{"key past the end", `02 6b`, ErrMetadataShort},
		{"value past the end", `01 6b 02 76`, ErrMetadataShort},
		{"half a length", `80`, ErrMetadataShort},
		{"half a length of a value", `01 6b ff`, ErrMetadataShort},
		{"no value", `01 6b`, ErrMetadataNoValue},
		{"no second value", `01 6b 01 76 01 6b`, ErrMetadataNoValue},
		{"empty key, no value", `00`, ErrMetadataNoValue},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			if err := CheckMetadata(wire); !errors.Is(err, tt.want) {
				t.Errorf("check: %v, want %v", err, tt.want)
			}
			if m, err := MetadataMap(wire); m != nil || !errors.Is(err, tt.want) {
				t.Errorf("map: %v, %v, want %v", m, err, tt.want)
			}
		})
	}
	if _, _, _, err := NextMetadata(nil); !errors.Is(err, ErrMetadataShort) {
		t.Errorf("nothing: %v", err)
	}
}

func TestNextMetadata(t *testing.T) {
	wire := unhex(t, `02 4b31 01 61 02 6b32 00`)
	key, value, rest, err := NextMetadata(wire)
	if string(key) != "K1" || string(value) != "a" || len(rest) != 4 || err != nil {
		t.Fatalf("first: %q %q, %d left, %v", key, value, len(rest), err)
	}
	if cap(key) != len(key) || cap(value) != len(value) {
		t.Error("key and value can be appended to in place")
	}
	key, value, rest, err = NextMetadata(rest)
	if string(key) != "k2" || string(value) != "" || len(rest) != 0 || err != nil {
		t.Fatalf("second: %q %q, %d left, %v", key, value, len(rest), err)
	}
}

func TestAppendMetadata(t *testing.T) {
	long := strings.Repeat("x", maxMetadataString)
	for _, tt := range []struct{ key, value, want string }{
		{"Trace-ID", "Abc", "\x08trace-id\x03Abc"},
		{"", "", "\x00\x00"},
		{"k", long, "\x01k\xff\xff" + long},
		{long, "v", "\xff\xff" + long + "\x01v"},
	} {
		got, err := AppendMetadata([]byte("before"), tt.key, tt.value)
		if want := "before" + tt.want; err != nil || string(got) != want {
			t.Errorf("%.10q=%.10q: %.20x, %v", tt.key, tt.value, got, err)
		}
	}
	for _, tt := range [][2]string{{long + "x", ""}, {"", long + "x"}} {
		if got, err := AppendMetadata([]byte("before"), tt[0], tt[1]); !errors.Is(err, ErrMetadataString) || string(got) != "before" {
			t.Errorf("key of %d and value of %d bytes: %v", len(tt[0]), len(tt[1]), err)
		}
	}
	if got := appendLower([]byte("ABC"), "DEF"); !bytes.Equal(got, []byte("ABCdef")) {
		t.Errorf("appendLower touched dst: %s", got)
	}
}

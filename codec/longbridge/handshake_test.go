package longbridge

import (
	"bytes"
	"errors"
	"testing"
)

func TestHandshakeVectors(t *testing.T) {
	tests := []struct {
		name string
		wire string
		want Handshake
	}{
		{"1 v1 protobuf", `11 09`, Handshake{Version1, Protobuf, PlatformOpenAPI, 0}},
		{"1 v2 protobuf", `12 09`, Handshake{Version2, Protobuf, PlatformOpenAPI, 0}},
		{"1 v1 JSON", `21 09`, Handshake{Version1, JSON, PlatformOpenAPI, 0}},
		{"v2 JSON", `22 00`, Handshake{Version2, JSON, PlatformUnknown, 0}},
		{"reserved and unknown platform", `11 af`, Handshake{Version1, Protobuf, 15, 10}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			for i := range wire {
				if hs, n, err := ParseHandshake(wire[:i]); hs != (Handshake{}) || n != 0 || err != nil {
					t.Errorf("prefix of %d bytes: %+v, %d, %v", i, hs, n, err)
				}
			}
			// The first packet may come in the same segment.
			hs, n, err := ParseHandshake(append(bytes.Clone(wire), 0x01))
			if hs != tt.want || n != HandshakeSize || err != nil {
				t.Errorf("%+v, %d, %v; want %+v", hs, n, err, tt.want)
			}
			if got := AppendHandshake([]byte{0xee}, tt.want); !bytes.Equal(got[1:], wire) || got[0] != 0xee {
				t.Errorf("encoded %x, want %x", got[1:], wire)
			}
		})
	}
}

func TestHandshakeFirstByte(t *testing.T) {
	for b := range 256 {
		want := b == 0x11 || b == 0x12 || b == 0x21 || b == 0x22
		if SniffByte(byte(b)) != want {
			t.Errorf("SniffByte(%02x) = %v", b, !want)
		}
		for _, src := range [][]byte{{byte(b)}, {byte(b), 9}} {
			hs, n, err := ParseHandshake(src)
			if got := err == nil; got != want {
				t.Errorf("%x: %v", src, err)
			}
			if err != nil && (!errors.Is(err, ErrHandshake) || n != 0 || hs != (Handshake{})) {
				t.Errorf("%x: %+v, %d, %v", src, hs, n, err)
			}
		}
	}
}

func TestDefaultHandshake(t *testing.T) {
	if got := AppendHandshake(nil, DefaultHandshake()); !bytes.Equal(got, unhex(t, `11 09`)) {
		t.Errorf("%x", got)
	}
}

func TestQuery(t *testing.T) {
	tests := []struct {
		version, codec, platform string
		want                     Handshake
		ok                       bool
	}{
		{"1", "1", "9", Handshake{Version1, Protobuf, PlatformOpenAPI, 0}, true},
		{"2", "2", "0", Handshake{Version2, JSON, PlatformUnknown, 0}, true},
		{"1", "1", "15", Handshake{Version1, Protobuf, 15, 0}, true},
		{"", "1", "9", Handshake{}, false},
		{"1", "", "9", Handshake{}, false},
		{"1", "1", "", Handshake{Version1, Protobuf, PlatformOpenAPI, 0}, true},
		{"", "", "", Handshake{}, false},
		{"0", "1", "9", Handshake{}, false},
		{"3", "1", "9", Handshake{}, false},
		{"1", "0", "9", Handshake{}, false},
		{"1", "3", "9", Handshake{}, false},
		{"1", "1", "16", Handshake{}, false},
		{"1", "1", "-1", Handshake{}, false},
		{"+1", "1", "9", Handshake{}, false},
		{" 1", "1", "9", Handshake{}, false},
		{"0x1", "1", "9", Handshake{}, false},
		{"257", "1", "9", Handshake{}, false}, // 1 in eight bits
		{"1", "18446744073709551617", "9", Handshake{}, false},
	}
	for _, tt := range tests {
		hs, err := ParseQuery(tt.version, tt.codec, tt.platform)
		if hs != tt.want || (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrHandshake)) {
			t.Errorf("version=%s codec=%s platform=%s: %+v, %v", tt.version, tt.codec, tt.platform, hs, err)
		}
	}
	// The order of the vendor's Go client.
	if got, want := string(AppendQuery([]byte("?"), DefaultHandshake())), "?codec=1&platform=9&version=1"; got != want {
		t.Errorf("query %s, want %s", got, want)
	}
}

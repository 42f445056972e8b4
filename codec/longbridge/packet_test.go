package longbridge

import (
	"bytes"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gzip"
)

func TestDecodeVectors(t *testing.T) {
	for _, tt := range packetVectors {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			following := append(bytes.Clone(wire), 0xff, 0xff)
			for _, src := range [][]byte{wire, following} {
				h, err := ParseHeader(src, tt.version)
				if err != nil || h != tt.header {
					t.Fatalf("header %+v, %v; want %+v", h, err, tt.header)
				}
				if h.Total() != len(wire) {
					t.Fatalf("total %d, want %d", h.Total(), len(wire))
				}
				metadata, body := h.Split(src)
				m, err := MetadataMap(metadata)
				if err != nil || !maps.Equal(m, tt.metadata) {
					t.Errorf("metadata %v, %v; want %v", m, err, tt.metadata)
				}
				body, _, err = h.Inflate(nil, body, 1024, 0)
				if err != nil || string(body) != tt.body {
					t.Errorf("body %q, %v; want %q", body, err, tt.body)
				}
			}
			if h, err := ParseMessage(wire, tt.version); err != nil || h != tt.header {
				t.Errorf("as a message: %+v, %v", h, err)
			}
			for _, msg := range [][]byte{following, wire[:len(wire)-1], nil} {
				if _, err := ParseMessage(msg, tt.version); !errors.Is(err, ErrMessageLength) {
					t.Errorf("message of %d bytes for a packet of %d: %v", len(msg), len(wire), err)
				}
			}
		})
	}
}

func appendOf(p PacketType) func([]byte, Version, Header, []byte, []byte) ([]byte, error) {
	switch p {
	case Request:
		return AppendRequest
	case Response:
		return AppendResponse
	}
	return AppendPush
}

func TestEncodeVectors(t *testing.T) {
	for _, tt := range packetVectors {
		if tt.sealed {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			var metadata []byte
			for k, v := range tt.metadata { // at most one
				var err error
				if metadata, err = AppendMetadata(nil, k, v); err != nil {
					t.Fatal(err)
				}
			}
			got, err := appendOf(tt.header.Type)([]byte("before"), tt.version, tt.header, metadata, []byte(tt.body))
			if want := "before" + string(wire); err != nil || string(got) != want {
				t.Errorf("encoded %x, %v; want %x", got, err, want)
			}
			if tt.message == nil {
				return
			}
			hs := Handshake{Version: tt.version, Codec: tt.codec}
			got, err = AppendControl([]byte("before"), hs, tt.header, tt.message)
			if want := "before" + string(wire); err != nil || string(got) != want {
				t.Errorf("control message encoded %x, %v; want %x", got, err, want)
			}
		})
	}
}

// A gzip packet given to an encoder as it came comes out as it came.
func TestEncodeGzip(t *testing.T) {
	for _, tt := range packetVectors {
		if !tt.header.Gzip || tt.header.Verify {
			continue
		}
		wire := unhex(t, tt.wire)
		_, body := tt.header.Split(wire)
		if got, err := AppendPush(nil, tt.version, tt.header, nil, body); err != nil || !bytes.Equal(got, wire) {
			t.Errorf("%s: %x, %v", tt.name, got, err)
		}
	}
}

// TestStream cuts a stream of all packets of a version in two at every place.
func TestStream(t *testing.T) {
	for _, v := range []Version{Version1, Version2} {
		var stream []byte
		var want []string
		for _, tt := range packetVectors {
			if tt.version == v {
				wire := unhex(t, tt.wire)
				stream = append(stream, wire...)
				want = append(want, string(wire))
			}
		}
		for cut := range stream {
			var got []string
			start := 0
			for _, end := range []int{cut, len(stream)} {
				for {
					h, err := ParseHeader(stream[start:end], v)
					if err != nil {
						t.Fatalf("v%d cut at %d: %v", v, cut, err)
					}
					if h.Size == 0 {
						if h != (Header{}) {
							t.Fatalf("v%d cut at %d: header %+v without a size", v, cut, h)
						}
						break
					}
					if end-start < h.Total() {
						break
					}
					got = append(got, string(stream[start:start+h.Total()]))
					start += h.Total()
				}
			}
			if len(got) != len(want) {
				t.Fatalf("v%d cut at %d: %d packets, want %d", v, cut, len(got), len(want))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Errorf("v%d cut at %d, packet %d: %x, want %x", v, cut, i, got[i], want[i])
				}
			}
		}
	}
}

func TestHeaderPrefixes(t *testing.T) {
	for _, tt := range packetVectors {
		wire := unhex(t, tt.wire)
		for i := range wire {
			h, err := ParseHeader(wire[:i], tt.version)
			if err != nil {
				t.Errorf("%s: prefix of %d bytes: %v", tt.name, i, err)
			}
			if want := i >= tt.header.Size; (h.Size != 0) != want || (want && h.Total() <= i) {
				t.Errorf("%s: prefix of %d bytes: %+v", tt.name, i, h)
			}
		}
	}
}

// Reserved bits change nothing; the documentation's e3 is a push with gzip and
// reserve 3.
func TestReservedBitsIgnored(t *testing.T) {
	for _, tt := range packetVectors {
		wire := unhex(t, tt.wire)
		wire[0] |= 0xc0
		if h, err := ParseHeader(wire, tt.version); err != nil || h != tt.header {
			t.Errorf("%s: %+v, %v", tt.name, h, err)
		}
	}
	h, err := ParseHeader(unhex(t, `e3 65 000001 00`), Version1)
	if err != nil || h.Type != Push || !h.Gzip || h.Verify {
		t.Errorf("e3: %+v, %v", h, err)
	}
	h, err = ParseHeader(unhex(t, `32 65 00000001 00 000001 00`), Version1)
	if err != nil || h.Type != Response || !h.Gzip || !h.Verify {
		t.Errorf("32: %+v, %v", h, err)
	}
}

func TestFirstByte(t *testing.T) {
	for b := range 256 {
		typ := b & 0x0f
		for _, v := range []Version{Version1, Version2} {
			h, err := ParseHeader([]byte{byte(b)}, v)
			if typ >= 1 && typ <= 3 {
				if err != nil || h.Size != 0 {
					t.Errorf("%02x: %+v, %v", b, h, err)
				}
			} else if !errors.Is(err, ErrPacketType) {
				t.Errorf("%02x: %v, want ErrPacketType", b, err)
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Run("18 gzip bit, body not gzip", func(t *testing.T) {
		wire := unhex(t, notGzip)
		h, err := ParseMessage(wire, Version1)
		if err != nil {
			t.Fatal(err)
		}
		_, body := h.Split(wire)
		if _, _, err := h.Inflate(nil, body, 1024, 0); !errors.Is(err, gzip.ErrCorrupt) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("18 two-byte length 1", func(t *testing.T) {
		wire := unhex(t, badMetadataShort)
		h, err := ParseMessage(wire, Version2)
		if err != nil {
			t.Fatal(err)
		}
		metadata, _ := h.Split(wire)
		if err := CheckMetadata(metadata); !errors.Is(err, ErrMetadataLength) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("version", func(t *testing.T) {
		for _, v := range []Version{0, 3, 255} {
			for _, src := range []string{"", "03 00 000000"} {
				if _, err := ParseHeader(unhex(t, src), v); !errors.Is(err, ErrVersion) {
					t.Errorf("version %d: %v", v, err)
				}
			}
		}
	})
}

// The largest lengths are told from the header alone.
func TestLargestHeader(t *testing.T) {
	h, err := ParseHeader(unhex(t, `31 ff ffffffff ffff ffff ffffff`), Version2)
	want := Header{
		Type: Request, Verify: true, Gzip: true, Cmd: 255, RequestID: 1<<32 - 1, Timeout: 65535,
		MetadataLen: MaxMetadataLen, BodyLen: MaxBodyLen, Size: MaxHeaderSize,
	}
	if err != nil || h != want {
		t.Errorf("%+v, %v; want %+v", h, err, want)
	}
	if got, want := h.Total(), 13+65535+16777215+24; got != want {
		t.Errorf("total %d, want %d", got, want)
	}
}

func TestSplitCannotBeAppendedTo(t *testing.T) {
	wire := unhex(t, packetVectors[0].wire)
	h := packetVectors[0].header
	metadata, body := h.Split(append(wire, 0x55))
	if cap(metadata) != len(metadata) || cap(body) != len(body) {
		t.Errorf("capacities %d and %d reach into what follows", cap(metadata), cap(body))
	}
}

func TestEncodeRefuses(t *testing.T) {
	huge := make([]byte, MaxBodyLen+1)
	tests := []struct {
		name     string
		version  Version
		header   Header
		metadata []byte
		body     []byte
		want     error
	}{
		{"body", Version1, Header{}, nil, huge, ErrBodyTooLarge},
		{"metadata", Version2, Header{}, huge[:MaxMetadataLen+1], nil, ErrMetadataTooLarge},
		{"metadata in version 1", Version1, Header{}, huge[:2], nil, ErrMetadataVersion},
		{"gzip on an empty body", Version1, Header{Gzip: true}, nil, nil, ErrGzipEmpty},
		{"version", 0, Header{}, nil, nil, ErrVersion},
		{"version 3", 3, Header{}, nil, nil, ErrVersion},
	}
	for _, tt := range tests {
		for typ := Request; typ <= Push; typ++ {
			got, err := appendOf(typ)([]byte("before"), tt.version, tt.header, tt.metadata, tt.body)
			if !errors.Is(err, tt.want) || string(got) != "before" {
				t.Errorf("%s, %v: %d bytes, %v", tt.name, typ, len(got), err)
			}
		}
	}
	got, err := AppendPush(nil, Version1, Header{}, nil, huge[:MaxBodyLen])
	if err != nil || len(got) != 5+MaxBodyLen || !bytes.Equal(got[:5], []byte{3, 0, 0xff, 0xff, 0xff}) {
		t.Errorf("largest body: %d bytes, %v", len(got), err)
	}
}

func TestVerifyIsNeverSet(t *testing.T) {
	got, err := AppendPush(nil, Version1, Header{Verify: true, Cmd: 100}, nil, []byte("x"))
	if want := unhex(t, `03 64 000001 78`); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v; want %x", got, err, want)
	}
}

func TestTimeoutOr(t *testing.T) {
	const def = 7 * time.Second
	for ms, want := range map[uint16]time.Duration{
		0: def, 1: time.Millisecond, 5000: 5 * time.Second, 60000: time.Minute, 60001: time.Minute, 65535: time.Minute,
	} {
		h := Header{Timeout: ms}
		if got := h.TimeoutOr(def); got != want {
			t.Errorf("%d ms: %v, want %v", ms, got, want)
		}
	}
}

func TestNextRequestID(t *testing.T) {
	for id, want := range map[uint32]uint32{0: 1, 1: 2, 1<<32 - 2: 1<<32 - 1, 1<<32 - 1: 1} {
		if got := NextRequestID(id); got != want {
			t.Errorf("after %d comes %d, want %d", id, got, want)
		}
	}
}

func TestControlCommands(t *testing.T) {
	for cmd, want := range map[uint8]bool{CmdClose: true, CmdHeartbeat: true, CmdAuth: true, CmdReconnect: true, 4: false, 255: false} {
		h := Header{Cmd: cmd}
		if h.Control() != want {
			t.Errorf("cmd %d: %v", cmd, !want)
		}
	}
}

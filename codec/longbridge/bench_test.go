package longbridge

import (
	"fmt"
	"strings"
	"testing"
)

// decodePlain is what a loop does with each packet it has whole.
func decodePlain(src []byte, v Version, limit int) (int, error) {
	h, err := ParseHeader(src, v)
	if err != nil {
		return 0, err
	}
	if h.Size == 0 || h.BodyLen > limit || len(src) < h.Total() {
		return 0, nil
	}
	metadata, body := h.Split(src)
	if err := CheckMetadata(metadata); err != nil {
		return 0, err
	}
	if body, _, err = h.Inflate(nil, body, limit, 0); err != nil {
		return 0, err
	}
	return h.Size + len(body), nil
}

func TestAllocations(t *testing.T) {
	for _, tt := range packetVectors {
		if tt.header.Gzip {
			continue
		}
		wire := unhex(t, tt.wire)
		if n := testing.AllocsPerRun(100, func() {
			if n, err := decodePlain(wire, tt.version, 1024); n == 0 || err != nil {
				t.Fatal(n, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations to decode", tt.name, n)
		}
		metadata, body := tt.header.Split(wire)
		dst := make([]byte, 0, len(wire))
		if n := testing.AllocsPerRun(100, func() {
			var err error
			switch tt.header.Type {
			case Request:
				_, err = AppendRequest(dst, tt.version, tt.header, metadata, body)
			case Response:
				_, err = AppendResponse(dst, tt.version, tt.header, metadata, body)
			case Push:
				_, err = AppendPush(dst, tt.version, tt.header, metadata, body)
			}
			if err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations to encode", tt.name, n)
		}
	}
	handshake, dst := []byte{0x11, 0x09}, make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		hs, _, err := ParseHandshake(handshake)
		if err != nil {
			t.Fatal(err)
		}
		dst = AppendHandshake(dst[:0], hs)
		if dst, err = AppendMetadata(dst, "Trace-ID", "abc"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for handshake and metadata", n)
	}
}

var benchSizes = []int{0, 100, 1 << 10, 64 << 10, 1 << 20}

func BenchmarkDecode(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			wire, err := AppendRequest(nil, Version1, Header{Cmd: 200, RequestID: 1}, nil, make([]byte, size))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := decodePlain(wire, Version1, MaxBodyLen); n == 0 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkDecodeMetadata(b *testing.B) {
	var metadata []byte
	for _, key := range []string{"trace-id", "accept-language", "client_version", "need_over_night_quote"} {
		metadata, _ = AppendMetadata(metadata, key, "some-value")
	}
	wire, err := AppendRequest(nil, Version2, Header{Cmd: 200, RequestID: 1}, metadata, make([]byte, 100))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := decodePlain(wire, Version2, MaxBodyLen); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkAppendPush(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			body := make([]byte, size)
			dst := make([]byte, 0, MaxHeaderSize+size)
			b.SetBytes(int64(5 + size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := AppendPush(dst, Version1, Header{Cmd: 100}, nil, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range benchSizes[2:] { // shorter bodies are not worth compressing
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			body := []byte(strings.Repeat(`{"symbol":"700.HK","price":"388.2"},`, size/36+1))
			payload, gzipped := MaybeDeflate(nil, body, 1)
			if !gzipped {
				b.Fatal("not compressed")
			}
			h := Header{Gzip: true}
			scratch := make([]byte, 0, len(body))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := h.Inflate(scratch, payload, len(body), 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkControl(b *testing.B) {
	for _, codec := range []Codec{Protobuf, JSON} {
		want := &AuthResponse{SessionID: "sess-1", Expires: 1700000000000, Limit: 10, Online: 1}
		body, err := codec.Append(nil, want)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("append/"+codec.String(), func(b *testing.B) {
			dst := make([]byte, 0, 256)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.Append(dst, want); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("unmarshal/"+codec.String(), func(b *testing.B) {
			var m AuthResponse
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := codec.Unmarshal(body, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package longbridge

import (
	"bytes"
	"reflect"
	"testing"
)

func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{`1109`, `1209`, `2109`, `22ff`, `11`, `00`, `ff09`} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		hs, n, err := ParseHandshake(src)
		if err != nil || n == 0 {
			if n != 0 || (err == nil && len(src) >= HandshakeSize) {
				t.Fatalf("n=%d err=%v for %d bytes", n, err, len(src))
			}
			return
		}
		if got := AppendHandshake(nil, hs); !bytes.Equal(got, src[:n]) {
			t.Errorf("%x came back as %x", src[:n], got)
		}
	})
}

// FuzzPacket decodes and encodes again: all but the flags and the trailer must
// come out as they went in.
func FuzzPacket(f *testing.F) {
	for _, tt := range packetVectors {
		f.Add(unhex(f, tt.wire), tt.version == Version2)
	}
	f.Add(unhex(f, notGzip), false)
	f.Add(unhex(f, badMetadataShort), true)
	f.Add([]byte{0x00}, false)
	f.Add([]byte{0xff}, true)
	f.Fuzz(func(t *testing.T, src []byte, v2 bool) {
		v := Version1
		if v2 {
			v = Version2
		}
		h, err := ParseHeader(src, v)
		if err != nil || h.Size == 0 {
			if h != (Header{}) {
				t.Fatalf("%+v with %v", h, err)
			}
			return
		}
		if h.Size > len(src) || h.Size > MaxHeaderSize || h.BodyLen > MaxBodyLen || h.MetadataLen > MaxMetadataLen {
			t.Fatalf("out of bounds: %+v", h)
		}
		if h.Total() > len(src) {
			return
		}
		metadata, body := h.Split(src)
		const limit = 1 << 16
		inflated, _, err := h.Inflate(nil, body, limit, 0)
		if err == nil && h.Gzip && len(inflated) > limit {
			t.Fatalf("inflated to %d bytes", len(inflated))
		}
		mapped, err := MetadataMap(metadata)
		if (err == nil) != (CheckMetadata(metadata) == nil) {
			t.Fatalf("map and check do not agree: %v", err)
		}
		if err == nil {
			testMetadataRoundTrip(t, mapped)
		}
		if h.Gzip && h.BodyLen == 0 {
			h.Gzip = false // an encoder refuses that
		}
		got, err := appendOf(h.Type)(nil, v, h, metadata, body)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(src[:len(got)])
		want[0] &= typeMask
		if h.Gzip {
			want[0] |= gzipBit
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%x came back as %x", want, got)
		}
	})
}

func testMetadataRoundTrip(t *testing.T, m map[string]string) {
	var wire []byte
	for k, v := range m {
		var err error
		if wire, err = AppendMetadata(wire, k, v); err != nil {
			t.Fatal(err)
		}
	}
	again, err := MetadataMap(wire)
	if err != nil || !reflect.DeepEqual(again, m) {
		t.Errorf("metadata %q came back as %q, %v", m, again, err)
	}
}

// FuzzControl decodes every message in both codecs; what one codec reads, both
// must write and read back.
func FuzzControl(f *testing.F) {
	for _, tt := range controlTests {
		f.Add([]byte(tt.protobuf))
		f.Add([]byte(tt.json))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, codec := range []Codec{Protobuf, JSON} {
			for _, m := range []Message{
				new(Close), new(Heartbeat), new(AuthRequest), new(AuthResponse),
				new(ReconnectRequest), new(ReconnectResponse), new(Error),
			} {
				if codec.Unmarshal(body, m) != nil {
					continue
				}
				for _, c := range []Codec{Protobuf, JSON} {
					testControlRoundTrip(t, c, m)
				}
			}
		}
	})
}

func testControlRoundTrip(t *testing.T, c Codec, m Message) {
	wire, err := c.Append(nil, m)
	if err != nil {
		t.Fatalf("%v of %+v: %v", c, m, err)
	}
	if len(wire) > MaxControlLen {
		return // a small message may be long in the other codec
	}
	again := zero(m)
	if err := c.Unmarshal(wire, again); err != nil {
		t.Fatalf("%v of %+v, %q: %v", c, m, wire, err)
	}
	twice, err := c.Append(nil, again)
	if err != nil || !bytes.Equal(wire, twice) {
		t.Errorf("%v: %q came back as %q, %v", c, wire, twice, err)
	}
	if c == Protobuf && !reflect.DeepEqual(normalize(again), normalize(m)) {
		t.Errorf("%v: %+v came back as %+v", c, m, again)
	}
}

// normalize makes an empty map nil: neither codec writes the difference.
func normalize(m Message) Message {
	switch m := m.(type) {
	case *AuthRequest:
		if len(m.Metadata) == 0 {
			return &AuthRequest{Token: m.Token}
		}
	case *ReconnectRequest:
		if len(m.Metadata) == 0 {
			return &ReconnectRequest{SessionID: m.SessionID}
		}
	}
	return m
}

package gosoc

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, form := range []Form{Compact, Fixed6} {
		req := SendReq{Level: LevelReply, ID: 1, Route: []byte("chat.AddMessage"), Payload: make([]byte, 1000), HasData: true, Data: make([]byte, 200)}
		wire, err := form.AppendSendReq(nil, req)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, 0, 2*len(wire))
		connect, err := form.AppendConnect(nil, Connect{Version: Version})
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]func() error{
			"Recognize": func() error { _, _, err := Recognize(connect); return err },
			"header and SendReq": func() error {
				h, err := form.ParseHeader(wire)
				if err != nil {
					return err
				}
				_, err = form.DecodeSendReq(h, wire[h.Size:h.Len()])
				return err
			},
			"AppendSendReq":  func() error { _, err := form.AppendSendReq(dst, req); return err },
			"AppendSendResp": func() error { _, err := form.AppendSendResp(dst, SendResp{ID: 1, Payload: req.Payload}); return err },
			"AppendPingResp": func() error { form.AppendPingResp(dst); return nil },
		} {
			if n := testing.AllocsPerRun(100, func() { err = errors.Join(err, f()) }); n != 0 || err != nil {
				t.Errorf("%v %s: %v allocations, %v", form, name, n, err)
			}
		}
	}
}

// FuzzPacket holds decoders and encoders against each other. flags chooses the form.
func FuzzPacket(f *testing.F) {
	for _, v := range compactVectors {
		f.Add(raw(v.wire), false)
	}
	for _, v := range fixed6Vectors {
		f.Add(raw(v.wire), true)
	}
	f.Add(raw(`6a 07 0001 01 61 01 7b 00`), false)
	f.Add(raw(`70 07 0001 8080808000`), false)
	f.Fuzz(func(t *testing.T, src []byte, fixed6 bool) {
		form := Compact
		if fixed6 {
			form = Fixed6
		}
		h, err := form.ParseHeader(src)
		if err != nil {
			checkError(t, err, src)
			return
		}
		if h.Size == 0 {
			if len(src) >= 6 {
				t.Fatal("a header of 6 bytes is not enough")
			}
			return
		}
		if h.Remaining < 0 || h.Remaining > maxRemaining || h.Size > len(src) {
			t.Fatalf("%+v of %d bytes", h, len(src))
		}
		// A packet must not care where it ends: take what there is as its body.
		h.Remaining = min(h.Remaining, len(src)-h.Size)
		p, err := decodeBody(form, h, src[h.Size:h.Len()])
		if err != nil {
			checkError(t, err, src)
			return
		}
		wire, err := encode(form, nil, p)
		if err != nil {
			t.Fatalf("%+v decoded, but not encoded: %v", p, err)
		}
		again, n, err := decode(form, wire)
		if err != nil || n != len(wire) || !same(p, again) {
			t.Fatalf("got %+v, %v\nfrom %+v", again, err, p)
		}
		// Long varints lengthen a packet, and only a missing data field shortens it: without that one
		// a packet as long as the canonical one is the canonical one. ConnAck has a byte that is ignored.
		req, _ := p.(SendReq)
		if len(wire) == h.Len() && h.Type != TypeConnAck && !(req.HasData && len(req.Data) == 0) {
			got, want := wire[len(wire)-h.Remaining:], src[h.Size:h.Len()]
			if !bytes.Equal(got, want) {
				t.Fatalf("got  %x\nfrom %x", got, want)
			}
		}
	})
}

func checkError(t *testing.T, err error, src []byte) {
	t.Helper()
	var pe *ProtocolError
	if !errors.As(err, &pe) || pe.Offset < 0 || pe.Offset > len(src) || pe.Error() == "" {
		t.Fatalf("%#v", err)
	}
}

// The largest is one byte short of 64 KiB in Fixed6, which has no longer field.
func benchSizes(f Form) []int {
	if f == Fixed6 {
		return []int{16, 256, 4 << 10, 64<<10 - 1}
	}
	return []int{16, 256, 4 << 10, 64 << 10, 1 << 20}
}

func bench(b *testing.B, run func(b *testing.B, form Form, req SendReq)) {
	for _, form := range []Form{Compact, Fixed6} {
		for _, size := range benchSizes(form) {
			b.Run(fmt.Sprintf("%v/%d", form, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				run(b, form, SendReq{Level: LevelReply, ID: 1, Route: []byte("chat.AddMessage"), Payload: make([]byte, size)})
			})
		}
	}
}

func BenchmarkDecodeSendReq(b *testing.B) {
	bench(b, func(b *testing.B, form Form, req SendReq) {
		wire, _ := form.AppendSendReq(nil, req)
		for b.Loop() {
			h, err := form.ParseHeader(wire)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := form.DecodeSendReq(h, wire[h.Size:h.Len()]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendSendReq(b *testing.B) {
	bench(b, func(b *testing.B, form Form, req SendReq) {
		dst, _ := form.AppendSendReq(nil, req)
		for b.Loop() {
			dst, _ = form.AppendSendReq(dst[:0], req)
		}
	})
}

func BenchmarkAppendSendResp(b *testing.B) {
	bench(b, func(b *testing.B, form Form, req SendReq) {
		resp := SendResp{ID: req.ID, Payload: req.Payload}
		dst, _ := form.AppendSendResp(nil, resp)
		for b.Loop() {
			dst, _ = form.AppendSendResp(dst[:0], resp)
		}
	})
}

package websocket

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// browser is the head that a browser sends, with more headers than anyone reads.
var browser = []byte(crlf(
	"GET /netsvr?token=0123456789abcdef HTTP/1.1", "Host: chat.example.com:6060", "Connection: keep-alive, Upgrade",
	"Pragma: no-cache", "Cache-Control: no-cache",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	"Upgrade: websocket", "Origin: https://www.chat.example.com", "Sec-WebSocket-Version: 13",
	"Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-US,en;q=0.5", "Sec-WebSocket-Key: "+sampleKey,
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Sec-WebSocket-Protocol: chat, superchat",
	"Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: websocket", "Sec-Fetch-Site: same-site",
))

func TestAllocs(t *testing.T) {
	var (
		s        Scratch
		plain    Reader
		deflated = NewReader(nil, true)
		buf      = make([]byte, 0, 4096)
		text     = []byte(wire{}.text("Hello, \u4e16\u754c"))
		ping     = []byte(wire{}.ping("12345678"))
		closing  = []byte(wire{}.close("\x03\xe8bye"))
		squeezed = []byte(wire{}.deflated(OpText, strings.Repeat("Hello ", 50)))
		payload  = []byte(strings.Repeat("Hello ", 50))
		in       = make([]byte, 4096)
	)
	read := func(r *Reader, src []byte, kind EventKind) func() {
		return func() {
			n := copy(in, src)
			if ev, _, err := r.Next(in[:n], &s); err != nil || ev.Kind != kind {
				t.Fatalf("%+v, %v", ev, err)
			}
			r.ended = false
		}
	}
	for _, v := range []struct {
		name   string
		pooled bool
		f      func()
	}{
		{"masked text", false, read(&plain, text, EventMessage)},
		{"half a frame", false, read(&plain, text[:len(text)-1], EventNeedMore)},
		{"ping", false, read(&plain, ping, EventPing)},
		{"close", false, read(&plain, closing, EventClose)},
		{"compressed text", true, read(&deflated, squeezed, EventMessage)},
		{"AppendFrame", false, func() { buf = AppendFrame(buf[:0], OpText, payload) }},
		{"AppendMaskedFrame", false, func() { buf = AppendMaskedFrame(buf[:0], OpText, [4]byte{1, 2, 3, 4}, payload) }},
		{"AppendDeflatedFrame", true, func() { buf = AppendDeflatedFrame(buf[:0], OpText, payload) }},
		{"AppendClose", false, func() { buf = AppendClose(buf[:0], CloseNormal, "bye") }},
		{"upgrade", false, func() {
			req, _, err := ParseUpgrade(browser, Limits{})
			if err != nil || req.Check() != nil {
				t.Fatal(err)
			}
			opts := ResponseOptions{}
			for opts.Protocol = range req.SubProtocols() {
				break
			}
			opts.Deflate, _ = NegotiateDeflate(req.Extensions)
			if _, ok := QueryGet(req.RawQuery, "token"); !ok {
				t.Fatal("no token")
			}
			buf = AppendResponse(buf[:0], &req, opts)
		}},
	} {
		v.f() // whatever is made once is made now
		if v.pooled && raceEnabled {
			continue
		}
		if n := testing.AllocsPerRun(100, v.f); n != 0 {
			t.Errorf("%s: %v allocations", v.name, n)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, size := range []int{16, 125, 1 << 10, 16 << 10, 1 << 20} {
		for _, op := range []Opcode{OpText, OpBinary} {
			// With a zero key unmasking changes nothing, so that one buffer serves again and again.
			src := AppendMaskedFrame(nil, op, [4]byte{}, bytes.Repeat([]byte("a"), size))
			b.Run(fmt.Sprintf("op=%d/size=%d", op, size), func(b *testing.B) {
				b.SetBytes(int64(len(src)))
				b.ReportAllocs()
				var r Reader
				for b.Loop() {
					if ev, _, err := r.Next(src, nil); err != nil || ev.Kind != EventMessage {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, size := range []int{16, 125, 1 << 10, 16 << 10} {
		payload := make([]byte, size)
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = AppendFrame(buf[:0], OpBinary, payload)
			}
		})
	}
}

// jsonText is size bytes of something that compresses as chat messages do.
func jsonText(size int) []byte {
	var b []byte
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, `{"id":%d,"user":"user-%d","text":"message number %x"},`, i, i*7919%1000, i*2654435761)
	}
	return b[:size]
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10, 1 << 20} {
		src := Deflate(nil, jsonText(size))
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			dst := make([]byte, 0, size)
			for b.Loop() {
				if _, err := Inflate(dst, src, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10, 1 << 20} {
		src := jsonText(size)
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				dst = Deflate(dst[:0], src)
			}
		})
	}
}

func BenchmarkUpgrade(b *testing.B) {
	b.SetBytes(int64(len(browser)))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		req, _, err := ParseUpgrade(browser, Limits{})
		if err != nil || req.Check() != nil {
			b.Fatal(err)
		}
		dst = AppendResponse(dst[:0], &req, ResponseOptions{})
	}
}

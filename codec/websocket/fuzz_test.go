package websocket

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// FuzzParseUpgrade: no head that is accepted can be read otherwise by net/http, and how it is cut
// makes no difference.
func FuzzParseUpgrade(f *testing.F) {
	for _, s := range []string{
		sample,
		sample + "behind",
		crlf("GET http://h/a?b HTTP/1.1", "Host: h"),
		crlf("POST / HTTP/1.1", "Host: h", "Content-Length: 5") + "12345",
		crlf("GET / HTTP/1.1", "Host: h", "Connection: a, ,upgrade", "Upgrade: b", "Upgrade: websocket"),
		crlf("GET / HTTP/1.1", "Host: h", "A: b", " c"),
		crlf("GET / HTTP/1.1", "Host : h"),
		"GET / HTTP/1.1\nHost: h\n\n",
		"\r\n\r\n",
	} {
		f.Add([]byte(s), 7)
	}
	f.Fuzz(func(t *testing.T, src []byte, cut int) {
		whole := bytes.Clone(src)
		req, n, err := ParseUpgrade(src, Limits{})
		if !bytes.Equal(src, whole) {
			t.Fatal("source changed")
		}
		if err != nil && n != 0 || n > len(src) || n > 8<<10 {
			t.Fatalf("n=%d, err=%v", n, err)
		}
		cut = min(max(cut, 0), len(src))
		head, from, scanErr := ScanHead(src[:cut], 0, Limits{})
		if scanErr == nil && head == 0 {
			head, _, scanErr = ScanHead(src, from, Limits{})
		}
		if scanErr != nil && err == nil || n != 0 && head != n {
			t.Fatalf("cut at %d: %d, %v; in one piece: %d, %v", cut, head, scanErr, n, err)
		}
		if n == 0 {
			return
		}
		for p := range req.SubProtocols() {
			if len(p) == 0 {
				t.Fatal("empty sub-protocol")
			}
		}
		if req.Check() != nil {
			return
		}

		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(src[:n])))
		if err != nil {
			if strings.Contains(err.Error(), "malformed Host") || strings.Contains(err.Error(), "parse ") {
				return // what net/url does not want in a host or a target
			}
			t.Fatalf("net/http refuses it: %v", err)
		}
		if std.Method != "GET" || std.RequestURI != string(req.Target) ||
			std.URL.Host == "" && std.Host != string(req.Host) || std.URL.RawQuery != string(req.RawQuery) || std.ContentLength != 0 {
			t.Fatalf("read otherwise: %+v\nnet/http: %+v", req, std)
		}
		for name, got := range map[string][]byte{"Origin": req.Origin, "Sec-Websocket-Key": req.Key, "Sec-Websocket-Version": req.Version,
			"Sec-Websocket-Protocol": req.Protocols, "Sec-Websocket-Extensions": req.Extensions, "X-Forwarded-For": req.XForwardedFor} {
			if want := strings.Join(std.Header[name], ", "); want != string(got) {
				t.Fatalf("%s: %q, net/http %q", name, got, want)
			}
		}
		resp, _, err := ParseUpgradeResponse(AppendResponse(nil, &req, ResponseOptions{Protocol: req.Protocols}), Limits{MaxHead: 16 << 10})
		if err != nil || resp.Check(string(req.Key)) != nil || string(resp.Protocol) != string(req.Protocols) {
			t.Fatalf("our answer: %v, %v", err, resp.Check(string(req.Key)))
		}
	})
}

// FuzzReader: a stream makes the same events however it is cut, within the limits.
func FuzzReader(f *testing.F) {
	for i, v := range readerVectors {
		f.Add([]byte(v.wire), uint64(i)*0x9e3779b97f4a7c15, v.deflate, v.config == skipping, v.config != nil && v.config.Client)
	}
	f.Fuzz(func(t *testing.T, stream []byte, cutting uint64, deflate, skip, client bool) {
		config := &ReaderConfig{Client: client, MaxMessage: 100, MaxFragments: 4}
		if skip {
			config.SkipLimit = 1000
		}
		whole := feed(t, NewReader(config, deflate), stream)

		var cuts []int
		for at := 0; at < len(stream); at += 1 + int(cutting%23) {
			cuts = append(cuts, at)
			cutting = cutting>>3 | cutting<<61
		}
		cut := feed(t, NewReader(config, deflate), stream, cuts...)
		if strings.Join(whole, "\n") != strings.Join(cut, "\n") {
			t.Fatalf("in one piece: %q\ncut at %v: %q", whole, cuts, cut)
		}

		r := NewReader(config, deflate)
		b := bytes.Clone(stream)
		for at := 0; ; {
			ev, n, err := r.Next(b[at:], nil)
			at += n
			if r.Buffered() > 2*100 || len(ev.Payload) > 125 {
				t.Fatalf("%d bytes held, %d delivered", r.Buffered(), len(ev.Payload))
			}
			if ev.Kind == EventMessage && len(ev.Payload) > 100 {
				t.Fatalf("message of %d bytes", len(ev.Payload))
			}
			if err != nil && CodeOf(err) == CloseInternalError {
				t.Fatalf("error without a code: %v", err)
			}
			if err != nil || ev.Kind == EventNeedMore {
				if at < len(b) && !bytes.Equal(b[at:], stream[at:]) {
					t.Fatal("unconsumed bytes were changed")
				}
				break
			}
		}
	})
}

// FuzzParseHeader: what is accepted is encoded to the same bytes.
func FuzzParseHeader(f *testing.F) {
	for _, v := range frameVectors {
		f.Add(unhexes(v.wire))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		h, n, err := ParseHeader(src)
		if n > len(src) || n > MaxHeaderSize || err != nil && n != 0 || h.Length < 0 {
			t.Fatalf("%+v, n=%d, err=%v", h, n, err)
		}
		if n > 0 && !bytes.Equal(h.Append(nil), src[:n]) {
			t.Fatalf("%x became %x", src[:n], h.Append(nil))
		}
	})
}

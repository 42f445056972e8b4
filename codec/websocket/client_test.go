package websocket

import (
	"errors"
	"testing"
)

func TestHandshakeBothSides(t *testing.T) {
	request := AppendUpgradeRequest(nil, "localhost:7000", "/gosoc", sampleKey,
		Header{"Origin", "http://localhost"}, Header{"Sec-WebSocket-Extensions", DeflateOffer})
	req, n, err := ParseUpgrade(request, Limits{})
	if err != nil || n != len(request) || req.Check() != nil || string(req.Origin) != "http://localhost" || string(req.Path) != "/gosoc" {
		t.Fatalf("%+v, %v, %v", req, err, req.Check())
	}
	params, err := NegotiateDeflate(req.Extensions)
	if err != nil || !params.Accepted {
		t.Fatalf("%+v, %v", params, err)
	}
	answer := AppendResponse(nil, &req, ResponseOptions{Deflate: params})
	head := len(answer)
	answer = AppendFrame(answer, OpPing, nil)
	for i := range head {
		if _, n, err := ParseUpgradeResponse(answer[:i], Limits{}); n != 0 || err != nil {
			t.Fatalf("prefix of %d bytes: n=%d, err=%v", i, n, err)
		}
	}
	resp, n, err := ParseUpgradeResponse(answer, Limits{})
	if err != nil || n != head || resp.Status != 101 || resp.ContentLength != -1 {
		t.Fatalf("%+v, n=%d, err=%v", resp, n, err)
	}
	if err := resp.Check(sampleKey); err != nil {
		t.Error(err)
	}
	if err := resp.Check("AAAAAAAAAAAAAAAAAAAAAA=="); err != ErrAccept {
		t.Errorf("another key: %v", err)
	}
	if ok, err := AcceptedDeflate(resp.Extensions); !ok || err != nil {
		t.Errorf("deflate: %v, %v", ok, err)
	}
	if string(resp.Header("upgrade")) != "websocket" {
		t.Errorf("Upgrade: %q", resp.Header("upgrade"))
	}
}

func TestParseUpgradeResponse(t *testing.T) {
	refusal := AppendRefusal(nil, 503, "Service shutdown")
	resp, n, err := ParseUpgradeResponse(refusal, Limits{})
	if err != nil || resp.ContentLength != 16 || string(refusal[n:]) != "Service shutdown" {
		t.Fatalf("%+v, n=%d, err=%v", resp, n, err)
	}
	var r *Refusal
	if err := resp.Check(sampleKey); !errors.As(err, &r) || r.Status != 503 || r.Reason != "Service Unavailable" {
		t.Errorf("Check: %v", err)
	}

	for _, v := range []struct {
		name, src string
		parse     error
		check     error
	}{
		{"no phrase", crlf("HTTP/1.1 101"), nil, ErrNotUpgrade},
		{"no connection", crlf("HTTP/1.1 101 x", "Upgrade: websocket"), nil, ErrNotUpgrade},
		{"no accept", crlf("HTTP/1.1 101 x", "Upgrade: websocket", "Connection: upgrade"), nil, ErrAccept},
		{"two accepts", crlf("HTTP/1.1 101 x", "Sec-WebSocket-Accept: a", "Sec-WebSocket-Accept: a"), ErrDuplicateHeader, nil},
		{"two protocols", crlf("HTTP/1.1 101 x", "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"), ErrDuplicateHeader, nil},
		{"no status", crlf("HTTP/1.1"), ErrStatusLine, nil},
		{"four digits", crlf("HTTP/1.1 1010 x"), ErrStatusLine, nil},
		{"status 099", crlf("HTTP/1.1 099 x"), ErrStatusLine, nil},
		{"no HTTP", crlf("SSH-2.0-OpenSSH"), ErrStatusLine, nil},
		{"length", crlf("HTTP/1.1 400 x", "Content-Length: x"), ErrHeaderLine, nil},
		{"line feeds", "HTTP/1.1 101 x\n\n", ErrBareLF, nil},
		{"folded", crlf("HTTP/1.1 101 x", "A: b", " c"), ErrHeaderLine, nil},
	} {
		resp, _, err := ParseUpgradeResponse([]byte(v.src), Limits{})
		if err != v.parse {
			t.Errorf("%s: %v, want %v", v.name, err, v.parse)
		}
		if err == nil && resp.Check(sampleKey) != v.check {
			t.Errorf("%s: %v, want %v", v.name, resp.Check(sampleKey), v.check)
		}
	}
}

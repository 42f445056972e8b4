package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// crlf ends every line of s as HTTP does, and the head with a blank line.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 1.3

// sample is the handshake of RFC 6455 1.3.
var sample = crlf(
	"GET /chat?room=1&name=a%20b HTTP/1.1",
	"Host: server.example.com",
	"Upgrade: websocket",
	"Connection: Upgrade",
	"Sec-WebSocket-Key: "+sampleKey,
	"Origin: http://example.com",
	"Sec-WebSocket-Protocol: chat, superchat",
	"Sec-WebSocket-Version: 13",
)

func TestParseUpgrade(t *testing.T) {
	src := sample + "\x81\x80\x00\x00\x00\x00"
	req, n, err := ParseUpgrade([]byte(src), Limits{})
	if err != nil || n != len(sample) {
		t.Fatalf("n=%d of %d, err=%v", n, len(sample), err)
	}
	for _, f := range []struct{ name, got, want string }{
		{"Method", string(req.Method), "GET"},
		{"Target", string(req.Target), "/chat?room=1&name=a%20b"},
		{"Path", string(req.Path), "/chat"},
		{"RawQuery", string(req.RawQuery), "room=1&name=a%20b"},
		{"Host", string(req.Host), "server.example.com"},
		{"Origin", string(req.Origin), "http://example.com"},
		{"Key", string(req.Key), sampleKey},
		{"Version", string(req.Version), "13"},
		{"Protocols", string(req.Protocols), "chat, superchat"},
		{"Header", string(req.Header("upgrade")), "websocket"},
	} {
		if f.got != f.want {
			t.Errorf("%s = %q, want %q", f.name, f.got, f.want)
		}
	}
	if !req.Upgrade || !req.Connection || req.Body || req.Extensions != nil || req.XForwardedFor != nil || req.Header("cookie") != nil {
		t.Errorf("%+v", req)
	}
	var offered []string
	for p := range req.SubProtocols() {
		offered = append(offered, string(p))
	}
	if !slices.Equal(offered, []string{"chat", "superchat"}) {
		t.Errorf("sub-protocols %q", offered)
	}
	if refusal := req.Check(); refusal != nil {
		t.Error(refusal)
	}
}

func TestParseUpgradePrefixes(t *testing.T) {
	for i := range len(sample) {
		if _, n, err := ParseUpgrade([]byte(sample[:i]), Limits{}); n != 0 || err != nil {
			t.Fatalf("prefix of %d bytes: n=%d, err=%v", i, n, err)
		}
	}
}

// TestScanHead: however the head is cut, it is found, and what was looked at is not looked at
// again.
func TestScanHead(t *testing.T) {
	src := []byte(sample + "behind")
	for a := range len(src) {
		n, next, err := ScanHead(src[:a], 0, Limits{})
		if want := a >= len(sample); (n != 0) != want || err != nil || !want && next != a {
			t.Fatalf("%d bytes: n=%d, next=%d, err=%v", a, n, next, err)
		}
		if n == 0 {
			n, _, err = ScanHead(src, next, Limits{})
		}
		if n != len(sample) || err != nil {
			t.Fatalf("cut at %d: n=%d, err=%v", a, n, err)
		}
	}
	from, n := 0, 0
	for i := range src {
		var err error
		if n, from, err = ScanHead(src[:i], from, Limits{}); err != nil || n == 0 && from != i {
			t.Fatalf("%d bytes, one by one: from=%d, err=%v", i, from, err)
		}
		if n != 0 {
			break
		}
	}
	if n != len(sample) {
		t.Errorf("one by one: n=%d", n)
	}
}

func TestParseUpgradeMalformed(t *testing.T) {
	const line, host = "GET / HTTP/1.1", "Host: a"
	for _, v := range []struct {
		name, src string
		want      *Refusal
	}{
		{"nothing", "\r\n\r\n", ErrRequestLine},
		{"blank line first", "\r\n" + crlf(line, host), ErrRequestLine},
		{"HTTP/2.0", crlf("PRI * HTTP/2.0"), ErrHTTPVersion},
		{"HTTP/1.1x", crlf("GET / HTTP/1.1x", host), ErrRequestLine},
		{"http/1.1", crlf("GET / http/1.1", host), ErrRequestLine},
		{"HTTP/0.9", crlf("GET /"), ErrRequestLine},
		{"two spaces", crlf("GET  / HTTP/1.1", host), ErrRequestLine},
		{"space in the target", crlf("GET /a b HTTP/1.1", host), ErrRequestLine},
		{"space behind the version", crlf("GET / HTTP/1.1 ", host), ErrRequestLine},
		{"tab", crlf("GET\t/ HTTP/1.1", host), ErrRequestLine},
		{"method no token", crlf("G(T / HTTP/1.1", host), ErrRequestLine},
		{"no method", crlf(" / HTTP/1.1", host), ErrRequestLine},
		{"no target", crlf("GET  HTTP/1.1", host), ErrRequestLine},
		{"fragment", crlf("GET /#a HTTP/1.1", host), ErrRequestLine},
		{"control character in the target", crlf("GET /\x01 HTTP/1.1", host), ErrRequestLine},
		{"carriage return in the target", crlf("GET /\r HTTP/1.1", host), ErrRequestLine},
		{"asterisk", crlf("GET * HTTP/1.1", host), ErrRequestLine},
		{"authority", crlf("GET a:80 HTTP/1.1", host), ErrRequestLine},
		{"absolute without host", crlf("GET http:///a HTTP/1.1", host), ErrRequestLine},
		{"absolute without anything", crlf("GET http:// HTTP/1.1", host), ErrRequestLine},
		{"absolute with a user", crlf("GET http://a@b/ HTTP/1.1", host), ErrRequestLine},
		{"absolute with a malformed port", crlf("GET http://a:x/ HTTP/1.1", host), ErrRequestLine},
		{"authority of nobody", crlf("CONNECT / a:80 HTTP/1.1", host), ErrRequestLine},
		{"absolute of another scheme", crlf("GET ftp://a/ HTTP/1.1", host), ErrRequestLine},

		{"line feeds only", "GET / HTTP/1.1\nHost: a\n\n", ErrBareLF},
		{"line feed in a header", crlf(line, host, "A: b\nC: d"), ErrBareLF},
		{"first byte a line feed", "\n", ErrBareLF},
		{"carriage return in a header", crlf(line, host, "A: b\rC: d"), ErrHeaderLine},
		{"NUL in a header", crlf(line, host, "A: b\x00"), ErrHeaderLine},
		{"DEL in a header", crlf(line, host, "A: b\x7f"), ErrHeaderLine},
		{"folded line", crlf(line, host, "A: b", " c"), ErrHeaderLine},
		{"folded with a tab", crlf(line, host, "A: b", "\tc: d"), ErrHeaderLine},
		{"space before the colon", crlf(line, "Host : a"), ErrHeaderLine},
		{"tab before the colon", crlf(line, "Host\t: a"), ErrHeaderLine},
		{"no colon", crlf(line, host, "abc"), ErrHeaderLine},
		{"no name", crlf(line, host, ": a"), ErrHeaderLine},
		{"name no token", crlf(line, host, "a(b): c"), ErrHeaderLine},
		{"name not ASCII", crlf(line, host, "\xc5\xbf: c"), ErrHeaderLine},
		{"length no number", crlf(line, host, "Content-Length: 1a"), ErrHeaderLine},
		{"length negative", crlf(line, host, "Content-Length: -1"), ErrHeaderLine},
		{"two lengths in one", crlf(line, host, "Content-Length: 0, 0"), ErrHeaderLine},
		{"length empty", crlf(line, host, "Content-Length:"), ErrHeaderLine},

		{"two hosts", crlf(line, host, "host: b"), ErrDuplicateHeader},
		{"the same host twice", crlf(line, host, host), ErrDuplicateHeader},
		{"an empty host and another", crlf(line, "Host:", host), ErrDuplicateHeader},
		{"two keys", crlf(line, host, "Sec-WebSocket-Key: a", "sec-websocket-key: b"), ErrDuplicateHeader},
		{"two origins", crlf(line, host, "Origin: a", "Origin: a"), ErrDuplicateHeader},
		{"two versions", crlf(line, host, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"), ErrDuplicateHeader},
	} {
		req, n, err := ParseUpgrade([]byte(v.src), Limits{})
		if err != v.want || n != 0 {
			t.Errorf("%s: n=%d, err=%v, want %v", v.name, n, err, v.want)
		}
		if req.Method != nil || req.headers != nil {
			t.Errorf("%s: a request came with the error", v.name)
		}
	}
}

func TestParseUpgradeLimits(t *testing.T) {
	size := len(sample)
	for _, v := range []struct {
		name   string
		limits Limits
		src    string
		want   error
	}{
		{"just fits", Limits{MaxHead: size}, sample + "behind", nil},
		{"one byte too long", Limits{MaxHead: size - 1}, sample, ErrHeadTooLarge},
		{"endless line", Limits{}, "GET /" + strings.Repeat("a", 8<<10), ErrHeadTooLarge},
		{"may still fit", Limits{}, "GET /" + strings.Repeat("a", 8<<10-6), nil},
		{"all lines allowed", Limits{MaxHeaders: 7}, sample, nil},
		{"a line too many", Limits{MaxHeaders: 6}, sample, ErrManyHeaders},
		{"64 lines", Limits{}, crlf("GET / HTTP/1.1" + strings.Repeat("\r\nA: b", 64)), nil},
		{"65 lines", Limits{}, crlf("GET / HTTP/1.1" + strings.Repeat("\r\nA: b", 65)), ErrManyHeaders},
	} {
		_, _, err := ParseUpgrade([]byte(v.src), v.limits)
		if err == nil && v.want == nil || errors.Is(err, v.want) {
			continue
		}
		t.Errorf("%s: %v, want %v", v.name, err, v.want)
	}
}

// change is the sample with the line that begins with name replaced; "" takes it out.
func change(name, line string) string {
	var out []string
	for l := range strings.SplitSeq(strings.TrimSuffix(sample, "\r\n\r\n"), "\r\n") {
		if strings.HasPrefix(l, name) {
			l = line
		}
		if l != "" {
			out = append(out, l)
		}
	}
	return crlf(out...)
}

func TestRequestCheck(t *testing.T) {
	for _, v := range []struct {
		name, src string
		want      *Refusal
	}{
		{"RFC 6455 1.3", sample, nil},
		{"Firefox", change("Connection", "Connection: keep-alive, Upgrade"), nil},
		{"case does not matter", strings.NewReplacer("Upgrade", "uPGRADE", "websocket", "WebSocket", "Sec-", "SEC-", "Host", "hOST").Replace(sample), nil},
		{"tokens on several lines", change("Connection", "Connection: keep-alive\r\nConnection: upgrade"), nil},
		{"no spaces", strings.ReplaceAll(sample, ": ", ":"), nil},
		{"more spaces", strings.ReplaceAll(sample, ": ", ": \t "), nil},
		{"spaces at the end", strings.ReplaceAll(sample, "13", "13 \t"), nil},
		{"absolute target", change("GET", "GET http://server.example.com/chat HTTP/1.1"), nil},
		{"length 0", change("Origin", "Content-Length: 0"), nil},
		{"no origin", change("Origin", ""), nil},
		{"a name longer than any we know", change("Origin", strings.Repeat("x", 1000)+": a"), nil},
		{"Latin-1 in a header", change("Origin", "User-Agent: caf\xe9"), nil},

		{"POST", change("GET", "POST /chat HTTP/1.1"), ErrMethod},
		{"POST with a body", change("GET", "POST /chat HTTP/1.1\r\nContent-Length: 5"), ErrMethod},
		{"HEAD", change("GET", "HEAD /chat HTTP/1.1"), ErrMethod},
		{"OPTIONS *", change("GET", "OPTIONS * HTTP/1.1"), ErrMethod},
		{"CONNECT", change("GET", "CONNECT a.example:443 HTTP/1.1"), ErrMethod},
		{"get", change("GET", "get /chat HTTP/1.1"), ErrUnknownMethod},
		{"BREW", change("GET", "BREW /chat HTTP/1.1"), ErrUnknownMethod},
		{"HTTP/1.0", change("GET", "GET /chat HTTP/1.0"), ErrHTTPVersion},
		{"HTTP/1.2", change("GET", "GET /chat HTTP/1.2"), nil},
		{"HTTP/1.9", change("GET", "GET /chat HTTP/1.9"), nil},
		{"body", change("Origin", "Content-Length: 5"), ErrBody},
		{"lengths 0 and 5", change("Origin", "Content-Length: 0\r\nContent-Length: 5"), ErrBody},
		{"lengths 5 and 0", change("Origin", "Content-Length: 5\r\nContent-Length: 0"), ErrBody},
		{"chunked", change("Origin", "Transfer-Encoding: chunked"), ErrBody},
		{"identity", change("Origin", "transfer-encoding: identity"), ErrBody},
		{"no host", change("Host", ""), ErrNoHost},
		{"empty host", change("Host", "Host:"), ErrHost},
		{"host and port", change("Host", "Host: a.example:8080"), nil},
		{"host and no port", change("Host", "Host: a.example:"), nil},
		{"host that is an IPv6 address", change("Host", "Host: [::1]:80"), nil},
		{"host with an underline", change("Host", "Host: a_b"), nil},
		{"host with a percent code", change("Host", "Host: a%20b"), nil},
		{"host with a space", change("Host", "Host: a b"), ErrHost},
		{"two hosts in a line", change("Host", "Host: a,b"), ErrHost},
		{"host with a path", change("Host", "Host: a/b"), ErrHost},
		{"host with a user", change("Host", "Host: a@b"), ErrHost},
		{"host with a scheme", change("Host", "Host: http://a"), ErrHost},
		{"host with half a percent code", change("Host", "Host: a%2"), ErrHost},
		{"host not ASCII", change("Host", "Host: caf\xc3\xa9"), ErrHost},
		{"port only", change("Host", "Host: :80"), ErrHost},
		{"port no number", change("Host", "Host: a:b"), ErrHost},
		{"port too high", change("Host", "Host: a:65536"), ErrHost},
		{"two ports", change("Host", "Host: a:1:2"), ErrHost},
		{"half an IPv6 address", change("Host", "Host: [::1"), ErrHost},
		{"no IPv6 address", change("Host", "Host: [a.example]"), ErrHost},
		{"something behind an IPv6 address", change("Host", "Host: [::1]a"), ErrHost},
		{"no upgrade", change("Upgrade", ""), ErrNoUpgrade},
		{"other upgrade", change("Upgrade", "Upgrade: h2c"), ErrNoUpgrade},
		{"upgrade only contains the word", change("Upgrade", "Upgrade: xwebsocket"), ErrNoUpgrade},
		{"no connection", change("Connection", ""), ErrNoUpgrade},
		{"connection only contains the word", change("Connection", "Connection: upgraded"), ErrNoUpgrade},
		{"no version", change("Sec-WebSocket-Version", ""), ErrVersion},
		{"version 8", change("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), ErrVersion},
		{"two versions", change("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8"), ErrVersion},
		{"version before key", strings.ReplaceAll(change("Sec-WebSocket-Version", ""), sampleKey, ""), ErrVersion},
		{"no key", change("Sec-WebSocket-Key", ""), ErrKey},
		{"empty key", change("Sec-WebSocket-Key", "Sec-WebSocket-Key:"), ErrKey},
		{"key of 15 bytes", change("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), ErrKey},
		{"key of 17 bytes", change("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXg="), ErrKey},
		{"key of 18 bytes", change("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXh4"), ErrKey},
		{"key no base64", change("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q=="), ErrKey},
		{"sub-protocol no token", change("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: a, b c"), ErrSubProtocol},
	} {
		req, n, err := ParseUpgrade([]byte(v.src), Limits{})
		if err != nil || n != len(v.src) {
			t.Errorf("%s: n=%d of %d, err=%v", v.name, n, len(v.src), err)
			continue
		}
		if got := req.Check(); got != v.want {
			t.Errorf("%s: %v, want %v", v.name, got, v.want)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, v := range []struct{ target, path, query string }{
		{"/", "/", ""},
		{"/v2?version=1&codec=1&platform=9", "/v2", "version=1&codec=1&platform=9"},
		{"/?a=b?c", "/", "a=b?c"},
		{"/?", "/", ""},
		{"//a/b", "//a/b", ""},
		{"http://host:80/a?b", "/a", "b"},
		{"WSS://host", "/", ""},
		{"ws://host?b=/c", "/", "b=/c"},
		{"/caf\xc3\xa9", "/caf\xc3\xa9", ""},
	} {
		req, _, err := ParseUpgrade([]byte(crlf("GET "+v.target+" HTTP/1.1")), Limits{})
		if err != nil || string(req.Path) != v.path || string(req.RawQuery) != v.query || string(req.Target) != v.target {
			t.Errorf("%s: path %q, query %q, err=%v", v.target, req.Path, req.RawQuery, err)
		}
	}
}

func TestListsOnSeveralLines(t *testing.T) {
	req, _, err := ParseUpgrade([]byte(crlf("GET / HTTP/1.1",
		"Sec-WebSocket-Protocol: a , ,b", "Sec-WebSocket-Protocol: c",
		"X-Forwarded-For: 1.1.1.1", "Sec-WebSocket-Extensions: x", "X-Forwarded-For: 2.2.2.2, 3.3.3.3",
		"Sec-WebSocket-Extensions: permessage-deflate")), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var offered []string
	for p := range req.SubProtocols() {
		offered = append(offered, string(p))
	}
	if !slices.Equal(offered, []string{"a", "b", "c"}) {
		t.Errorf("sub-protocols %q", offered)
	}
	for range req.SubProtocols() { // stops when told to
		break
	}
	if string(req.XForwardedFor) != "1.1.1.1, 2.2.2.2, 3.3.3.3" || string(req.Extensions) != "x, permessage-deflate" {
		t.Errorf("%q, %q", req.XForwardedFor, req.Extensions)
	}
}

func TestAppendResponse(t *testing.T) {
	req, _, _ := ParseUpgrade([]byte(sample), Limits{})
	want := "before" + crlf("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") // RFC 6455 1.3
	if got := string(AppendResponse([]byte("before"), &req, ResponseOptions{})); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	want = crlf(strings.TrimSuffix(want[len("before"):], "\r\n\r\n"), "Sec-WebSocket-Protocol: chat",
		"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15")
	opts := ResponseOptions{Protocol: []byte("chat"), Deflate: DeflateParams{Accepted: true, ServerMaxWindowBits: true}}
	if got := string(AppendResponse(nil, &req, opts)); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestAppendRefusal(t *testing.T) {
	for _, v := range []struct {
		status       int
		reason, want string
	}{
		{503, "Service shutdown", crlf("HTTP/1.1 503 Service Unavailable", "Connection: close",
			"Content-Type: text/plain; charset=utf-8", "Content-Length: 16") + "Service shutdown"},
		{405, "", crlf("HTTP/1.1 405 Method Not Allowed", "Allow: GET, HEAD", "Connection: close",
			"Content-Type: text/plain; charset=utf-8", "Content-Length: 0")},
		{501, "", crlf("HTTP/1.1 501 Not Implemented", "Allow: GET, HEAD", "Connection: close",
			"Content-Type: text/plain; charset=utf-8", "Content-Length: 0")},
		{426, "old", crlf("HTTP/1.1 426 Upgrade Required", "Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: close, Upgrade",
			"Content-Type: text/plain; charset=utf-8", "Content-Length: 3") + "old"},
		{418, "x", crlf("HTTP/1.1 418 ", "Connection: close",
			"Content-Type: text/plain; charset=utf-8", "Content-Length: 1") + "x"},
	} {
		if got := string(AppendRefusal(nil, v.status, v.reason)); got != v.want {
			t.Errorf("got  %q\nwant %q", got, v.want)
		}
		r, head := &Refusal{v.status, v.reason}, strings.TrimSuffix(v.want, v.reason)
		if got := string(r.AppendHead(nil)); got != head {
			t.Errorf("to HEAD: got %q\nwant %q", got, head)
		}
	}
	for _, r := range []*Refusal{ErrHeadTooLarge, ErrHTTPVersion, ErrMethod, ErrVersion, ErrKey} {
		if statusText(r.Status) == "" {
			t.Errorf("no phrase for %d", r.Status)
		}
		if want := fmt.Sprintf("websocket: upgrade refused: %d %s", r.Status, r.Reason); r.Error() != want {
			t.Errorf("%q", r.Error())
		}
		if !bytes.HasSuffix(r.Append(nil), []byte("\r\n\r\n"+r.Reason)) {
			t.Errorf("%v: %q", r, r.Append(nil))
		}
	}
}

func ExampleParseUpgrade() {
	src := AppendUpgradeRequest(nil, "example.com", "/netsvr?token=a%2Bb", sampleKey,
		Header{"Sec-WebSocket-Protocol", "chat"})

	req, n, err := ParseUpgrade(src, Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if refusal := req.Check(); refusal != nil {
		fmt.Printf("%s", refusal.Append(nil))
		return
	}
	token, _ := QueryGet(req.RawQuery, "token")
	fmt.Printf("%s, token %s, %d bytes behind the head\n", req.Path, token, len(src)-n)
	answer := AppendResponse(nil, &req, ResponseOptions{Protocol: req.Protocols})
	fmt.Printf("%s", bytes.ReplaceAll(answer, []byte("\r"), nil))
	// Output:
	// /netsvr, token a+b, 0 bytes behind the head
	// HTTP/1.1 101 Switching Protocols
	// Upgrade: websocket
	// Connection: Upgrade
	// Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
	// Sec-WebSocket-Protocol: chat
}

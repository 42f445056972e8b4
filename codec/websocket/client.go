package websocket

import (
	"bytes"
	"errors"
)

// A Header is a line of an HTTP head.
type Header struct{ Name, Value string }

// AppendUpgradeRequest appends a client's opening handshake (RFC 6455 4.1). key is 16 random bytes
// in base64, target a path with its query. Nothing is escaped or checked.
func AppendUpgradeRequest(dst []byte, host, target, key string, extra ...Header) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	dst = append(dst, key...)
	for _, h := range extra {
		dst = append(dst, "\r\n"...)
		dst = append(dst, h.Name...)
		dst = append(dst, ": "...)
		dst = append(dst, h.Value...)
	}
	return append(dst, "\r\n\r\n"...)
}

// A Response is the head of a server's answer. All slices borrow the bytes it was parsed from.
type Response struct {
	Status        int
	Phrase        []byte
	Accept        []byte // Sec-WebSocket-Accept
	Protocol      []byte // Sec-WebSocket-Protocol
	Extensions    []byte // Sec-WebSocket-Extensions
	ContentLength int64  // of the body that follows unless Status is 101; -1: not said

	upgrade, connection bool
	headers             []byte
}

// What can be wrong with a server's answer, besides its head.
var (
	ErrStatusLine = errors.New("websocket: malformed status line")
	ErrNotUpgrade = errors.New("websocket: answer 101 is not an upgrade to websocket")
	ErrAccept     = errors.New("websocket: Sec-WebSocket-Accept does not match the key")
)

// ParseUpgradeResponse reads the head of a server's answer at the front of src, n bytes of it. n ==
// 0 with a nil error means that src ends within the head. Behind it there are frames, or the body
// of a refusal. What is wrong with the head is told with the errors of ParseUpgrade.
func ParseUpgradeResponse(src []byte, limits Limits) (resp Response, n int, err error) {
	n, _, err = ScanHead(src, 0, limits)
	if n == 0 || err != nil {
		return Response{}, 0, err
	}
	line, headers := cutLine(src[:n])
	if err := resp.parseLine(line); err != nil {
		return Response{}, 0, err
	}
	resp.ContentLength = -1
	f := fields{rest: headers, left: limits.maxHeaders()}
	for f.next() {
		if err := resp.take(f.name, f.value); err != nil {
			return Response{}, 0, err
		}
	}
	if f.err != nil {
		return Response{}, 0, f.err
	}
	resp.headers = headers
	return resp, n, nil
}

// parseLine reads "HTTP/1.1 101 Switching Protocols"; the phrase may be missing.
func (r *Response) parseLine(line []byte) error {
	version, rest, _ := bytes.Cut(line, []byte{' '})
	status, phrase, _ := bytes.Cut(rest, []byte{' '})
	code, ok := parseLength(status)
	if !isVersion(version) || !ok || len(status) != 3 || code < 100 {
		return ErrStatusLine
	}
	r.Status, r.Phrase = int(code), phrase
	return nil
}

func (r *Response) take(name, value []byte) error {
	var buf [longestName]byte
	switch string(lower(&buf, name)) {
	case "sec-websocket-accept":
		return once(&r.Accept, value)
	case "sec-websocket-protocol":
		return once(&r.Protocol, value)
	case "sec-websocket-extensions":
		r.Extensions = join(r.Extensions, value)
	case "upgrade":
		r.upgrade = r.upgrade || has(value, "websocket")
	case "connection":
		r.connection = r.connection || has(value, "upgrade")
	case "content-length":
		length, ok := parseLength(value)
		if !ok {
			return ErrHeaderLine
		}
		r.ContentLength = length
	}
	return nil
}

// Header is the value of the first header line called name, written in lower case, or nil.
func (r *Response) Header(name string) []byte { return find(r.headers, name) }

// Check says why the connection is not upgraded (RFC 6455 4.1): a *Refusal with the status and the
// phrase if that is not 101, or ErrNotUpgrade, or ErrAccept. key is that of the request.
func (r *Response) Check(key string) error {
	if r.Status != 101 {
		return &Refusal{r.Status, string(r.Phrase)}
	}
	if !r.upgrade || !r.connection {
		return ErrNotUpgrade
	}
	if string(r.Accept) != string(appendAccept(nil, []byte(key))) {
		return ErrAccept
	}
	return nil
}

package websocket

import (
	"bytes"
	"encoding/base64"
	"iter"
)

// A Request is the head of an HTTP request, as far as it matters to an upgrade. All slices borrow
// the bytes it was parsed from; nil says that there is no such header.
type Request struct {
	Method   []byte
	Minor    byte   // of the version, HTTP/1.Minor: 1 for all later ones
	Target   []byte // as sent
	Path     []byte // of Target, undecoded
	RawQuery []byte // of Target, undecoded, without the '?'

	Host          []byte
	Origin        []byte
	Key           []byte // Sec-WebSocket-Key
	Version       []byte // Sec-WebSocket-Version
	Protocols     []byte // Sec-WebSocket-Protocol, the lines joined; see SubProtocols
	Extensions    []byte // Sec-WebSocket-Extensions, the lines joined
	XForwardedFor []byte // the lines joined
	Forwarded     []byte // the lines joined; see Client
	Traceparent   []byte // W3C Trace Context; the lines joined, which several must not be

	Upgrade    bool // the Upgrade header names websocket
	Connection bool // the Connection header names upgrade
	Body       bool // a body is announced, so what follows the head is no frame

	headers []byte
}

// ParseUpgrade reads the HTTP request head at the front of src, n bytes of it. n == 0 with a nil
// error means that src ends within the head; when heads may come in many small pieces, ScanHead
// tells cheaply whether it is time to ask. Whatever follows the head, frames perhaps, is not looked
// at.
//
// Any well-formed request of HTTP/1 is accepted, Check tells upgrades from others. Refused is
// what two parsers might read differently: other versions, lines not ending in CR LF, folded lines,
// spaces before a colon, control characters, and a second Host, Origin, Sec-WebSocket-Key or
// -Version. A later minor version counts as 1.1 (RFC 9110 2.5). The error is a *Refusal.
func ParseUpgrade(src []byte, limits Limits) (req Request, n int, err error) {
	n, _, err = ScanHead(src, 0, limits)
	if n == 0 || err != nil {
		return Request{}, 0, err
	}
	line, headers := cutLine(src[:n])
	if err := req.parseLine(line); err != nil {
		return Request{}, 0, err
	}
	f := fields{rest: headers, left: limits.maxHeaders()}
	for f.next() {
		if err := req.take(f.name, f.value); err != nil {
			return Request{}, 0, err
		}
	}
	if f.err != nil {
		return Request{}, 0, f.err
	}
	req.headers = headers
	return req, n, nil
}

// parseLine reads "GET /path?query HTTP/1.1" (RFC 9112 3).
func (r *Request) parseLine(line []byte) error {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	target, version, ok2 := bytes.Cut(rest, []byte{' '})
	if !ok || !ok2 || !isToken(method) {
		return ErrRequestLine
	}
	switch {
	case !isVersion(version):
		return ErrRequestLine
	case version[5] != '1':
		return ErrHTTPVersion
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f || c == '#' {
			return ErrRequestLine
		}
	}
	local, ok := localPart(target)
	if !ok && !otherForm(method, target) {
		return ErrRequestLine
	}
	r.Method, r.Target, r.Minor = method, target, min(version[7]-'0', 1)
	r.Path, r.RawQuery, _ = bytes.Cut(local, []byte{'?'})
	return nil
}

// isVersion reports whether b has the form HTTP/d.d.
func isVersion(b []byte) bool {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	return len(b) == 8 && string(b[:5]) == "HTTP/" && digit(b[5]) && b[6] == '.' && digit(b[7])
}

// localPart is path and query of a target in origin form, "/chat", or in absolute form,
// "http://host/chat", which a server must understand too (RFC 9112 3.2.2).
func localPart(target []byte) ([]byte, bool) {
	if len(target) > 0 && target[0] == '/' {
		return target, true
	}
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !equalFold(scheme, "http") && !equalFold(scheme, "https") &&
		!equalFold(scheme, "ws") && !equalFold(scheme, "wss") {
		return nil, false
	}
	i := bytes.IndexAny(rest, "/?")
	if i < 0 {
		i = len(rest)
	}
	switch authority, local := rest[:i], rest[i:]; {
	case !validHost(authority):
		return nil, false
	case len(local) > 0 && local[0] == '/':
		return local, true
	default:
		return append([]byte{'/'}, local...), true
	}
}

// otherForm reports whether target has one of the forms that belong to one method: "*" and
// host:port (RFC 9112 3.2.3, 3.2.4). Neither method is served, but they are no malformed requests.
func otherForm(method, target []byte) bool {
	switch string(method) {
	case "OPTIONS":
		return string(target) == "*"
	case "CONNECT":
		return validHost(target)
	}
	return false
}

// take keeps a header line.
func (r *Request) take(name, value []byte) error {
	var buf [longestName]byte
	switch string(lower(&buf, name)) {
	case "host":
		return once(&r.Host, value)
	case "origin":
		return once(&r.Origin, value)
	case "sec-websocket-key":
		return once(&r.Key, value)
	case "sec-websocket-version":
		return once(&r.Version, value)
	case "sec-websocket-protocol":
		r.Protocols = join(r.Protocols, value)
	case "sec-websocket-extensions":
		r.Extensions = join(r.Extensions, value)
	case "x-forwarded-for":
		r.XForwardedFor = join(r.XForwardedFor, value)
	case "forwarded":
		r.Forwarded = join(r.Forwarded, value)
	case "traceparent":
		r.Traceparent = join(r.Traceparent, value)
	case "upgrade":
		r.Upgrade = r.Upgrade || has(value, "websocket")
	case "connection":
		r.Connection = r.Connection || has(value, "upgrade")
	case "transfer-encoding":
		r.Body = true
	case "content-length":
		length, ok := parseLength(value)
		if !ok {
			return ErrHeaderLine
		}
		r.Body = r.Body || length > 0
	}
	return nil
}

// once keeps the value of a header that must not be there twice.
func once(field *[]byte, value []byte) error {
	if *field != nil {
		return ErrDuplicateHeader
	}
	*field = value
	return nil
}

// parseLength reads a Content-Length, which is digits only.
func parseLength(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// Header is the value of the first header line called name, written in lower case, or nil. It walks
// all lines: it is for the few headers that have no field.
func (r *Request) Header(name string) []byte { return find(r.headers, name) }

// SubProtocols are the sub-protocols the client offers, best first. They borrow r.
func (r *Request) SubProtocols() iter.Seq[[]byte] { return Elements(r.Protocols) }

// CheckHTTP says why r, upgrade or not, is no request that a server of GET and HEAD without bodies
// can serve, or returns nil. HTTP/1.0 will do, without a Host too.
func (r *Request) CheckHTTP() *Refusal {
	switch {
	case r.Host == nil && r.Minor > 0:
		return ErrNoHost
	case r.Host != nil && !validHost(r.Host):
		return ErrHost
	}
	switch string(r.Method) {
	case "GET", "HEAD":
	case "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE":
		return ErrMethod
	default:
		return ErrUnknownMethod
	}
	if r.Body {
		return ErrBody
	}
	return nil
}

// Plain reports whether r does not even ask for an upgrade to WebSocket, as a load balancer's probe.
func (r *Request) Plain() bool { return !r.Upgrade && r.Key == nil && r.Version == nil }

// ValidSubProtocol reports whether name can be a sub-protocol: a token of HTTP.
func ValidSubProtocol(name string) bool { return isToken([]byte(name)) }

// Check says why r is not the opening handshake of RFC 6455 4.2.1, or returns nil if it is. A
// caller that has refusals of its own, of the path perhaps, may come before or after it.
func (r *Request) Check() *Refusal {
	if no := r.CheckHTTP(); no != nil {
		return no
	}
	switch {
	case string(r.Method) != "GET":
		return ErrMethod
	case r.Minor == 0:
		return ErrHTTPVersion
	case !r.Upgrade || !r.Connection:
		return ErrNoUpgrade
	case string(r.Version) != "13":
		return ErrVersion
	case !validKey(r.Key):
		return ErrKey
	}
	for p := range r.SubProtocols() {
		if !isToken(p) {
			return ErrSubProtocol
		}
	}
	return nil
}

const keySize = 24 // base64 of 16 bytes

func validKey(key []byte) bool {
	var raw [18]byte // what the decoder may write
	if len(key) != keySize {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], key)
	return n == 16 && err == nil
}

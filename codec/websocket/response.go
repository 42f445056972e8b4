package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"strconv"
)

// A Refusal is an HTTP answer that is not 101, and why.
type Refusal struct {
	Status int
	Reason string // the body of the answer
}

func (r *Refusal) Error() string {
	return "websocket: upgrade refused: " + strconv.Itoa(r.Status) + " " + r.Reason
}

// Append appends the answer to send; the connection is to be closed behind it.
func (r *Refusal) Append(dst []byte) []byte { return AppendRefusal(dst, r.Status, r.Reason) }

// AppendHead appends the answer to a HEAD request: Append's without its body.
func (r *Refusal) AppendHead(dst []byte) []byte { return appendHead(dst, r.Status, len(r.Reason)) }

// What can be wrong with a request head. The first group comes from ParseUpgrade and ScanHead, the
// second from Request.Check, the last from NegotiateDeflate. ErrHTTPVersion is of the first, too.
var (
	ErrHeadTooLarge    = &Refusal{431, "Request head too large"}
	ErrManyHeaders     = &Refusal{431, "Too many headers"}
	ErrBareLF          = &Refusal{400, "Line without carriage return"}
	ErrRequestLine     = &Refusal{400, "Malformed request line"}
	ErrHeaderLine      = &Refusal{400, "Malformed header"}
	ErrDuplicateHeader = &Refusal{400, "Duplicate header"}

	ErrHTTPVersion   = &Refusal{505, "HTTP/1.1 required"}
	ErrNoHost        = &Refusal{400, "Host required"}
	ErrHost          = &Refusal{400, "Malformed Host"}
	ErrMethod        = &Refusal{405, "Method not allowed"}
	ErrUnknownMethod = &Refusal{501, "Unknown method"}
	ErrBody          = &Refusal{400, "Request body not allowed"}
	ErrNoUpgrade     = &Refusal{426, "WebSocket upgrade required"}
	ErrVersion       = &Refusal{426, "WebSocket version 13 required"}
	ErrKey           = &Refusal{400, "Sec-WebSocket-Key is not 16 bytes in base64"}
	ErrSubProtocol   = &Refusal{400, "Malformed Sec-WebSocket-Protocol"}

	ErrExtensions = &Refusal{400, "Malformed Sec-WebSocket-Extensions"}
)

// ResponseOptions is what a server chose of a client's offer. The zero value is nothing.
type ResponseOptions struct {
	Protocol []byte        // one of Request.SubProtocols; empty: none
	Deflate  DeflateParams // of NegotiateDeflate
}

// AppendResponse appends the server's answer to a request that Check found nothing wrong with (RFC
// 6455 4.2.2). Behind it frames may follow.
func AppendResponse(dst []byte, req *Request, opts ResponseOptions) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\n"+
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, req.Key)
	if len(opts.Protocol) > 0 {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, opts.Protocol...)
	}
	if opts.Deflate.Accepted {
		dst = append(dst, "\r\nSec-WebSocket-Extensions: "...)
		dst = opts.Deflate.append(dst)
	}
	return append(dst, "\r\n\r\n"...)
}

// guid is what a server appends to the client's key (RFC 6455 1.3).
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// appendAccept appends the proof that key was read.
func appendAccept(dst, key []byte) []byte {
	var buf [keySize + len(guid)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), guid...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// AppendRefusal appends a whole HTTP answer that is no upgrade, with reason as its body, byte for
// byte. It announces the end of the connection, which the caller is to bring about. 405, 426 and
// 501 carry the headers that tell what would do instead.
func AppendRefusal(dst []byte, status int, reason string) []byte {
	return append(appendHead(dst, status, len(reason)), reason...)
}

// appendHead appends the head of an answer with a body of length bytes.
func appendHead(dst []byte, status, length int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, statusText(status)...)
	switch status {
	case 405, 501:
		dst = append(dst, "\r\nAllow: GET, HEAD\r\nConnection: close"...)
	case 426:
		dst = append(dst, "\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: close, Upgrade"...)
	default:
		dst = append(dst, "\r\nConnection: close"...)
	}
	dst = append(dst, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(length), 10)
	return append(dst, "\r\n\r\n"...)
}

// statusText is the phrase of RFC 9110 15 for the statuses a gateway refuses with.
func statusText(status int) string {
	switch status {
	case 200:
		return "OK"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 413:
		return "Content Too Large"
	case 426:
		return "Upgrade Required"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 505:
		return "HTTP Version Not Supported"
	}
	return "" // the phrase may be empty (RFC 9112 4)
}

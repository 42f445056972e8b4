package websocket

import (
	"bytes"
	"iter"

	"github.com/gobwas/httphead"
)

// Limits bounds an HTTP head. The zero value is the defaults.
type Limits struct {
	MaxHead    int // bytes, the blank line included; zero or less means 8 KiB
	MaxHeaders int // header lines; zero or less means 64
}

func (l Limits) maxHead() int {
	if l.MaxHead <= 0 {
		return 8 << 10
	}
	return l.MaxHead
}

func (l Limits) maxHeaders() int {
	if l.MaxHeaders <= 0 {
		return 64
	}
	return l.MaxHeaders
}

// ScanHead looks for the end of the head at the front of src: n is its length, with the blank line,
// or 0 if src ends within it. from is 0 at first and then the next of the call before, with more
// bytes behind the same ones, so that every byte is looked at once however slowly they come. A line
// that does not end in CR LF and a head beyond the limit are refused at once.
func ScanHead(src []byte, from int, limits Limits) (n, next int, err error) {
	end := min(len(src), limits.maxHead())
	for i := min(from, end); ; i++ {
		lf := bytes.IndexByte(src[i:end], '\n')
		if lf < 0 {
			break
		}
		i += lf
		if i == 0 || src[i-1] != '\r' {
			return 0, from, ErrBareLF
		}
		if i >= 3 && src[i-2] == '\n' {
			return i + 1, i + 1, nil
		}
	}
	if len(src) >= limits.maxHead() {
		return 0, from, ErrHeadTooLarge
	}
	return 0, len(src), nil
}

// cutLine takes a line off head, of which ScanHead has said that all lines end in CR LF.
func cutLine(head []byte) (line, rest []byte) {
	i := bytes.IndexByte(head, '\n')
	return head[:i-1], head[i+1:]
}

// fields walks the header lines of a head (RFC 9112 5).
type fields struct {
	rest        []byte // up to the end of the blank line
	left        int    // lines allowed
	name, value []byte
	err         error
}

// next goes on to the next header line. When it reports false, err says whether that was the end.
func (f *fields) next() bool {
	line, rest := cutLine(f.rest)
	switch {
	case len(line) == 0:
		return false
	case f.left == 0:
		f.err = ErrManyHeaders
		return false
	}
	f.rest = rest
	f.left--
	colon := bytes.IndexByte(line, ':')
	// A line that begins with a space continues the one before (obs-fold): its name is no token.
	if colon < 0 || !isToken(line[:colon]) {
		f.err = ErrHeaderLine
		return false
	}
	f.name, f.value = line[:colon], trim(line[colon+1:])
	for _, c := range f.value {
		if c < ' ' && c != '\t' || c == 0x7f {
			f.err = ErrHeaderLine
			return false
		}
	}
	return true
}

// find is the value of the first header line called name, which is in lower case.
func find(headers []byte, name string) []byte {
	f := fields{rest: headers, left: -1}
	for len(headers) > 0 && f.next() {
		if equalFold(f.name, name) {
			return f.value
		}
	}
	return nil
}

// longestName is the length of the longest header name that is told apart.
const longestName = len("sec-websocket-extensions")

// lower is name in lower case, in buf, or nothing if it is none we know.
func lower(buf *[longestName]byte, name []byte) []byte {
	if len(name) > longestName {
		return nil
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		buf[i] = c
	}
	return buf[:len(name)]
}

// Elements are the members of a comma-separated header value, trimmed, empty ones left out.
func Elements(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for more := true; more; {
			var e []byte
			e, list, more = bytes.Cut(list, []byte{','})
			if e = trim(e); len(e) > 0 && !yield(e) {
				return
			}
		}
	}
}

// has reports whether list has the member token, which is in lower case.
func has(list []byte, token string) bool {
	for e := range Elements(list) {
		if equalFold(e, token) {
			return true
		}
	}
	return false
}

// join is what a list-valued header says that stands on several lines (RFC 9110 5.3).
func join(list, more []byte) []byte {
	if list == nil {
		return more
	}
	joined := make([]byte, 0, len(list)+2+len(more))
	joined = append(joined, list...)
	joined = append(joined, ", "...)
	return append(joined, more...)
}

// trim takes off the white space that may surround a header value.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// isToken reports whether b is a token (RFC 9110 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if !httphead.OctetTypes[c].IsToken() {
			return false
		}
	}
	return len(b) > 0
}

// equalFold compares ASCII without regard to case; s is in lower case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

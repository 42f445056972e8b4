package websocket

import "bytes"

// DeflateParams is the permessage-deflate that a server agrees to (RFC 7692 7.1): always without
// context takeover on both sides. A client must obey client_no_context_takeover in the answer even
// if it did not offer it (7.1.1.2).
type DeflateParams struct {
	Accepted bool
	// ServerMaxWindowBits: the offer names server_max_window_bits=15, and the answer must too.
	ServerMaxWindowBits bool
}

const extensionName = "permessage-deflate"

// DeflateOffer is what a client that reads and writes like this package offers.
const DeflateOffer = extensionName + "; server_no_context_takeover; client_no_context_takeover"

func (p DeflateParams) append(dst []byte) []byte {
	dst = append(dst, DeflateOffer...)
	if p.ServerMaxWindowBits {
		dst = append(dst, "; server_max_window_bits=15"...)
	}
	return dst
}

// NegotiateDeflate picks the first offer of permessage-deflate in a Sec-WebSocket-Extensions header
// that can be honoured. Offers with unknown, repeated or malformed parameters are passed over, and
// those that ask for a server window below 15 bits. Other extensions are ignored.
// A header that breaks the grammar is ErrExtensions, and RFC 6455 9.1 wants the upgrade refused.
func NegotiateDeflate(extensions []byte) (DeflateParams, error) {
	var chosen DeflateParams
	s := extensionScanner{rest: extensions}
	for s.next() {
		e := s.extension
		if chosen.Accepted || !e.deflate || e.bad || e.serverBits != 0 && e.serverBits != maxWindowBits {
			continue
		}
		chosen = DeflateParams{Accepted: true, ServerMaxWindowBits: e.serverBits != 0}
	}
	if s.malformed {
		return DeflateParams{}, ErrExtensions
	}
	return chosen, nil
}

// AcceptedDeflate reports whether a server's Sec-WebSocket-Extensions header agrees to
// DeflateOffer. An answer that was not offered, or that lets the server keep its
// context, is ErrExtensions.
func AcceptedDeflate(extensions []byte) (bool, error) {
	s := extensionScanner{rest: extensions}
	if !s.next() && !s.malformed {
		return false, nil
	}
	e := s.extension
	if s.malformed || !e.deflate || e.bad || !e.serverNoContext || e.clientBits || s.next() || s.malformed {
		return false, ErrExtensions
	}
	return true, nil
}

const (
	minWindowBits = 8
	maxWindowBits = 15
)

// An extension is a member of the header; the fields besides deflate are meaningless unless it is
// permessage-deflate.
type extension struct {
	deflate         bool
	bad             bool // a parameter is unknown, repeated, or has a wrong value
	serverNoContext bool
	clientNoContext bool
	serverBits      int // 0: not given
	clientBits      bool
}

// param notes a parameter. hasValue tells "name=" something from "name".
func (e *extension) param(name, value []byte, hasValue bool) {
	flag := func(seen *bool, ok bool) {
		if *seen || !ok {
			e.bad = true
		}
		*seen = true
	}
	switch string(name) {
	case "server_no_context_takeover":
		flag(&e.serverNoContext, !hasValue)
	case "client_no_context_takeover":
		flag(&e.clientNoContext, !hasValue)
	case "client_max_window_bits":
		flag(&e.clientBits, !hasValue || windowBits(value) != 0)
	case "server_max_window_bits":
		bits := windowBits(value)
		if bits == 0 || e.serverBits != 0 {
			e.bad = true
		}
		e.serverBits = bits
	default:
		e.bad = true
	}
}

// windowBits reads 8 to 15, without leading zeros; anything else is 0.
func windowBits(b []byte) int {
	n := 0
	switch {
	case len(b) == 1:
		n = int(b[0]) - '0'
	case len(b) == 2 && b[0] == '1':
		n = 10 + int(b[1]) - '0'
		if b[1] < '0' {
			return 0
		}
	}
	if n < minWindowBits || n > maxWindowBits {
		return 0
	}
	return n
}

// An extensionScanner walks a header of this grammar (RFC 6455 9.1):
//
//	list      = #extension
//	extension = token *( ";" token [ "=" ( token | quoted-string ) ] )
type extensionScanner struct {
	rest      []byte
	malformed bool
	extension extension
}

func (s *extensionScanner) next() bool {
	for s.accept(',') {
	}
	if len(s.rest) == 0 {
		return false
	}
	s.extension = extension{deflate: equalFold(s.token(), extensionName)}
	for s.accept(';') {
		name, value, hasValue := s.token(), []byte(nil), false
		if s.accept('=') {
			value, hasValue = s.value(), true
		}
		s.extension.param(name, value, hasValue)
	}
	if s.malformed || len(s.rest) > 0 && !s.accept(',') {
		s.malformed, s.rest = true, nil
		return false
	}
	return true
}

// accept takes c, if it is next but for white space.
func (s *extensionScanner) accept(c byte) bool {
	s.rest = trim(s.rest)
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = trim(s.rest[1:])
	return true
}

func (s *extensionScanner) token() []byte {
	n := 0
	for n < len(s.rest) && isToken(s.rest[n:n+1]) {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	s.malformed = s.malformed || n == 0
	return token
}

// value takes a token or a quoted-string, which must be a token once its quoting is undone.
func (s *extensionScanner) value() []byte {
	if len(s.rest) == 0 || s.rest[0] != '"' {
		return s.token()
	}
	s.rest = s.rest[1:]
	end := bytes.IndexByte(s.rest, '"')
	if end < 0 {
		s.malformed = true
		return nil
	}
	// A quote is no token character: the first one ends the string or makes it malformed,
	// with a backslash before it too.
	value := s.rest[:end]
	s.rest = s.rest[end+1:]
	if bytes.IndexByte(value, '\\') >= 0 {
		value = unquote(value)
	}
	s.malformed = s.malformed || !isToken(value)
	return value
}

// unquote undoes backslashes: each stands for the byte behind it.
func unquote(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			i++
			if i == len(b) {
				return nil
			}
		}
		out = append(out, b[i])
	}
	return out
}

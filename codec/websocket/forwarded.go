package websocket

import (
	"bytes"
	"net/netip"
	"strconv"
)

// A ForwardedHeader says which header a request's client is read from.
type ForwardedHeader uint8

// The headers. Which one the proxies write is for the operator to say: what they do not write comes
// from the client as it likes.
const (
	AnyForwarded      ForwardedHeader = iota // X-Forwarded-For where there is one, else Forwarded
	XForwardedForOnly                        // Forwarded is ignored
	ForwardedOnly                            // X-Forwarded-For is ignored
)

// ErrForwarded is the Refusal of a Forwarded header that breaks its grammar (RFC 7239, 4).
var ErrForwarded = &Refusal{Status: 400, Reason: "Malformed Forwarded header"}

// Client returns who r's client is, as the proxies on its way have told: the last address in the header
// that is not trusted, each hop having added the one that it was reached from. trusted reports
// whether an address is that of a proxy whose word counts; whoever r came from must be one. When
// all are trusted, it is the first. A hop that does not say an address, such as "unknown" or
// "_hidden", ends the way: the client is the one behind it, which has said so. The result is
// invalid when that is whoever r came from.
//
// An error is ErrForwarded.
func (r *Request) Client(header ForwardedHeader, trusted func(netip.Addr) bool) (netip.AddrPort, error) {
	w := way{trusted: trusted, open: true}
	switch {
	case header != ForwardedOnly && r.XForwardedFor != nil:
		for rest, more := r.XForwardedFor, true; more; {
			var node []byte
			node, rest, more = bytes.Cut(rest, []byte{','})
			w.hop(parseNode(string(bytes.Trim(node, " \t"))))
		}
	case header != XForwardedForOnly && r.Forwarded != nil:
		if !eachForwarded(r.Forwarded, w.hop) {
			return netip.AddrPort{}, ErrForwarded
		}
	}
	return w.client, nil
}

// A way is that of a request, from its client to us. It is gone along once, from the first hop to the
// last: each that is not trusted may have made up all before it.
type way struct {
	trusted func(netip.Addr) bool
	client  netip.AddrPort // as it looks so far; invalid: whoever the request came from
	open    bool           // the next hop is the client, trusted or not
}

// hop takes the next hop, with an invalid address if it does not say one.
func (w *way) hop(a netip.AddrPort) {
	switch {
	case !a.IsValid():
		w.client, w.open = netip.AddrPort{}, true
	case w.open || !w.trusted(a.Addr()):
		w.client, w.open = a, false
	}
}

// parseNode reads an address with or without a port, IPv6 in brackets where there is one (RFC 7239, 6,
// and what is written into X-Forwarded-For). The port is 0 if there is none, or it is hidden. An
// invalid result is anything else.
func parseNode(text string) netip.AddrPort {
	if a, err := netip.ParseAddr(text); err == nil {
		return plainNode(a, 0)
	}
	host, port := text, ""
	if i := lastColon(text); i >= 0 {
		host, port = text[:i], text[i+1:]
		if port == "" {
			return netip.AddrPort{}
		}
	}
	bracketed := len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']'
	if bracketed {
		host = host[1 : len(host)-1]
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Is6() != bracketed {
		return netip.AddrPort{}
	}
	if port == "" || port[0] == '_' {
		return plainNode(a, 0)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}
	}
	return plainNode(a, uint16(n))
}

// lastColon is where a port begins, -1 when there is none: the colons of IPv6 are within brackets.
func lastColon(text string) int {
	for i := len(text) - 1; i >= 0 && text[i] != ']'; i-- {
		if text[i] == ':' {
			return i
		}
	}
	return -1
}

func plainNode(a netip.Addr, port uint16) netip.AddrPort {
	if a.Zone() != "" {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), port)
}

// eachForwarded calls hop for each element of a Forwarded header, from the first to the last. It
// reports false when the header breaks the grammar, be it in what a client has put before what
// proxies have added: where an element begins is known from the first on only.
func eachForwarded(b []byte, hop func(netip.AddrPort)) bool {
	for more := true; more; {
		var node []byte
		has := false
		for { // the pairs of an element
			b = bytes.TrimLeft(b, " \t")
			if len(b) == 0 || b[0] == ',' { // an empty list, or an empty element
				break
			}
			if b[0] == ';' {
				b = b[1:]
				continue
			}
			name, value, rest, ok := cutPair(b)
			if !ok {
				return false
			}
			if equalFold(name, "for") {
				if has {
					return false
				}
				node, has = value, true
			}
			b = bytes.TrimLeft(rest, " \t")
			if len(b) > 0 && b[0] != ';' && b[0] != ',' {
				return false
			}
		}
		hop(parseNode(string(node)))
		if more = len(b) > 0; more {
			b = b[1:]
		}
	}
	return true
}

// cutPair reads name=value at the front of b, where value is a token or a quoted string.
func cutPair(b []byte) (name, value, rest []byte, ok bool) {
	name, rest, ok = bytes.Cut(b, []byte{'='})
	if !ok || !isToken(name) || len(rest) == 0 {
		return nil, nil, nil, false
	}
	if rest[0] != '"' {
		end := bytes.IndexAny(rest, ",; \t")
		if end < 0 {
			end = len(rest)
		}
		// Unquoted addresses with a port are no tokens, and common.
		return name, rest[:end], rest[end:], end > 0 && bytes.IndexByte(rest[:end], '"') < 0
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			if value = rest[1:i]; bytes.IndexByte(value, '\\') >= 0 {
				value = unquote(value)
			}
			return name, value, rest[i+1:], true
		}
	}
	return nil, nil, nil, false
}

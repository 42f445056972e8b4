package proxyproto

import (
	"bytes"
	"net/netip"
	"strconv"
)

// lineLength is Length of what begins like version 1.
func lineLength(src []byte) (int, error) {
	if err := matches(src, line); err != nil {
		return 0, err
	}
	head := src[:min(len(src), MaxLine)]
	switch end := bytes.IndexAny(head, "\r\n"); {
	case end < 0 && len(head) == MaxLine, end == MaxLine-1:
		return 0, malformed(MaxLine, ErrLineTooLong)
	case end < 0 || end == len(head)-1 && head[end] == '\r':
		return 0, nil
	case head[end] != '\r' || head[end+1] != '\n':
		return 0, malformed(end, ErrLineEnd)
	default:
		return end + 2, nil
	}
}

// decodeLine reads a whole line.
func decodeLine(src []byte) (Header, error) {
	const unknown, tcp4, tcp6 = "UNKNOWN", "TCP4", "TCP6"
	h := Header{Version: 1, Command: Proxy, Transport: Stream}
	f := fields{src[:len(src)-2], len(line), false}
	switch protocol := f.next(); string(protocol) {
	case unknown: // whatever follows is of no meaning
		h.Transport = UnspecTransport
		return h, nil
	case tcp4:
		h.Family = Inet
	case tcp6:
		h.Family = Inet6
	default:
		return Header{}, malformed(len(line), ErrProtocol)
	}
	var addrs [2]netip.Addr
	for i := range addrs {
		at := f.off
		var ok bool
		if addrs[i], ok = h.Family.parse(string(f.next())); !ok {
			return Header{}, malformed(at, ErrAddress)
		}
	}
	var ports [2]uint16
	for i := range ports {
		at := f.off
		var ok bool
		if ports[i], ok = parsePort(string(f.next())); !ok {
			return Header{}, malformed(at, ErrPort)
		}
	}
	if f.short || f.off != len(src)-1 {
		return Header{}, malformed(min(f.off, len(src)-2), ErrFields)
	}
	h.Source = netip.AddrPortFrom(addrs[0], ports[0])
	h.Destination = netip.AddrPortFrom(addrs[1], ports[1])
	return h, nil
}

// fields are those of a line, with one space between them.
type fields struct {
	line  []byte // without its end
	off   int    // where the next one begins; one beyond the line's end when there is none
	short bool   // one was asked for that is not there
}

func (f *fields) next() []byte {
	if f.off > len(f.line) {
		f.short = true
		return nil
	}
	field := f.line[f.off:]
	if end := bytes.IndexByte(field, ' '); end >= 0 {
		field = field[:end]
	}
	f.off += len(field) + 1
	return field
}

// parse reads an address of family f.
func (f Family) parse(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4() != (f == Inet) {
		return netip.Addr{}, false
	}
	return a, true
}

// parsePort reads a port, which has neither a sign nor leading zeros.
func parsePort(text string) (uint16, bool) {
	if len(text) > 1 && text[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil
}

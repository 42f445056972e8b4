package websocket

import "bytes"

// validHost reports whether b is host or host:port as a Host header may have it (RFC 9110 7.2),
// but for a comma: that is two hosts which somebody has joined. The host is not empty.
func validHost(b []byte) bool {
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 2 || !only(string(b[1:end]), "abcdefABCDEF0123456789:.") {
			return false
		}
		port := b[end+1:]
		return len(port) == 0 || port[0] == ':' && validPort(port[1:])
	}
	host, port, _ := bytes.Cut(b, []byte{':'})
	return validName(host) && validPort(port)
}

// validName reports whether b is a registered name or an IPv4 address (RFC 3986 3.2.2).
func validName(b []byte) bool {
	const others = "-._~!$&'()*+;="
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', bytes.IndexByte([]byte(others), c) >= 0:
		case c == '%' && i+2 < len(b) && unhex(b[i+1]) >= 0 && unhex(b[i+2]) >= 0:
			i += 2
		default:
			return false
		}
	}
	return len(b) > 0
}

// validPort reports whether b is a port, or nothing, which a Host may end in behind its colon.
func validPort(b []byte) bool {
	n, ok := parseLength(b)
	return len(b) == 0 || ok && n <= 65535
}

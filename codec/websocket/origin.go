package websocket

import (
	"bytes"
	"strings"
)

// OriginAllowed reports whether a page of origin may connect: its host must be one of hosts or a
// subdomain of one. Scheme, port and case do not matter, on either side. Without hosts everything
// is allowed; with hosts, an absent Origin, "null", and what is not scheme://host[:port] are not.
//
// A list checked by substring lets good.example.evil.test in for good.example; this one does not.
func OriginAllowed(origin []byte, hosts []string) bool {
	if len(hosts) == 0 {
		return true
	}
	_, authority, ok := bytes.Cut(origin, []byte("://"))
	if !ok {
		return false
	}
	host := hostOf(string(authority))
	if host == "" {
		return false
	}
	for _, h := range hosts {
		if _, authority, ok := strings.Cut(h, "://"); ok {
			h = authority
		}
		if h = hostOf(h); h != "" && underHost(host, h) {
			return true
		}
	}
	return false
}

// ValidOriginHost reports whether OriginAllowed can ever find h: it is host[:port], with a scheme or
// without.
func ValidOriginHost(h string) bool {
	if _, authority, ok := strings.Cut(h, "://"); ok {
		h = authority
	}
	return hostOf(h) != ""
}

// underHost reports whether host is parent or a subdomain of it. An address in brackets has no
// subdomains, for none can end in one.
func underHost(host, parent string) bool {
	n := len(host) - len(parent)
	return n >= 0 && strings.EqualFold(host[n:], parent) && (n == 0 || host[n-1] == '.')
}

// hostOf is the host of host[:port], where an IPv6 address is in brackets, or nothing if there is
// something else in it. The dot that may end a full domain name is left out.
func hostOf(authority string) string {
	host, port, ok := authority, "", false
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return ""
		}
		host, port = authority[:end+1], authority[end+1:]
		if port, ok = strings.CutPrefix(port, ":"); !ok && port != "" {
			return ""
		}
		if !only(host[1:end], "abcdefABCDEF0123456789:.") {
			return ""
		}
	} else {
		host, port, _ = strings.Cut(authority, ":")
		host = strings.TrimSuffix(host, ".")
		if !only(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") {
			return ""
		}
	}
	if !only(port, "0123456789") {
		return ""
	}
	return host
}

// only reports whether all bytes of s are in set.
func only(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

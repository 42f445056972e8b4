package doctor

import (
	"net/netip"
	"net/url"
	"strings"
)

// A PlainLogin is a login provider that asks another machine without TLS.
type PlainLogin struct {
	Host string // whom it asks
	Keys bool   // for keys; otherwise about each login
}

// ReadPlainLogin looks for one in a --login. Nothing is one that asks nobody, or this machine.
func ReadPlainLogin(login string) (p PlainLogin, ok bool) {
	kind, rest, _ := strings.Cut(login, ":")
	var text string
	switch kind {
	case "http":
		if text = rest; strings.HasPrefix(rest, "//") {
			text = login
		}
	case "jwt":
		p.Keys = true
		for item := range strings.SplitSeq(rest, ",") {
			if name, value, _ := strings.Cut(item, "="); name == "jwks" {
				text = value
			}
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || isLoopback(u.Hostname()) {
		return p, false
	}
	p.Host = u.Host
	return p, true
}

// isLoopback reports whether a host can be nobody but this machine.
func isLoopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") // RFC 6761 section 6.3
}

// What says it in a line.
func (p PlainLogin) What() string {
	if p.Keys {
		return "--login jwt: the keys come from " + p.Host + " without TLS"
	}
	return "--login http: tokens go to " + p.Host + " without TLS, and verdicts come back"
}

// Why says what follows.
func (p PlainLogin) Why() string {
	if p.Keys {
		return "whoever is on the way can put keys of his own in their place, and be any user"
	}
	return "whoever is on the way can read the tokens, and say who is let in as whom"
}

// Fix is the flag to give instead.
func (p PlainLogin) Fix() string {
	if p.Keys {
		return "--login jwt:jwks=https://..."
	}
	return "--login https://..."
}

// plainLogin looks for a provider that asks another machine without TLS.
func (e *exam) plainLogin() []Finding {
	if e.Flags == nil {
		return nil
	}
	p, ok := ReadPlainLogin(e.Flags.text("login"))
	if !ok {
		return fine("no login is decided by what comes over a network without TLS")
	}
	return is(Warning, p.What(), p.Why(), p.Fix())
}

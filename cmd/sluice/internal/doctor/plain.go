package doctor

import (
	"net/url"
	"strings"

	"github.com/sluicenet/sluice/internal/loopback"
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
	p.Host = plainHost(text, "http")
	return p, p.Host != ""
}

// plainHost returns the host of a URL with this scheme, with its port, unless it is this machine.
func plainHost(text, scheme string) string {
	u, err := url.Parse(withoutUser(text))
	if err != nil || u.Scheme != scheme || loopback.Host(u.Hostname()) {
		return ""
	}
	return u.Host
}

// withoutUser is a URL without user and password. A gateway that runs shows something in their place
// with which it is no URL.
func withoutUser(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	return scheme + "://" + rest[strings.LastIndexByte(host, '@')+1:]
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

// clusterTLS looks for NATS servers on other machines that are spoken to without TLS. One file of
// --cluster-ca, --cluster-cert and --cluster-key is enough for all of them to be asked for it.
func (e *exam) clusterTLS() []Finding {
	servers := e.Flags.list("cluster")
	if len(servers) == 0 {
		return nil
	}
	for _, name := range []string{"cluster-ca", "cluster-cert", "cluster-key"} {
		if e.Flags.text(name) != "" {
			return fine("TLS is asked for by --%s", name)
		}
	}
	var plain []string
	for _, list := range servers {
		for text := range strings.SplitSeq(list, ",") {
			if host := plainHost(strings.TrimSpace(text), "nats"); host != "" {
				plain = append(plain, host)
			}
		}
	}
	if plain == nil {
		return fine("over TLS, or on this machine")
	}
	return is(Warning, "--cluster: what gateways publish goes to "+strings.Join(plain, ", ")+" without TLS",
		"whoever is on the way can read it, and publish to every client", "--cluster tls://...   # or --cluster-ca FILE")
}

// collectorTLS looks for a collector on another machine that spans go to without TLS.
func (e *exam) collectorTLS() []Finding {
	text := e.Flags.text("otlp")
	if text == "" || text == "none" {
		return nil
	}
	if host := plainHost(text, "http"); host != "" {
		return is(Warning, "--otlp: spans go to "+host+" without TLS",
			"whoever is on the way can read who logs in from where, and the collector's secret", "--otlp https://...")
	}
	return fine("over TLS, or on this machine")
}

package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forTokens lets a call for a login token through to h if its Host and its key allow it: the API key,
// the key of a user, or an operator's token of the full role.
func (s *Server) forTokens(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.loopback.Load() && !hostAllowed(r.Host, s.host) {
			fail(w, http.StatusForbidden, "this host name is not served here: use localhost or an IP address")
			return
		}
		switch user, answered := s.caller(w, r); {
		case answered:
			return
		case user != "":
			onlyGet(func(w http.ResponseWriter, _ *http.Request) { s.tokenFor(w, user) }).ServeHTTP(w, r)
			return
		}
		keyed := s.config.APIKey != "" || s.config.TokenUsers != nil || s.config.Tokens != nil
		refused := func(status int, message string) {
			s.tokens.unauthorized.Add(1)
			fail(w, status, message)
		}
		switch {
		case !keyed && !s.config.Dev:
			refused(http.StatusForbidden, "no API key is set: start the gateway with --api-key-file or --admin-token")
		case !keyed && fromPage(r):
			refused(http.StatusForbidden, "not for other sites' pages")
		case keyed && !s.authorized(r):
			w.Header().Set("WWW-Authenticate", `Bearer realm="sluice"`)
			refused(http.StatusUnauthorized, "wrong or no API key: send it as X-Api-Key or as Authorization: Bearer")
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// authorized reports whether r shows the API key or an operator's token of the full role. Digests are
// compared, so that the time it takes says nothing about the key, its length neither.
func (s *Server) authorized(r *http.Request) bool {
	digest := sha256.Sum256([]byte(shown(r)))
	if s.config.Tokens != nil && s.config.Tokens.role(digest) == FullRole {
		return true
	}
	return s.config.APIKey != "" && sameDigest(digest, s.key)
}

// sameDigest compares two digests; the time it takes says nothing of them.
func sameDigest(a, b [sha256.Size]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// hostAllowed reports whether a Host header names this listener in a way that no foreign page can
// make a browser use. A page's own name, rebound to 127.0.0.1, is such a way; an address,
// localhost and the name the operator chose are not.
func hostAllowed(header, own string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" {
		return false
	}
	if strings.EqualFold(host, "localhost") || strings.EqualFold(host, strings.TrimSuffix(own, ".")) {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// fromPage reports whether a browser sent r for a page of another site. Such a page could not
// read the answer, but it could have tokens made.
func fromPage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "cross-site" || site == "same-site"
}

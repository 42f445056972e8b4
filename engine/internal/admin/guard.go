package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// A demand says when a route needs the API key.
type demand uint8

const (
	always        demand = iota // except in development mode without a key
	fromElsewhere               // when there is a key and the listener is not on loopback
)

// guarded lets a request through to h if its Host and its API key allow it.
func (s *Server) guarded(d demand, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.loopback.Load() && !hostAllowed(r.Host, s.host) {
			fail(w, http.StatusForbidden, "this host name is not served here: use localhost or an IP address")
			return
		}
		if d == always {
			switch user, answered := s.caller(w, r); {
			case answered:
				return
			case user != "":
				onlyGet(func(w http.ResponseWriter, _ *http.Request) { s.tokenFor(w, user) }).ServeHTTP(w, r)
				return
			}
		}
		keyed := s.config.APIKey != "" || d == always && s.config.TokenUsers != nil
		switch {
		case d == always && !keyed && !s.config.Dev:
			s.tokens.unauthorized.Add(1)
			fail(w, http.StatusForbidden, "no API key is set: start the gateway with --api-key-file")
			return
		case d == always && !keyed && fromPage(r):
			s.tokens.unauthorized.Add(1)
			fail(w, http.StatusForbidden, "not for other sites' pages")
			return
		case keyed && (d == always || !s.loopback.Load()) && !s.authorized(r):
			if d == always {
				s.tokens.unauthorized.Add(1)
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="sluice"`)
			fail(w, http.StatusUnauthorized, "wrong or no API key: send it as X-Api-Key or as Authorization: Bearer")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// authorized reports whether r shows the API key. Digests are compared, so that the time it takes
// says nothing about the key, its length neither.
func (s *Server) authorized(r *http.Request) bool {
	shown := r.Header.Get("X-Api-Key")
	if shown == "" {
		scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			shown = strings.TrimSpace(rest)
		}
	}
	if s.config.APIKey == "" {
		return false
	}
	digest := sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(digest[:], s.key[:]) == 1
}

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

package admin

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// accessStats count who asked without being allowed to.
type accessStats struct {
	anonymous atomic.Uint64 // without a token
	wrong     atomic.Uint64 // with one that is none
	weak      atomic.Uint64 // with one whose role does not do
	limited   atomic.Uint64 // refused unread, after too many wrong ones
}

// open reports whether everybody who reaches the listener may do everything: a development gateway
// on loopback that was given neither tokens nor a key.
func (s *Server) open() bool {
	return s.config.Dev && s.loopback.Load() && s.config.Tokens == nil && s.config.APIKey == ""
}

// closed reports whether nobody may do anything but see that the process lives: there are no tokens.
func (s *Server) closed() bool {
	return s.config.Tokens == nil && s.config.APIKey == "" && !s.open()
}

// noTokens is what they are told then.
const noTokens = "no admin token is set: start the gateway with --admin-token FILE, a file with a line \"full TOKEN\" or \"read TOKEN\", or for development on loopback with --dev"

// shown returns the token in a request's headers, empty if there is none. It is never in the URL,
// which logs would keep.
func shown(r *http.Request) string {
	if key := r.Header.Get("X-Api-Key"); key != "" {
		return key
	}
	if scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest)
	}
	return ""
}

// roleOf returns what a token allows: that of a token file, or the API key, which is for calls for
// login tokens only where there is a token file.
func (s *Server) roleOf(token string) Role {
	digest := sha256.Sum256([]byte(token))
	if s.config.Tokens != nil {
		return s.config.Tokens.role(digest)
	}
	if s.config.APIKey != "" && sameDigest(digest, s.key) {
		return FullRole
	}
	return NoRole
}

// role returns what the sender of r may do, without counting anything.
func (s *Server) role(r *http.Request) Role {
	if s.open() {
		return FullRole
	}
	if token := shown(r); token != "" {
		return s.roleOf(token)
	}
	return NoRole
}

// foreign reports whether a browser sent r by a name that may have been rebound, or for another
// site's page, and answers it then.
func (s *Server) foreign(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case s.loopback.Load() && shown(r) == "" && !hostAllowed(r.Host, s.host): // a foreign page has no token
		refuse(w, http.StatusForbidden, codeForbidden, "this host name is not served here: use localhost or an IP address")
	case fromPage(r) && shown(r) == "":
		refuse(w, http.StatusForbidden, codeForbidden, "not for other sites' pages")
	default:
		return false
	}
	return true
}

// allowed lets a request through to h if its sender has a role.
func (s *Server) allowed(want Role, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.foreign(w, r) {
			return
		}
		if s.open() {
			s.conns.answer(h, w, r)
			return
		}
		token := shown(r)
		peer := peerOf(r)
		switch {
		case s.closed():
			s.access.anonymous.Add(1)
			refuse(w, http.StatusForbidden, codeForbidden, noTokens)
			return
		case token == "":
			s.access.anonymous.Add(1)
			w.Header().Set("WWW-Authenticate", `Bearer realm="sluice"`)
			refuse(w, http.StatusUnauthorized, codeUnauthorized, "a token is wanted: send it as Authorization: Bearer TOKEN")
			return
		}
		digest := sha256.Sum256([]byte(token))
		if wait, ok := s.guesses.allow(peer, digest, time.Now()); !ok {
			s.access.limited.Add(1)
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
			refuse(w, http.StatusTooManyRequests, codeRateLimited, "too many wrong tokens from your address: wait")
			return
		}
		has := s.roleOf(token)
		switch {
		case has == NoRole:
			s.access.wrong.Add(1)
			s.guesses.failed(peer, time.Now())
			s.log.Warn("an operator's token is wrong", "peer", loggedPeer(r), "path", clip(r.URL.Path))
			w.Header().Set("WWW-Authenticate", `Bearer realm="sluice", error="invalid_token"`)
			refuse(w, http.StatusUnauthorized, codeUnauthorized, "the token is wrong")
		case has < want:
			s.access.weak.Add(1)
			w.Header().Set("WWW-Authenticate", `Bearer realm="sluice", error="insufficient_scope"`)
			refuse(w, http.StatusForbidden, codeForbidden, "a token of role "+want.String()+" is wanted, this one has "+has.String())
		default:
			s.guesses.passed(peer, digest)
			s.conns.answer(h, w, r)
		}
	})
}

// peerOf returns the address of who sent r; the zero Addr has no address, as over a Unix socket.
func peerOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}

const (
	// guessBurst is how many wrong tokens an address may show at once, and guessEvery the time after
	// which it may show another. A page with an old token asks about once a second.
	guessBurst = 10
	guessEvery = 6 * time.Second
	// maxGuessers is how many addresses are remembered: 1 MiB of them.
	maxGuessers = 4096
)

// guesses limit wrong tokens by address. Whoever has shown a right one goes on with it: others behind
// the same address cannot keep him out.
type guesses struct {
	mu   sync.Mutex
	from map[netip.Addr]*guesser
}

type guesser struct {
	debt time.Duration // what has not been waited for, as of at
	at   time.Time
	good [sha256.Size]byte // the token that was right last
}

// allow reports whether a token from an address is to be looked at; wait is how long it is not.
func (g *guesses) allow(from netip.Addr, digest [sha256.Size]byte, now time.Time) (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.from[from]
	if one == nil {
		return 0, true
	}
	if left := one.debt - now.Sub(one.at) - (guessBurst-1)*guessEvery; left > 0 && !sameDigest(one.good, digest) {
		return left, false
	}
	return 0, true
}

// failed notes a wrong token.
func (g *guesses) failed(from netip.Addr, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.make(from, now)
	one.debt = max(one.debt-now.Sub(one.at), 0) + guessEvery
	one.at = now
}

// passed notes a right token of an address that has shown wrong ones, or may.
func (g *guesses) passed(from netip.Addr, digest [sha256.Size]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.make(from, time.Now()).good = digest
}

// make returns what is known of an address. Over the limit, the one that has waited longest is
// forgotten.
func (g *guesses) make(from netip.Addr, now time.Time) *guesser {
	if one := g.from[from]; one != nil {
		return one
	}
	if g.from == nil {
		g.from = make(map[netip.Addr]*guesser)
	}
	if len(g.from) >= maxGuessers {
		var oldest netip.Addr
		least := time.Duration(1<<63 - 1)
		for a, one := range g.from {
			if left := one.debt - now.Sub(one.at); left < least {
				oldest, least = a, left
			}
		}
		delete(g.from, oldest)
	}
	one := &guesser{at: now}
	g.from[from] = one
	return one
}

// act logs what an operator has done.
func (s *Server) act(r *http.Request, what string, args ...any) {
	s.log.Info("operator: "+what, append([]any{"peer", loggedPeer(r)}, args...)...)
}

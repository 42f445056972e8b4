package gateway

import (
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
)

// How clients log in that the login provider is not asked about.
const (
	bySession     = "session"     // resumed
	byGuest       = "guest"       // asked for nothing
	byCertificate = "certificate" // a guest with the name in a verified client certificate
)

// HearLogins has f called for each client that has logged in and was told so: on its loop, where it
// must not block. how says who has let it in: session (it was resumed), guest, certificate (of a
// guest who has shown one), or the login provider, as open, tokens, otp, jwt, http, cert, or custom
// for a program's own. It is called once at most, before the engine listens. A panic of f is
// counted and logged. It is no method, since a Gateway's are for programs, too.
func HearLogins(g *Gateway, f func(c *engine.Conn, s Session, how string)) { g.heard = f }

// tellLogin ends the span of a login that has come to its good end, and tells who hears of logins.
func (g *Gateway) tellLogin(c *engine.Conn, s Session, a *admission) {
	how := g.asks
	switch {
	case a.resuming:
		how = bySession
	case a.creds.Guest && a.identity.User != "":
		how = byCertificate
	case a.creds.Guest:
		how = byGuest
	}
	g.endLogin(c, s.Base(), LoginOK, how)
	if g.heard == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			g.panicked("a login", r)
		}
	}()
	c.Loop().Isolate(func() { g.heard(c, s, how) })
}

// providerName is what a provider is called in --login.
func providerName(p login.Provider) string {
	switch p.(type) {
	case login.Open:
		return "open"
	case *login.Tokens:
		return "tokens"
	case *login.OTP:
		return "otp"
	case *login.JWT, *login.RemoteJWT:
		return "jwt"
	case *login.HTTP:
		return "http"
	case login.Cert:
		return "cert"
	}
	return "custom"
}

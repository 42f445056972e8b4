package login

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	noLeaks(t)
	k := keysOnce()
	tokens := write(t, "tokens", "a ann")
	public := write(t, "k.pem", pemOf(t, k.ed.Public()))
	secret := write(t, "secret", string(k.secret))
	set := write(t, "jwks", jwksOf(t, jwkOf(t, "a", k.ed.Public().(ed25519.PublicKey))))
	for _, v := range []struct{ spec, want string }{
		{"open", "login.Open immediate"},
		{"tokens:" + tokens, "*login.Tokens immediate reload"},
		{"otp", "*login.OTP immediate"},
		{"otp:ttl=90s", "*login.OTP immediate"},
		{"jwt:secret-file=" + secret, "*login.JWT immediate reload"},
		{"jwt:key-file=" + public + ",aud=a,aud=b,iss=https://x,leeway=5s", "*login.JWT immediate reload"},
		{"jwt:jwks=" + set, "*login.JWT immediate reload"},
		{"jwt:jwks=" + set + ",claims=tier,claims=region", "*login.JWT immediate reload"},
		{"jwt:jwks=http://127.0.0.1:1/jwks,aud=a", "*login.RemoteJWT reload close"},
		{"http://127.0.0.1:1/login", "*login.HTTP close"},
		{"http:http://127.0.0.1:1/login", "*login.HTTP close"},
		{"http:https://127.0.0.1:1/login", "*login.HTTP close"},
		{"https://127.0.0.1:1/login", "*login.HTTP close"},
		{"https:https://127.0.0.1:1/login", "*login.HTTP close"},
	} {
		t.Run(v.spec, func(t *testing.T) {
			p, err := Parse(v.spec)
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%T", p)
			if _, ok := p.(Immediate); ok {
				got += " immediate"
			}
			if _, ok := p.(Reloader); ok {
				got += " reload"
			}
			if c, ok := p.(io.Closer); ok {
				got += " close"
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			if got != v.want {
				t.Errorf("%s, want %s", got, v.want)
			}
		})
	}
	p, err := Parse("otp:ttl=90s")
	if err != nil || p.(*OTP).TTL() != 90*time.Second {
		t.Errorf("ttl: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	noLeaks(t)
	bad := write(t, "tokens", "a ann\n\nb")
	for _, v := range []struct{ spec, want string }{
		{"", `login: unknown kind: want ` + strings.Join(Kinds(), ", ")},
		{"OPEN", `login: unknown kind: want open, tokens:FILE, `},
		{"ldap://x", `login: unknown kind: want open, tokens:FILE, `},
		{strings.Repeat("x", 1000), `login: unknown kind: want open`},
		{"open:x", "login: open: takes no options"},
		{"tokens", "login: tokens: want tokens:FILE"},
		{"tokens:", "login: tokens: want tokens:FILE"},
		{"tokens:/nowhere/at/all", "login: tokens: open /nowhere/at/all: "},
		{"tokens:" + bad, "login: tokens: " + bad + " line 3: 1 fields, want: token user [topic,topic]"},
		{"otp:90s", `login: otp: unknown option "90s"`},
		{"otp:ttl=90", `login: otp: ttl: "90" is no duration such as 30s`},
		{"otp:ttl=2h", "login: otp: ttl 2h0m0s is not between 1s and 1h0m0s"},
		{"jwt", "login: jwt: want one of secret-file, key-file and jwks"},
		{"jwt:aud=x", "login: jwt: want one of secret-file, key-file and jwks"},
		{"jwt:secret-file=a,jwks=b", "login: jwt: want one of secret-file, key-file and jwks"},
		{"jwt:secret=abc", `login: jwt: unknown option "secret"`},
		{"jwt:key-file=", "login: jwt: key-file has no value"},
		{"jwt:key-file=a,key-file=b", "login: jwt: key-file twice"},
		{"jwt:key-file=a,", `login: jwt: unknown option ""`},
		{"jwt:jwks=https://", "login: jwt: jwks: want http://HOST/"},
		{"http", "login: http: want http://HOST/"},
		{"http:", "login: http: want http://HOST/"},
		{"http://", "login: http: want http://HOST/"},
		{"http:file:///x", "login: http: want http://HOST/"},
		{"http://u:secret@host:x/", "login: http: malformed URL"},
		{"https:http://host/", "login: http: want https://HOST/"},
	} {
		p, err := Parse(v.spec)
		if p != nil || err == nil || !strings.HasPrefix(err.Error(), v.want) {
			t.Errorf("%q: %v, error %v, want %q", v.spec, p, err, v.want)
			continue
		}
		if s := err.Error(); strings.ContainsAny(s, "\r\n") || len(s) > 300 || strings.Contains(s, "secret@") {
			t.Errorf("%q: error %q", v.spec, s)
		}
	}
}

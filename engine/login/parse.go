package login

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluicenet/sluice/internal/readfile"
)

// kinds are the providers by name, in the order of the usage text.
var kinds = []struct {
	name, usage string
	parse       func(rest string) (Provider, error)
}{
	{"open", "open", parseOpen},
	{"tokens", "tokens:FILE", parseTokensKind},
	{"cert", "cert", parseCert},
	{"otp", "otp[:ttl=60s]", parseOTP},
	{"jwt", "jwt:{secret-file=FILE|key-file=PEM|jwks=FILE-or-URL}[,aud=A][,iss=I][,leeway=10s][,claims=NAME]", parseJWT},
	{"http", "http:URL", parseHTTP("http")},
	{"https", "https://...", parseHTTP("https")},
}

// Kinds returns the forms that Parse understands, for a usage text. The slice is the caller's.
func Kinds() []string {
	usage := make([]string, len(kinds))
	for i, k := range kinds {
		usage[i] = k.usage
	}
	return usage
}

// Parse turns the value of --login into a provider:
//
//	open
//	tokens:/etc/sluice/tokens
//	cert                          the name in the client's certificate: CertUser
//	otp                           otp:ttl=30s
//	jwt:secret-file=/etc/sluice/secret,aud=chat
//	jwt:key-file=/etc/sluice/issuer.pem,iss=https://id.example,aud=chat,aud=mobile
//	jwt:jwks=https://id.example/.well-known/jwks.json,aud=chat,leeway=10s
//	jwt:jwks=/etc/sluice/jwks.json,claims=tier,claims=region   workers learn these claims
//	http://127.0.0.1:9000/login   http:https://auth.example/login   https://auth.example/login
//
// Options are separated by commas, which their values cannot hold; only aud and claims may come more
// than once. The errors fit on one line and hold no secrets. A provider that is an io.Closer must be
// closed.
func Parse(spec string) (Provider, error) {
	name, rest, _ := strings.Cut(spec, ":")
	for _, k := range kinds {
		if k.name == name {
			return k.parse(rest)
		}
	}
	// What was given may be a token, in the place of its file's name.
	return nil, fmt.Errorf("login: unknown kind: want %s", strings.Join(Kinds(), ", "))
}

func parseOpen(rest string) (Provider, error) {
	if rest != "" {
		return nil, fmt.Errorf("login: open: takes no options")
	}
	return Open{}, nil
}

func parseCert(rest string) (Provider, error) {
	if rest != "" {
		return nil, fmt.Errorf("login: cert: takes no options")
	}
	return Cert{}, nil
}

func parseTokensKind(rest string) (Provider, error) {
	if rest == "" {
		return nil, fmt.Errorf("login: tokens: want tokens:FILE")
	}
	return provider(NewTokens(rest))
}

func parseOTP(rest string) (Provider, error) {
	var c OTPConfig
	err := options("otp", rest, map[string]func(string) error{"ttl": durationInto(&c.TTL)})
	if err != nil {
		return nil, err
	}
	return provider(NewOTP(c))
}

func parseJWT(rest string) (Provider, error) {
	var c JWTConfig
	err := options("jwt", rest, map[string]func(string) error{
		"secret-file": textInto(&c.SecretFile),
		"key-file":    textInto(&c.KeyFile),
		"jwks":        textInto(&c.JWKS),
		"iss":         textInto(&c.Issuer),
		"leeway":      durationInto(&c.Leeway),
		"aud":         func(v string) error { c.Audience = append(c.Audience, v); return nil },
		"claims":      func(v string) error { c.Claims = append(c.Claims, v); return nil },
	})
	if err != nil {
		return nil, err
	}
	if isURL(c.JWKS) {
		return provider(NewRemoteJWT(RemoteJWTConfig{JWTConfig: c}))
	}
	return provider(NewJWT(c))
}

// parseHTTP accepts what comes behind "http:" or "https:": the rest of such a URL or a whole one.
// Behind "https:" a plain http URL is an error, because somebody meant the tokens to be encrypted.
func parseHTTP(scheme string) func(string) (Provider, error) {
	return func(rest string) (Provider, error) {
		if strings.HasPrefix(rest, "//") {
			rest = scheme + ":" + rest
		}
		if scheme == "https" && !strings.HasPrefix(rest, "https://") {
			return nil, fmt.Errorf("login: http: want https://HOST/PATH")
		}
		return provider(NewHTTP(HTTPConfig{URL: rest}))
	}
}

// provider keeps a nil *T from becoming a Provider that is not nil.
func provider[T Provider](p T, err error) (Provider, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// options takes name=value,name=value apart and hands each value to its setter.
func options(kind, text string, set map[string]func(string) error) error {
	if text == "" {
		return nil
	}
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(item, "=")
		f := set[name]
		switch {
		case f == nil && readfile.LooksSecret(item): // a secret in place of secret-file=FILE
			return fmt.Errorf("login: %s: want options, as NAME=VALUE", kind)
		case f == nil:
			return fmt.Errorf("login: %s: unknown option %q", kind, clip(name))
		case value == "":
			return fmt.Errorf("login: %s: %s has no value", kind, name)
		case seen[name] && name != "aud" && name != "claims":
			return fmt.Errorf("login: %s: %s twice", kind, name)
		}
		seen[name] = true
		if err := f(value); err != nil {
			return fmt.Errorf("login: %s: %s: %w", kind, name, err)
		}
	}
	return nil
}

func textInto(p *string) func(string) error {
	return func(v string) error { *p = v; return nil }
}

func durationInto(p *time.Duration) func(string) error {
	return func(v string) (err error) {
		if *p, err = time.ParseDuration(v); err != nil {
			return fmt.Errorf("%q is no duration such as 30s", clip(v))
		}
		return nil
	}
}

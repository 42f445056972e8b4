package login

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// newJWT makes a provider whose keys are those of an RSA, an EC and an Ed25519 issuer, by default.
func newJWT(t testing.TB, c JWTConfig) *JWT {
	t.Helper()
	if c.SecretFile+c.KeyFile+c.JWKS == "" {
		k := keysOnce()
		c.KeyFile = write(t, "keys.pem", pemOf(t, &k.rsa.PublicKey)+pemOf(t, &k.ec.PublicKey)+pemOf(t, k.ed.Public()))
	}
	j, err := NewJWT(c)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestJWTAlgorithms(t *testing.T) {
	k := keysOnce()
	j := newJWT(t, JWTConfig{})
	secret := newJWT(t, JWTConfig{SecretFile: write(t, "secret", string(k.secret)+"\n")})
	rsaPEM := pemOf(t, &k.rsa.PublicKey)
	none := jwt.UnsafeAllowNoneSignatureType
	ok := claims()
	good := sign(t, jwt.SigningMethodRS256, "", k.rsa, ok)
	dot := strings.LastIndexByte(good, '.')
	for _, v := range []struct {
		name  string
		p     *JWT
		token string
		want  error
	}{
		{"RS256", j, good, nil},
		{"ES256", j, sign(t, jwt.SigningMethodES256, "", k.ec, ok), nil},
		{"EdDSA", j, sign(t, jwt.SigningMethodEdDSA, "", k.ed, ok), nil},
		{"HS256", secret, sign(t, jwt.SigningMethodHS256, "", k.secret, ok), nil},
		{"kid of a key without a name", j, sign(t, jwt.SigningMethodEdDSA, "any", k.ed, ok), nil},

		{"HS256 with the public key's PEM", j, sign(t, jwt.SigningMethodHS256, "", []byte(rsaPEM), ok), ErrAlgorithm},
		{"HS256 with the public key's DER", j, sign(t, jwt.SigningMethodHS256, "",
			x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), ok), ErrAlgorithm},
		{"RS256 for a secret", secret, good, ErrAlgorithm},
		{"HS384 with the secret", secret, sign(t, jwt.SigningMethodHS384, "", k.secret, ok), ErrAlgorithm},
		{"RS384 with the right key", j, sign(t, jwt.SigningMethodRS384, "", k.rsa, ok), ErrAlgorithm},
		{"PS256 with the right key", j, sign(t, jwt.SigningMethodPS256, "", k.rsa, ok), ErrAlgorithm},
		{"ES384", j, sign(t, jwt.SigningMethodES384, "", k.p384, ok), ErrAlgorithm},
		{"none", j, sign(t, jwt.SigningMethodNone, "", none, ok), ErrAlgorithm},
		{"none for a secret", secret, sign(t, jwt.SigningMethodNone, "", none, ok), ErrAlgorithm},
		{"None", j, b64([]byte(`{"alg":"None"}`)) + good[strings.IndexByte(good, '.'):], ErrAlgorithm},
		{"no alg", j, b64([]byte(`{"typ":"JWT"}`)) + good[strings.IndexByte(good, '.'):], ErrAlgorithm},
		{"alg no string", j, b64([]byte(`{"alg":["RS256"]}`)) + good[strings.IndexByte(good, '.'):], ErrAlgorithm},
		{"crit", j, b64([]byte(`{"alg":"RS256","crit":["b64"],"b64":false}`)) + good[strings.IndexByte(good, '.'):], ErrMalformed},

		{"a stranger's", j, sign(t, jwt.SigningMethodRS256, "", k.stranger, ok), ErrSignature},
		{"another secret", secret, sign(t, jwt.SigningMethodHS256, "", append(k.secret, '\n'), ok), ErrSignature},
		{"no signature", j, good[:dot+1], ErrSignature},
		{"claims of another token", j, good[:strings.IndexByte(good, '.')+1] +
			strings.Split(sign(t, jwt.SigningMethodRS256, "", k.rsa, claims("sub", "root")), ".")[1] + good[dot:], ErrSignature},

		{"empty", j, "", ErrMalformed},
		{"text", j, "ann", ErrMalformed},
		{"two parts", j, good[:dot], ErrMalformed},
		{"four parts", j, good + ".x", ErrMalformed},
		{"line end in the signature", j, good[:dot+9] + "\n" + good[dot+9:], nil}, // passed over by base64
		{"header no JSON", j, "e30x." + good[strings.IndexByte(good, '.')+1:], ErrMalformed},
		{"9 KiB", j, good[:dot] + strings.Repeat("A", 9<<10), ErrTooLong},
		{"9 KiB of dots", j, strings.Repeat(".", 9<<10), ErrTooLong},
	} {
		t.Run(v.name, func(t *testing.T) {
			id, err := v.p.LoginNow(t0, Request{Token: v.token})
			if v.want != nil {
				wantRefused(t, id, err, v.want, v.token)
			} else if err != nil || !same(id, ann) {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}

func TestJWTClaims(t *testing.T) {
	k := keysOnce()
	c := JWTConfig{Audience: []string{"chat", "sluice"}, Issuer: "https://id.example"}
	j := newJWT(t, c)
	c.Leeway = 10 * time.Second
	lenient := newJWT(t, c)
	now := t0.Unix()
	topics := func(n int, name string) (s []string) {
		for range n {
			s = append(s, name)
		}
		return s
	}
	for _, v := range []struct {
		name   string
		claims jwt.MapClaims
		id     Identity
		want   error
	}{
		{"all", claims("session", "level 3", "topics", []string{"a", "b"}, "nbf", now, "iat", now+1000),
			Identity{User: "ann", Session: "level 3", Topics: []string{"a", "b"}}, nil},
		{"aud array", claims("aud", []string{"x", "chat"}), ann, nil},
		{"no topics", claims("topics", []string{}), ann, nil},
		{"last second", claims("exp", now+1), ann, nil},

		{"expired", claims("exp", now), ann, ErrExpired},
		{"no exp", claims("exp", nil), ann, ErrClaims},
		{"exp 0", claims("exp", 0), ann, ErrExpired},
		{"exp a string", claims("exp", "2100-01-01"), ann, ErrClaims},
		{"exp null", claims("exp", jwt.ClaimStrings(nil)), ann, ErrClaims},
		{"exp overflows", claims("exp", 1e300), ann, ErrRefused},
		{"nbf overflows", claims("nbf", 1e300), ann, ErrRefused},
		{"nbf in the future", claims("nbf", now+1), ann, ErrNotYet},
		{"nbf a string", claims("nbf", "now"), ann, ErrClaims},
		{"no aud", claims("aud", nil), ann, ErrClaims},
		{"wrong aud", claims("aud", "Sluice"), ann, ErrAudience},
		{"wrong auds", claims("aud", []string{"x", "y"}), ann, ErrAudience},
		{"aud a number", claims("aud", 7), ann, ErrClaims},
		{"no iss", claims("iss", nil), ann, ErrClaims},
		{"wrong iss", claims("iss", "https://id.example/"), ann, ErrIssuer},
		{"no sub", claims("sub", nil), ann, ErrClaims},
		{"empty sub", claims("sub", ""), ann, ErrClaims},
		{"sub a number", claims("sub", 7), ann, ErrClaims},
		{"SUB", claims("sub", nil, "SUB", "root"), ann, ErrClaims},
		{"SUB beside sub", claims("SUB", "root", "Session", "x"), ann, nil},
		{"sub too long", claims("sub", strings.Repeat("u", MaxUserLen+1)), ann, ErrIdentity},
		{"sub with a line end", claims("sub", "a\nb"), ann, ErrIdentity},
		{"session a number", claims("session", 3), ann, ErrClaims},
		{"topics a string", claims("topics", "news"), ann, ErrClaims},
		{"topics of numbers", claims("topics", []int{1}), ann, ErrIdentity},
		{"empty topic", claims("topics", []string{"a", ""}), ann, ErrIdentity},
		{"most topics", claims("topics", topics(MaxTopics, "t")), Identity{User: "ann", Topics: topics(MaxTopics, "t")}, nil},
		{"too many topics", claims("topics", topics(MaxTopics+1, "t")), ann, ErrClaims},
		{"topic too long", claims("topics", topics(1, strings.Repeat("t", MaxTopicLen+1))), ann, ErrIdentity},
	} {
		t.Run(v.name, func(t *testing.T) {
			token := sign(t, jwt.SigningMethodEdDSA, "", k.ed, v.claims)
			id, err := j.LoginNow(t0, Request{Token: token})
			if v.want != nil {
				wantRefused(t, id, err, v.want, token)
			} else if err != nil || !same(id, v.id) {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
	for _, v := range []struct {
		name   string
		claims jwt.MapClaims
		want   error
	}{
		{"within, exp", claims("exp", now-9), nil}, {"beyond, exp", claims("exp", now-10), ErrExpired},
		{"within, nbf", claims("nbf", now+10), nil}, {"beyond, nbf", claims("nbf", now+11), ErrNotYet},
	} {
		token := sign(t, jwt.SigningMethodEdDSA, "", k.ed, v.claims)
		if _, err := lenient.LoginNow(t0, Request{Token: token}); !errors.Is(err, v.want) {
			t.Errorf("leeway, %s: %v", v.name, err)
		}
	}
	for p, want := range map[*JWT]int64{j: now + 1000, lenient: now + 1010} {
		id, err := p.LoginNow(t0, Request{Token: sign(t, jwt.SigningMethodEdDSA, "", k.ed, claims("exp", now+1000))})
		if err != nil || id.Expires.Unix() != want {
			t.Errorf("expires %v, %v, want %d", id.Expires, err, want)
		}
	}
	rest := fmt.Sprintf(`,"exp":%d,"iss":"https://id.example","aud":"sluice"}`, now+60)
	for _, body := range []string{
		"null", "[]", "{}", "1", "{\"sub\":\"ann\"", "\xff",
		"{\"sub\":\"ann\xff\"" + rest, `{"sub":"ann\ud800"` + rest, `{"sub":"ann","session":"\udfff"` + rest,
	} {
		text := b64([]byte(`{"alg":"EdDSA"}`)) + "." + b64([]byte(body))
		sig, err := jwt.SigningMethodEdDSA.Sign(text, k.ed)
		if err != nil {
			t.Fatal(err)
		}
		id, err := j.LoginNow(t0, Request{Token: text + "." + b64(sig)})
		wantRefused(t, id, err, ErrRefused, text)
	}
	// The provider's own clock: these claims have been out of date since 2023.
	if _, err := j.Login(bg, Request{Token: sign(t, jwt.SigningMethodEdDSA, "", k.ed, claims())}); !errors.Is(err, ErrExpired) {
		t.Errorf("by the clock: %v", err)
	}
}

func TestJWTKeyFiles(t *testing.T) {
	k := keysOnce()
	private, err := x509.MarshalPKCS8PrivateKey(k.ed)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	good := pemOf(t, k.ed.Public()) // three lines
	secret := func(text string) JWTConfig { return JWTConfig{SecretFile: write(t, "f", text)} }
	keyFile := func(text string) JWTConfig { return JWTConfig{KeyFile: write(t, "f", text)} }
	for _, v := range []struct {
		name string
		c    JWTConfig
		want string // "" for none
	}{
		{"PKCS 1", keyFile(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey))), ""},
		{"text around", keyFile("the key:\n" + good + "that was it\n"), ""},
		{"secret of 32 bytes", secret(string(k.secret) + "\r\n"), ""},
		{"secret too short", secret("0123456789abcdef0123456789abcde\n"), "f: secret of 31 bytes, want 32 or more"},
		{"secret is PEM", secret(good), "PEM is no secret"},
		{"no file", JWTConfig{KeyFile: "/nowhere/at/all"}, "open /nowhere/at/all: "},
		{"empty", keyFile(""), "holds no PEM public key"},
		{"private key", keyFile(good + block("PRIVATE KEY", private)), `line 4: a "PRIVATE KEY" block is no public key`},
		{"P-384", keyFile("#\n" + pemOf(t, &k.p384.PublicKey)), "line 2: curve P-384"},
		{"bad DER", keyFile(block("PUBLIC KEY", []byte{1, 2})), "line 1: "},
		{"broken block", keyFile(good + strings.Replace(good, "MC", "M*", 1)), "1 of 2 PEM blocks are broken"},
		{"too many keys", keyFile(strings.Repeat(good, maxTries+1)), "line 25: more than 8 keys"},
		{"too large", keyFile(strings.Repeat(" ", maxKeyFile+1)), "larger than"},
		{"none", JWTConfig{}, "want one of"},
		{"two", JWTConfig{KeyFile: "a", JWKS: "b"}, "want one of"},
		{"URL", JWTConfig{JWKS: "https://id.example/jwks"}, "want a file"},
		{"leeway", JWTConfig{KeyFile: "a", Leeway: time.Hour}, "leeway 1h0m0s is not between"},
		{"empty aud", JWTConfig{KeyFile: "a", Audience: []string{""}}, "empty aud"},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := NewJWT(v.c)
			if v.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.HasPrefix(err.Error(), "login: jwt: ") || !strings.Contains(err.Error(), v.want) {
				t.Errorf("error %v, want %q", err, v.want)
			}
		})
	}
}

func TestJWTReload(t *testing.T) {
	k := keysOnce()
	file := write(t, "k.pem", pemOf(t, k.ed.Public()))
	j := newJWT(t, JWTConfig{KeyFile: file})
	login := func(m jwt.SigningMethod, key any) error {
		_, err := j.LoginNow(t0, Request{Token: sign(t, m, "", key, claims())})
		return err
	}
	rewrite(t, file, "-----BEGIN PUBLIC KEY-----\nhalf a k")
	if err := j.Reload(); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
	if err := login(jwt.SigningMethodEdDSA, k.ed); err != nil {
		t.Errorf("the old key is not in force: %v", err)
	}
	rewrite(t, file, pemOf(t, &k.ec.PublicKey))
	if err := j.Reload(); err != nil {
		t.Error(err)
	}
	if err := login(jwt.SigningMethodEdDSA, k.ed); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("old key after the new one came: %v", err)
	}
	if err := login(jwt.SigningMethodES256, k.ec); err != nil {
		t.Errorf("new key: %v", err)
	}
}

func FuzzJWT(f *testing.F) {
	k := keysOnce()
	j := newJWT(f, JWTConfig{Audience: []string{"sluice"}})
	good := sign(f, jwt.SigningMethodEdDSA, "", k.ed, claims("topics", []string{"a"}))
	seeds := map[string]bool{good: true, "": true, "..": true, good[1:]: true, good[:len(good)-1]: true,
		sign(f, jwt.SigningMethodNone, "", jwt.UnsafeAllowNoneSignatureType, claims()): true}
	for s := range maps.Keys(seeds) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := j.LoginNow(t0, Request{Token: token})
		if err == nil {
			// Nobody can sign but us: it is the good one, but for line ends that base64 passes over.
			if strings.NewReplacer("\r", "", "\n", "").Replace(token) != good || id.User != "ann" {
				t.Fatalf("let in: %q", token)
			}
			return
		}
		wantRefused(t, id, err, ErrRefused, token)
	})
}

func BenchmarkJWT(b *testing.B) {
	k := keysOnce()
	j := newJWT(b, JWTConfig{})
	secret := newJWT(b, JWTConfig{SecretFile: write(b, "secret", string(k.secret))})
	for _, v := range []struct {
		p   *JWT
		m   jwt.SigningMethod
		key any
	}{
		{secret, jwt.SigningMethodHS256, k.secret}, {j, jwt.SigningMethodRS256, k.rsa},
		{j, jwt.SigningMethodES256, k.ec}, {j, jwt.SigningMethodEdDSA, k.ed},
	} {
		b.Run(v.m.Alg(), func(b *testing.B) {
			r := Request{Token: sign(b, v.m, "", v.key, claims())}
			b.SetBytes(int64(len(r.Token)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.p.LoginNow(t0, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Workers learn the claims that the operator has named, and no others.
func TestJWTNamedClaims(t *testing.T) {
	k := keysOnce()
	c := JWTConfig{Claims: []string{"tier", "https://id.example/roles", "n", "sub"}}
	j := newJWT(t, c)
	for _, v := range []struct {
		name   string
		claims jwt.MapClaims
		named  map[string]string
		want   error
	}{
		{"none", claims(), map[string]string{"sub": "ann"}, nil},
		{"a string", claims("tier", "gold", "secret", "x"), map[string]string{"sub": "ann", "tier": "gold"}, nil},
		{"JSON", claims("https://id.example/roles", []string{"<a>", "b"}, "tier", true),
			map[string]string{"sub": "ann", "https://id.example/roles": `["<a>","b"]`, "tier": "true"}, nil},
		{"64 bits", claims("n", json.Number("9223372036854775807")), map[string]string{"sub": "ann", "n": "9223372036854775807"}, nil},
		{"null", claims("tier", json.RawMessage("null")), map[string]string{"sub": "ann", "tier": "null"}, nil},
	} {
		t.Run(v.name, func(t *testing.T) {
			token := sign(t, jwt.SigningMethodEdDSA, "", k.ed, v.claims)
			id, err := j.LoginNow(t0, Request{Token: token})
			if !errors.Is(err, v.want) {
				t.Fatal(err)
			}
			if err == nil && !same(id, Identity{User: "ann", Claims: v.named}) {
				t.Errorf("%+v", id)
			}
		})
	}
	for _, bad := range [][]string{{""}, slices.Repeat([]string{"a"}, MaxClaims+1)} {
		c := JWTConfig{SecretFile: write(t, "secret", string(k.secret)), Claims: bad}
		if _, err := NewJWT(c); err == nil || !strings.Contains(err.Error(), "claims") {
			t.Errorf("%d names: %v", len(bad), err)
		}
	}
}

package login

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestJWKSFile(t *testing.T) {
	k := keysOnce()
	file := write(t, "jwks.json", jwksOf(t, jwkOf(t, "r1", &k.rsa.PublicKey), jwkOf(t, "r2", &k.stranger.PublicKey),
		jwkOf(t, "e1", &k.ec.PublicKey), jwkOf(t, "d1", k.ed.Public()), jwkOf(t, "p1", &k.p384.PublicKey),
		jwk{Type: "oct", ID: "o1"}))
	j := newJWT(t, JWTConfig{JWKS: file})
	long := strings.Repeat("k", 200)
	for _, v := range []struct {
		name string
		m    jwt.SigningMethod
		kid  string
		key  any
		want error
	}{
		{"first RSA key", jwt.SigningMethodRS256, "r1", k.rsa, nil},
		{"second RSA key", jwt.SigningMethodRS256, "r2", k.stranger, nil},
		{"EC key", jwt.SigningMethodES256, "e1", k.ec, nil},
		{"Ed25519 key", jwt.SigningMethodEdDSA, "d1", k.ed, nil},
		{"no kid", jwt.SigningMethodRS256, "", k.stranger, nil},
		{"kid of another key", jwt.SigningMethodRS256, "r1", k.stranger, ErrSignature},
		{"kid of another type", jwt.SigningMethodRS256, "d1", k.rsa, ErrAlgorithm},
		{"unknown kid", jwt.SigningMethodRS256, "r3", k.rsa, ErrKeyID},
		{"kid of a key passed over", jwt.SigningMethodES384, "p1", k.p384, ErrAlgorithm},
		{"long kid", jwt.SigningMethodRS256, long, k.rsa, ErrKeyID},
		{"HS256 with a public key", jwt.SigningMethodHS256, "r1", []byte(pemOf(t, &k.rsa.PublicKey)), ErrAlgorithm},
		{"HS256 with an empty secret", jwt.SigningMethodHS256, "o1", []byte{}, ErrAlgorithm},
	} {
		t.Run(v.name, func(t *testing.T) {
			token := sign(t, v.m, v.kid, v.key, claims())
			id, err := j.LoginNow(t0, Request{Token: token})
			if v.want != nil {
				wantRefused(t, id, err, v.want, long)
			} else if err != nil || !same(id, ann) {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
	rewrite(t, file, `{"keys":[]}`)
	if err := j.Reload(); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
	if _, err := j.LoginNow(t0, Request{Token: sign(t, jwt.SigningMethodEdDSA, "d1", k.ed, claims())}); err != nil {
		t.Errorf("the old keys are not in force: %v", err)
	}
}

func TestJWKSTries(t *testing.T) {
	k := keysOnce()
	for n, want := range map[int]error{maxTries: nil, maxTries + 1: ErrKeyID} {
		var keys []jwk
		for i := range n {
			keys = append(keys, jwkOf(t, fmt.Sprint(i), k.ed.Public()))
		}
		set, err := parseJWKS([]byte(jwksOf(t, keys...)))
		if err != nil {
			t.Fatal(err)
		}
		if found, err := set.pick("EdDSA", ""); !errors.Is(err, want) || len(found) != n && want == nil {
			t.Errorf("of %d keys %d to try, %v", n, len(found), err)
		}
	}
}

func TestJWKSMalformed(t *testing.T) {
	k := keysOnce()
	good := jwkOf(t, "g", k.ed.Public())
	change := func(public any, f func(*jwk)) string {
		j := jwkOf(t, "a", public)
		f(&j)
		return jwksOf(t, j)
	}
	r, e, d := &k.rsa.PublicKey, &k.ec.PublicKey, k.ed.Public()
	modulus := func(n *big.Int) string {
		return change(&rsa.PublicKey{N: n, E: 65537}, func(*jwk) {})
	}
	for _, v := range []struct{ name, text, want string }{
		{"empty", "", "not a JWK set"},
		{"array", "[]", "not a JWK set"},
		{"two values", `{"keys":[]}{}`, "not a JWK set"},
		{"no keys", "{}", "holds no keys"},
		{"keys no array", `{"keys":{}}`, "not a JWK set"},
		{"key no object", `{"keys":[1]}`, "cannot unmarshal"},
		{"kid no string", `{"keys":[{"kid":1}]}`, "cannot unmarshal"},
		{"too many", jwksOf(t, slices.Repeat([]jwk{good}, maxKeys+1)...), "65 keys, want at most 64"},
		{"unknown type", `{"keys":[{"kty":"XYZ"}]}`, `kty "XYZ"`},
		{"a member twice", `{"keys":[{"kty":"oct","kty":"RSA","n":"AA","e":"AA"}]}`, `"kty" is there twice`},
		{"a member in another case", `{"keys":[{"kty":"oct","KTY":"RSA"}]}`, `"KTY", want "kty"`},
		{"two sets", `{"keys":[],"keys":[{"kty":"oct"}]}`, `"keys" is there twice`},
		{"symmetric", `{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256"}]}`, `kty "oct"`},
		{"for encryption", change(d, func(j *jwk) { j.Use = "enc" }), "not for signatures"},
		{"for signing only", change(d, func(j *jwk) { j.Ops = []string{"sign"} }), "not for signatures"},
		{"no operations", `{"keys":[{"key_ops":[]}]}`, "not for signatures"},
		{"another algorithm", change(r, func(j *jwk) { j.Alg = "RS512" }), `algorithm "RS512", want RS256`},
		{"HS256 on an RSA key", change(r, func(j *jwk) { j.Alg = "HS256" }), `algorithm "HS256", want RS256`},
		{"no n", change(r, func(j *jwk) { j.N = "" }), "n: 0 characters"},
		{"n not base64", change(r, func(j *jwk) { j.N = "+/==" }), "n: illegal base64"},
		{"n too long", change(r, func(j *jwk) { j.N = strings.Repeat("A", 1367) }), "n: 1367 characters"},
		{"1,024 bits", modulus(new(big.Int).Rsh(r.N, 1024)), "of 1024 bits"},
		{"even modulus", modulus(new(big.Int).Lsh(r.N, 1)), "impossible modulus"},
		{"e of 1", change(r, func(j *jwk) { j.E = "AQ" }), "exponent"},
		{"e even", change(r, func(j *jwk) { j.E = "AQAA" }), "exponent"},
		{"e too large", change(r, func(j *jwk) { j.E = "_____w" }), "e is too large"},
		{"e too long", change(r, func(j *jwk) { j.E = "AAAAAAAB" }), "e: 8 characters"},
		{"other curve", change(e, func(j *jwk) { j.Curve = "P-521" }), `crv "P-521"`},
		{"curve and type apart", change(d, func(j *jwk) { j.Type = "EC" }), `crv "Ed25519"`},
		{"off the curve", change(e, func(j *jwk) { j.Y = j.X }), "point"},
		{"x short", change(e, func(j *jwk) { j.X = "AQ" }), "point"},
		{"no y", change(e, func(j *jwk) { j.Y = "" }), "y: 0 characters"},
		{"Ed25519 short", change(d, func(j *jwk) { j.X = "AQ" }), "x: 1 bytes"},
	} {
		t.Run(v.name, func(t *testing.T) {
			set, err := parseJWKS([]byte(v.text))
			if set != nil || err == nil || !strings.Contains(err.Error(), v.want) {
				t.Errorf("%v, error %v, want %q", set, err, v.want)
			}
			var keys struct{ Keys []json.RawMessage }
			if json.Unmarshal([]byte(v.text), &keys) != nil || len(keys.Keys) != 1 {
				return
			}
			// Beside a good one it is passed over.
			text, _ := json.Marshal(map[string]any{"keys": []any{keys.Keys[0], good}})
			if set, err := parseJWKS(text); err != nil || len(set.keys) != 1 || set.keys[0].id != "g" {
				t.Errorf("beside a good one: %+v, %v", set, err)
			}
		})
	}
}

func FuzzJWKS(f *testing.F) {
	k := keysOnce()
	for _, key := range []any{&k.rsa.PublicKey, &k.ec.PublicKey, k.ed.Public()} {
		f.Add([]byte(jwksOf(f, jwkOf(f, "a", key))))
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AA","e":"AA"},{"kty":"EC","crv":"P-256"},{"kty":"OKP","crv":"Ed25519"},null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := parseJWKS(text)
		if (err == nil) != (set != nil) {
			t.Fatalf("%v, %v", set, err)
		}
		if err != nil {
			return
		}
		if len(set.keys) == 0 || len(set.keys) > maxKeys {
			t.Fatalf("%d keys", len(set.keys))
		}
		for _, key := range set.keys {
			switch p := key.public.(type) {
			case *rsa.PublicKey:
				_ = jwt.SigningMethodRS256.Verify("a.b", make([]byte, p.Size()), p)
			case *ecdsa.PublicKey:
				_ = jwt.SigningMethodES256.Verify("a.b", make([]byte, 64), p)
			case ed25519.PublicKey:
				_ = jwt.SigningMethodEdDSA.Verify("a.b", make([]byte, 64), p)
			default:
				t.Fatalf("key of type %T", p)
			}
		}
	})
}

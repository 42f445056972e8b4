package login

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/sluicenet/sluice/internal/jsontext"
)

// jwk is a JSON Web Key, RFC 7517 section 4; its key members are those of RFC 7518 section 6 and
// RFC 8037 section 2.
type jwk struct {
	Type  string   `json:"kty"`
	ID    string   `json:"kid"`
	Alg   string   `json:"alg"`
	Use   string   `json:"use"`
	Ops   []string `json:"key_ops"`
	Curve string   `json:"crv"`
	N     string   `json:"n"`
	E     string   `json:"e"`
	X     string   `json:"x"`
	Y     string   `json:"y"`
}

// parseJWKS reads a JWK set. Keys it has no use for are passed over (RFC 7517 section 5); if none
// is left, the error says what was wrong with the first. Symmetric keys are never taken: a set is
// meant to be published.
func parseJWKS(text []byte) (*keySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := jsontext.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("not a JWK set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("JWK set of %d keys, want at most %d", len(set.Keys), maxKeys)
	}
	s := &keySet{algs: publicAlgs}
	first := errors.New("JWK set holds no keys")
	for i, raw := range set.Keys {
		var j jwk
		err := jsontext.Unmarshal(raw, &j) // RFC 7517 section 4: member names are unique
		if err == nil {
			var k key
			if k, err = j.key(); err == nil {
				s.keys = append(s.keys, k)
				continue
			}
		}
		if i == 0 {
			first = fmt.Errorf("JWK set holds no usable key; the first: %w", err)
		}
	}
	if len(s.keys) == 0 {
		return nil, first
	}
	return s, nil
}

func (j *jwk) key() (key, error) {
	if j.Use != "" && j.Use != "sig" || j.Ops != nil && !slices.Contains(j.Ops, "verify") {
		return key{}, errors.New("not for signatures")
	}
	public, err := j.public()
	if err != nil {
		return key{}, err
	}
	k, err := newKey(j.ID, public)
	if err == nil && j.Alg != "" && j.Alg != k.alg {
		err = fmt.Errorf("algorithm %q, want %s", j.Alg, k.alg)
	}
	return k, err
}

func (j *jwk) public() (any, error) {
	switch {
	case j.Type == "RSA":
		n, err := unbase64(j.N, maxRSABits/8)
		if err != nil {
			return nil, fmt.Errorf("n: %w", err)
		}
		e, err := unbase64(j.E, 4)
		if err != nil {
			return nil, fmt.Errorf("e: %w", err)
		}
		exponent := new(big.Int).SetBytes(e).Int64()
		if exponent > 1<<31-1 {
			return nil, errors.New("e is too large")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)}, nil
	case j.Type == "EC" && j.Curve == "P-256":
		x, err := unbase64(j.X, 32)
		if err != nil {
			return nil, fmt.Errorf("x: %w", err)
		}
		y, err := unbase64(j.Y, 32)
		if err != nil {
			return nil, fmt.Errorf("y: %w", err)
		}
		// 4: both coordinates follow, uncompressed (SEC 1 section 2.3.3). Points off the curve are
		// found out.
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	case j.Type == "OKP" && j.Curve == "Ed25519":
		x, err := unbase64(j.X, ed25519.PublicKeySize)
		if err == nil && len(x) != ed25519.PublicKeySize {
			err = fmt.Errorf("%d bytes", len(x))
		}
		if err != nil {
			return nil, fmt.Errorf("x: %w", err)
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, fmt.Errorf("kty %q crv %q, want RSA, EC P-256 or OKP Ed25519", clip(j.Type), clip(j.Curve))
}

// unbase64 decodes a member of at least one and at most limit bytes.
func unbase64(s string, limit int) ([]byte, error) {
	if s == "" || len(s) > base64.RawURLEncoding.EncodedLen(limit) {
		return nil, fmt.Errorf("%d characters, want 1 to %d", len(s), base64.RawURLEncoding.EncodedLen(limit))
	}
	return base64.RawURLEncoding.DecodeString(s)
}

// clip keeps foreign text in errors short; they quote it, too.
func clip(s string) string { return s[:min(len(s), 64)] }

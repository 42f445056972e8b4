package login

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sluicenet/sluice/internal/readfile"
)

const (
	maxKeyFile   = 1 << 20 // bytes; also of a fetched JWK set
	maxKeys      = 64      // in a file or set
	maxTries     = 8       // signatures checked for one token, when it does not say which key made it
	minSecretLen = 32      // bytes: as long as the hash, RFC 7518 section 3.2
	minRSABits   = 2048    // RFC 7518 section 3.3
	maxRSABits   = 8192    // a larger key would let every forged token burn milliseconds
)

// key is a verification key, good for one algorithm only: the one its type stands for. A token's
// own "alg" merely has to agree (RFC 8725 section 3.1).
type key struct {
	id     string // kid of a JWK; empty: good for tokens of any kid
	alg    string // RFC 7518, RFC 8037
	public jwt.VerificationKey
}

// newKey checks what it can about a []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
func newKey(id string, public any) (key, error) {
	switch k := public.(type) {
	case []byte:
		if len(k) < minSecretLen {
			return key{}, fmt.Errorf("secret of %d bytes, want %d or more", len(k), minSecretLen)
		}
		return key{id, "HS256", k}, nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return key{}, fmt.Errorf("RSA key of %d bits, want %d to %d", n, minRSABits, maxRSABits)
		}
		if k.N.Bit(0) == 0 || k.E < 3 || k.E%2 == 0 {
			return key{}, errors.New("RSA key with an impossible modulus or exponent")
		}
		return key{id, "RS256", k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return key{}, fmt.Errorf("curve %s, want P-256", k.Curve.Params().Name)
		}
		return key{id, "ES256", k}, nil
	case ed25519.PublicKey:
		return key{id, "EdDSA", k}, nil
	}
	return key{}, errors.New("not an RSA, P-256 or Ed25519 key")
}

// keySet is never changed once it is made.
type keySet struct {
	algs []string // what a token may claim at all
	keys []key
}

var publicAlgs = []string{"RS256", "ES256", "EdDSA"}

// pick returns the keys that may have signed a token with this header: at most maxTries.
func (s *keySet) pick(alg, kid string) (found []jwt.VerificationKey, err error) {
	err = fmt.Errorf("%w %q", ErrKeyID, clip(kid))
	for _, k := range s.keys {
		if k.id != "" && kid != "" && k.id != kid {
			continue
		}
		if k.alg != alg {
			if len(found) == 0 {
				err = ErrAlgorithm
			}
			continue
		}
		if len(found) == maxTries {
			return nil, fmt.Errorf("%w: none given, and %d keys or more to try", ErrKeyID, maxTries)
		}
		found = append(found, k.public)
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, err
}

// readSecret reads an HS256 secret: the bytes of the file, without one line end at its end.
func readSecret(file string) (*keySet, error) {
	b, err := readfile.Read(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(b, []byte("-----BEGIN ")) {
		// Everybody may know a public key; as a secret it would let everybody sign.
		return nil, fmt.Errorf("%s: PEM is no secret; for a public key say key-file", file)
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	k, err := newKey("", b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &keySet{[]string{k.alg}, []key{k}}, nil
}

// readPEM reads one or more public keys: PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE (its key alone
// counts).
func readPEM(file string) (*keySet, error) {
	text, err := readfile.Read(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	s := &keySet{algs: publicAlgs}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		begin := bytes.LastIndex(text[:len(text)-len(rest)], []byte("-----BEGIN "))
		line := 1 + bytes.Count(text[:begin], []byte("\n"))
		public, err := parsePEM(block)
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", file, line, err)
		}
		k, err := newKey("", public)
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", file, line, err)
		}
		if s.keys = append(s.keys, k); len(s.keys) > maxTries {
			return nil, fmt.Errorf("%s line %d: more than %d keys", file, line, maxTries)
		}
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("%s holds no PEM public key", file)
	}
	if n := bytes.Count(text, []byte("-----BEGIN ")); n != len(s.keys) { // pem.Decode passes over broken blocks
		return nil, fmt.Errorf("%s: %d of %d PEM blocks are broken", file, n-len(s.keys), n)
	}
	return s, nil
}

func parsePEM(b *pem.Block) (any, error) {
	switch b.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(b.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(b.Bytes)
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	}
	return nil, fmt.Errorf("a %q block is no public key", b.Type)
}

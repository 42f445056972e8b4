package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sluicenet/sluice/internal/jsontext"
	"github.com/sluicenet/sluice/internal/readfile"
)

const maxLeeway = 5 * time.Minute

// JWTConfig says which signed tokens (RFC 7519) are good. One of SecretFile, KeyFile and JWKS is
// required. They decide about the algorithm, too: a token signed with another one than its key's is
// refused, whatever its header says.
type JWTConfig struct {
	SecretFile string // HS256: at least 32 bytes; a line end at the end does not count
	KeyFile    string // PEM with up to 8 public keys: RS256 (2,048 to 8,192 bits), ES256 or EdDSA (Ed25519)
	JWKS       string // a JWK set (RFC 7517) of up to 64 keys: a file, or for NewRemoteJWT its URL

	Audience []string      // if there are any, "aud" must name one of them
	Issuer   string        // if not empty, "iss" must be it
	Leeway   time.Duration // by how much clocks may differ, for "exp" and "nbf"; 0 to 5 minutes

	// Claims are the names of claims that become Identity.Claims, at most MaxClaims. A token need
	// not have them. What is no string arrives as JSON: 7, true, ["a","b"].
	Claims []string
}

// JWT is a provider of signed tokens whose keys are in a file. A token must have "exp", and "sub",
// the user id. The login ends at "exp", Leeway later (Identity.Expires). It may have "session", the
// netsvr session text, and "topics", an array of strings; other claims are for workers
// (JWTConfig.Claims).
//
// A token with a "kid" is checked with the key of that name; keys without a name are tried for
// every token, and all keys for a token without a "kid". One for which more than 8 keys of its
// algorithm are left is refused.
type JWT struct {
	check verifier
	read  func() (*keySet, error)
	mu    sync.Mutex // one Reload at a time
	keys  atomic.Pointer[keySet]
}

var (
	_ Immediate = (*JWT)(nil)
	_ Reloader  = (*JWT)(nil)
)

// NewJWT reads the keys. It fails with an error that names the file, and the line where there is
// one.
func NewJWT(c JWTConfig) (*JWT, error) {
	check, err := newVerifier(c)
	if err != nil {
		return nil, err
	}
	j := &JWT{check: check}
	switch {
	case isURL(c.JWKS):
		return nil, errors.New("login: jwt: jwks is a URL, want a file")
	case c.JWKS != "":
		j.read = func() (*keySet, error) { return readJWKS(c.JWKS) }
	case c.KeyFile != "":
		j.read = func() (*keySet, error) { return readPEM(c.KeyFile) }
	default:
		j.read = func() (*keySet, error) { return readSecret(c.SecretFile) }
	}
	if err := j.Reload(); err != nil {
		return nil, err
	}
	return j, nil
}

func readJWKS(file string) (*keySet, error) {
	text, err := readfile.Read(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	keys, err := parseJWKS(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

// Login implements Provider.
func (j *JWT) Login(_ context.Context, r Request) (Identity, error) { return j.LoginNow(time.Now(), r) }

// LoginNow implements Immediate. It costs one signature check, nearly always: about 5 us (HS256) to
// 80 us (ES256). It fails with ErrTooLong, ErrMalformed, ErrAlgorithm, ErrKeyID, ErrSignature,
// ErrExpired, ErrNotYet, ErrAudience, ErrIssuer, ErrClaims or ErrIdentity.
func (j *JWT) LoginNow(now time.Time, r Request) (Identity, error) {
	return j.check.verify(now, r.Token, j.keys.Load())
}

// Reload implements Reloader.
func (j *JWT) Reload() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	keys, err := j.read()
	if err != nil {
		return fmt.Errorf("login: jwt: %w", err)
	}
	j.keys.Store(keys)
	return nil
}

func isURL(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }

// verifier knows everything about good tokens but the keys and the time.
type verifier struct {
	options []jwt.ParserOption
	claims  []string // that become the Identity's
	leeway  time.Duration
}

func newVerifier(c JWTConfig) (verifier, error) {
	sources := 0
	for _, s := range []string{c.SecretFile, c.KeyFile, c.JWKS} {
		if s != "" {
			sources++
		}
	}
	if sources != 1 {
		return verifier{}, errors.New("login: jwt: want one of secret-file, key-file and jwks")
	}
	if c.Leeway < 0 || c.Leeway > maxLeeway {
		return verifier{}, fmt.Errorf("login: jwt: leeway %v is not between 0 and %v", c.Leeway, maxLeeway)
	}
	v := verifier{
		leeway: c.Leeway,
		options: []jwt.ParserOption{
			jwt.WithExpirationRequired(), jwt.WithLeeway(c.Leeway), jwt.WithStrictDecoding(),
			jwt.WithJSONNumber(), // a claim of 64 bits stays what it is
		},
		claims: slices.Clone(c.Claims),
	}
	if len(v.claims) > MaxClaims || slices.Contains(v.claims, "") {
		return verifier{}, fmt.Errorf("login: jwt: claims: an empty name, or more than %d names", MaxClaims)
	}
	if len(c.Audience) > 0 {
		if slices.Contains(c.Audience, "") {
			return verifier{}, errors.New("login: jwt: empty aud")
		}
		v.options = append(v.options, jwt.WithAudience(c.Audience...))
	}
	if c.Issuer != "" {
		v.options = append(v.options, jwt.WithIssuer(c.Issuer))
	}
	return v, nil
}

func (v verifier) verify(now time.Time, text string, keys *keySet) (Identity, error) {
	if len(text) > MaxTokenLen {
		return Identity{}, ErrTooLong
	}
	parser := jwt.NewParser(append(slices.Clone(v.options),
		jwt.WithValidMethods(keys.algs), jwt.WithTimeFunc(func() time.Time { return now }))...)
	var refused error // by the key look-up, in our own words
	// A map, not a struct: encoding/json would let "SUB" overwrite "sub" in a struct.
	claims := jwt.MapClaims{}
	token, err := parser.ParseWithClaims(text, claims, func(t *jwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok {
			// Extensions that must be understood, and we understand none (RFC 7515 section 4.1.11).
			refused = fmt.Errorf("%w: crit", ErrMalformed)
			return nil, refused
		}
		kid, _ := t.Header["kid"].(string)
		found, err := keys.pick(t.Method.Alg(), kid)
		refused = err
		return jwt.VerificationKeySet{Keys: found}, err
	})
	if refused != nil {
		return Identity{}, refused
	}
	if err != nil {
		return Identity{}, tokenError(err, token, keys.algs)
	}
	if !readableClaims(text) {
		return Identity{}, fmt.Errorf("%w: not UTF-8", ErrClaims)
	}
	id, err := identityOf(claims)
	if err == nil {
		id.Claims, err = v.claimsOf(claims)
	}
	if exp, expErr := claims.GetExpirationTime(); err == nil && expErr == nil && exp != nil {
		id.Expires = exp.Add(v.leeway)
	}
	return id, err
}

// readableClaims reports whether the claims of a token, which could be decoded, are all characters.
// What is none would become one, U+FFFD, and different users the same one.
func readableClaims(token string) bool {
	_, rest, _ := strings.Cut(token, ".")
	part, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && utf8.Valid(text) && jsontext.LoneSurrogate(text) < 0
}

// tokenError says in our words what the library found. It takes no words over that could be the
// client's.
func tokenError(err error, token *jwt.Token, algs []string) error {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return ErrMalformed
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return ErrAlgorithm
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		if !slices.Contains(algs, token.Method.Alg()) {
			return ErrAlgorithm
		}
		return ErrSignature
	case errors.Is(err, jwt.ErrTokenExpired):
		return ErrExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return ErrNotYet
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return ErrAudience
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return ErrIssuer
	}
	return fmt.Errorf("%w: %v", ErrClaims, err) // a claim missing or of another type; the text names the claim only
}

// claimsOf returns the claims that the operator has named, nil if the token has none of them.
func (v verifier) claimsOf(claims jwt.MapClaims) (named map[string]string, err error) {
	for _, name := range v.claims {
		value, ok := claims[name]
		if !ok {
			continue
		}
		text, err := claimText(value)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", ErrClaims, clip(name))
		}
		if named == nil {
			named = make(map[string]string, len(v.claims))
		}
		named[name] = text
	}
	return named, checkClaims(named)
}

// claimText returns a string as it is, and anything else as JSON.
func claimText(value any) (string, error) {
	if s, ok := value.(string); ok {
		return s, nil
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// maxDate is the end of the year 9999 in unix seconds. A date beyond it has overflowed on its way, in
// one direction or the other.
const maxDate = 253402300799

func identityOf(claims jwt.MapClaims) (id Identity, err error) {
	for _, name := range []string{"exp", "nbf"} {
		if n, ok := claims[name].(json.Number); ok {
			if f, err := n.Float64(); err != nil || f < 0 || f > maxDate {
				return Identity{}, fmt.Errorf("%w: %s out of range", ErrClaims, name)
			}
		}
	}
	if id.User, _ = claims["sub"].(string); id.User == "" {
		return Identity{}, fmt.Errorf("%w: no sub", ErrClaims)
	}
	if v, ok := claims["session"]; ok {
		if id.Session, ok = v.(string); !ok {
			return Identity{}, fmt.Errorf("%w: session is no string", ErrClaims)
		}
	}
	if v, ok := claims["topics"]; ok {
		topics, ok := v.([]any)
		if !ok || len(topics) > MaxTopics {
			return Identity{}, fmt.Errorf("%w: topics is no array of at most %d strings", ErrClaims, MaxTopics)
		}
		for _, t := range topics {
			name, _ := t.(string) // what is no string becomes an empty one, which check refuses
			id.Topics = append(id.Topics, name)
		}
	}
	if err := id.check(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

// Unguessable implements Unguessable: a token is signed.
func (*JWT) Unguessable() bool { return true }

package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var (
	t0  = time.Unix(1700000000, 0)
	bg  = context.Background()
	ann = Identity{User: "ann"}
)

// patience is how long a test waits for what must come, and never is for timers that must not run
// out meanwhile, however long the machine stands still.
const (
	patience = 20 * time.Second
	never    = 5 * time.Minute
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	rewrite(t, file, text)
	return file
}

func rewrite(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func same(a, b Identity) bool {
	return a.User == b.User && a.Session == b.Session && slices.Equal(a.Topics, b.Topics) && maps.Equal(a.Claims, b.Claims)
}

// wantRefused checks that err is want and a refusal, and that its text does not give the token away.
func wantRefused(t testing.TB, id Identity, err, want error, token string) {
	t.Helper()
	if !errors.Is(err, want) || !errors.Is(err, ErrRefused) || errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v, want %v", err, want)
	}
	wantNobody(t, id, err, token)
}

func wantUnavailable(t testing.TB, id Identity, err error, token string) {
	t.Helper()
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRefused) {
		t.Errorf("error %v, want no verdict", err)
	}
	wantNobody(t, id, err, token)
}

func wantNobody(t testing.TB, id Identity, err error, token string) {
	t.Helper()
	if !same(id, Identity{}) {
		t.Errorf("identity %+v with error %v", id, err)
	}
	if err != nil && (len(token) > 3 && strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "\n")) {
		t.Errorf("error holds the token or a line end: %q", err)
	}
}

// noLeaks fails the test if there are more goroutines at its end than now.
func noLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 64<<10)
				t.Errorf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// signers are the keys of the tests. A second RSA key stands for a stranger's.
type signers struct {
	rsa, stranger *rsa.PrivateKey
	ec, p384      *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
	secret        []byte
}

var keysOnce = sync.OnceValue(func() (s signers) {
	var errs [5]error
	s.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	s.stranger, errs[1] = rsa.GenerateKey(rand.Reader, 2048)
	s.ec, errs[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.p384, errs[3] = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, s.ed, errs[4] = ed25519.GenerateKey(rand.Reader)
	s.secret = []byte("0123456789abcdef0123456789abcdef")
	if err := errors.Join(errs[:]...); err != nil {
		panic(err)
	}
	return s
})

func pemOf(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwkOf writes a public key as a JWK.
func jwkOf(t testing.TB, id string, public any) jwk {
	t.Helper()
	switch k := public.(type) {
	case *rsa.PublicKey:
		return jwk{Type: "RSA", ID: id, N: b64(k.N.Bytes()), E: b64(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		return jwk{Type: "EC", ID: id, Curve: k.Params().Name, X: b64(point[1 : 1+half]), Y: b64(point[1+half:])}
	case ed25519.PublicKey:
		return jwk{Type: "OKP", ID: id, Curve: "Ed25519", X: b64(k)}
	}
	t.Fatalf("no JWK of %T", public)
	return jwk{}
}

func jwksOf(t testing.TB, keys ...jwk) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// claims are good ones at t0, with changes; a nil value takes a claim away.
func claims(changes ...any) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "ann", "exp": t0.Unix() + 60, "iss": "https://id.example", "aud": "sluice"}
	for i := 0; i < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == nil {
			delete(c, name)
		} else {
			c[name] = changes[i+1]
		}
	}
	return c
}

// sign makes a token; kid is left out if empty.
func sign(t testing.TB, m jwt.SigningMethod, kid string, key any, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(m, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

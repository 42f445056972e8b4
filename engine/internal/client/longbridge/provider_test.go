package longbridge_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/unhurried"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// Login providers, seen by clients of a running gateway. Tokens are signed by hand here.

// startWith runs a server with the provider of a --login value.
func startWith(t testing.TB, spec string) *server.Server {
	t.Helper()
	p, err := login.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	return startWithProvider(t, p, nil)
}

func startWithProvider(t testing.TB, p login.Provider, change func(*server.Config)) *server.Server {
	t.Helper()
	t.Cleanup(func() { // after the server's end
		if c, ok := p.(io.Closer); ok {
			_ = c.Close()
		}
	})
	return start(t, func(c *server.Config) {
		c.Gateway.Login = p
		if change != nil {
			change(c)
		}
	})
}

type claims map[string]any

// with returns the claims with some changed; nil takes one away.
func (c claims) with(pairs ...any) claims {
	out := make(claims)
	for k, v := range c {
		out[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		if out[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
			delete(out, pairs[i].(string))
		}
	}
	return out
}

// signed makes a token.
func signed(header string, c claims, sign func(text []byte) []byte) string {
	body, _ := json.Marshal(c)
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(text)))
}

func hs256(secret []byte) func([]byte) []byte {
	return func(text []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(text)
		return h.Sum(nil)
	}
}

func rs256(key *rsa.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func eddsa(key ed25519.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte { return ed25519.Sign(key, text) }
}

func unsigned([]byte) []byte { return nil }

var signer = sync.OnceValue(func() (k struct {
	rsa    *rsa.PrivateKey
	ed     ed25519.PrivateKey
	secret []byte
}) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	k.secret = []byte("thirty-two bytes that nobody sees")
	return k
})

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func publicPEM(t *testing.T, keys ...any) []byte {
	t.Helper()
	var out []byte
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return out
}

// jwks is a JWK set of an Ed25519 key under one or more names.
func jwks(key ed25519.PrivateKey, names ...string) string {
	var keys []string
	for _, name := range names {
		keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, name,
			base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))))
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

func TestJWT(t *testing.T) {
	k := signer()
	now := time.Now().Unix()
	good := claims{"sub": "ann", "exp": now + 3600, "nbf": now - 10, "aud": "chat", "iss": "us", "topics": []string{"news"}}
	public := publicPEM(t, &k.rsa.PublicKey, k.ed.Public())
	rules := ",aud=chat,iss=us"
	edHeader, rsHeader, hsHeader := `{"alg":"EdDSA","typ":"JWT"}`, `{"alg":"RS256","typ":"JWT"}`, `{"alg":"HS256","typ":"JWT"}`
	byKeys := startWith(t, "jwt:key-file="+file(t, "keys.pem", public)+rules)
	bySecret := startWith(t, "jwt:secret-file="+file(t, "secret", k.secret)+rules)
	bySet := startWith(t, "jwt:jwks="+file(t, "jwks.json", []byte(jwks(k.ed, "one")))+rules)
	for _, tt := range []struct {
		name  string
		s     *server.Server
		token string
		good  bool
	}{
		{"RS256", byKeys, signed(rsHeader, good, rs256(k.rsa)), true},
		{"EdDSA", byKeys, signed(edHeader, good, eddsa(k.ed)), true},
		{"HS256", bySecret, signed(hsHeader, good, hs256(k.secret)), true},
		{"EdDSA, key of a set", bySet, signed(`{"alg":"EdDSA","kid":"one"}`, good, eddsa(k.ed)), true},
		{"one of two aud", byKeys, signed(edHeader, good.with("aud", []string{"x", "chat"}), eddsa(k.ed)), true},

		{"unknown kid", bySet, signed(`{"alg":"EdDSA","kid":"two"}`, good, eddsa(k.ed)), false},
		{"expired", byKeys, signed(edHeader, good.with("exp", now-1), eddsa(k.ed)), false},
		{"no exp", byKeys, signed(edHeader, good.with("exp", nil), eddsa(k.ed)), false},
		{"not yet", byKeys, signed(edHeader, good.with("nbf", now+3600), eddsa(k.ed)), false},
		{"wrong aud", byKeys, signed(edHeader, good.with("aud", "x"), eddsa(k.ed)), false},
		{"no aud", byKeys, signed(edHeader, good.with("aud", nil), eddsa(k.ed)), false},
		{"wrong iss", byKeys, signed(edHeader, good.with("iss", "them"), eddsa(k.ed)), false},
		{"no sub", byKeys, signed(edHeader, good.with("sub", nil), eddsa(k.ed)), false},
		{"none", byKeys, signed(`{"alg":"none"}`, good, unsigned), false},
		{"none, for a secret", bySecret, signed(`{"alg":"none"}`, good, unsigned), false},
		{"the public key as a secret", byKeys, signed(hsHeader, good, hs256(public)), false},
		{"another algorithm than the key's", byKeys, signed(rsHeader, good, eddsa(k.ed)), false},
		{"no signature", byKeys, signed(edHeader, good, unsigned), false},
		{"a stranger's secret", bySecret, signed(hsHeader, good, hs256([]byte("thirty-two bytes of somebody else"))), false},
		{"RS256 for a secret", bySecret, signed(rsHeader, good, rs256(k.rsa)), false},
		{"empty", byKeys, "", false},
		{"dots", byKeys, "..", false},
		{"too long", byKeys, signed(edHeader, good.with("x", strings.Repeat("x", 8<<10)), eddsa(k.ed)), false},
	} {
		for _, f := range []form{forms[0], forms[4]} {
			t.Run(tt.name+", "+f.name, func(t *testing.T) {
				p := dial(t, tt.s, f)
				if !tt.good {
					p.wantAuthRefused(tt.token, 5, 401)
					return
				}
				p.auth(tt.token)
				if n := tt.s.Gateway().Online("ann"); n != 1 {
					t.Errorf("%d connections of ann, want 1", n)
				}
				if err := tt.s.Publish(t.Context(), "news", []byte("hello")); err != nil {
					t.Fatal(err)
				}
				if g := p.want(); g.typ != 3 || string(g.body) != "hello" {
					t.Errorf("got %+v, want a push of the topic in the token", g)
				}
				_ = p.conn.Close()
				await(t, "the slot", func() bool { return tt.s.Gateway().Online("ann") == 0 })
			})
		}
	}
}

// A one-time token is good once, for its life, and for whom it was made.
func TestOneTimeTokens(t *testing.T) {
	otp, err := login.NewOTP(login.OTPConfig{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := startWithProvider(t, otp, nil)
	issueAt := func(at time.Time, user string) string {
		token, err := otp.Issue(at, user)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	issue := func(user string) string { return issueAt(time.Now(), user) }
	for _, f := range forms {
		token := issue("ann-" + f.name)
		p := dial(t, s, f)
		ticket := p.auth(token).id
		if n := s.Gateway().Online("ann-" + f.name); n != 1 {
			t.Errorf("%d connections of its user", n)
		}
		dial(t, s, f).wantAuthRefused(token, 5, 401)
		dial(t, s, f).wantAuthRefused(strings.ToUpper(issue("ann")), 5, 401)
		dial(t, s, f).wantAuthRefused(issue("ann")+" ", 5, 401)
		dial(t, s, f).wantAuthRefused(ticket, 5, 401)
		dial(t, s, f).wantReconnectRefused(issue("ann"))
	}
	// Nearly over, with some minutes to try it in, and just over.
	old := dial(t, s, forms[0])
	old.auth(issueAt(time.Now().Add(-50*time.Minute), "ann"))
	dial(t, s, forms[0]).wantAuthRefused(issueAt(time.Now().Add(-time.Hour-time.Millisecond), "ann"), 5, 401)
}

// While keys cannot be had nobody gets in, and each is told so in time; new keys are found by
// themselves.
func TestJWKSByURL(t *testing.T) {
	t.Parallel()
	k := signer()
	var handler atomic.Pointer[http.HandlerFunc]
	answer := func(h http.HandlerFunc) { handler.Store(&h) }
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load())(w, r) }))
	t.Cleanup(site.Close)
	elsewhere := httptest.NewServer(text(jwks(k.ed, "one", "two", "three")))
	t.Cleanup(elsewhere.Close)
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

	answer(hang)
	asking := func(timeout time.Duration) *server.Server {
		p, err := login.NewRemoteJWT(login.RemoteJWTConfig{
			JWTConfig:  login.JWTConfig{JWKS: site.URL + "/jwks"},
			MinRefresh: 20 * time.Millisecond, MaxStale: time.Hour, Timeout: timeout,
		})
		if err != nil {
			t.Fatal(err)
		}
		return startWithProvider(t, p, nil)
	}
	token := func(kid string) string {
		return signed(`{"alg":"EdDSA","kid":"`+kid+`"}`, claims{"sub": "ann", "exp": time.Now().Unix() + 3600}, eddsa(k.ed))
	}
	tryAt := func(s *server.Server, kid string) (status byte) {
		p := dial(t, s, forms[0])
		id := p.send(2, p.message("token", token(kid)))
		g := p.want()
		if g.typ != 2 || g.id != id {
			t.Fatalf("got %+v", g)
		}
		if g.status != 0 {
			p.wantEnd()
		}
		if d := time.Since(p.begun); d > patience {
			t.Errorf("took %v", d)
		}
		_ = p.conn.Close()
		return g.status
	}
	hasty := asking(300 * time.Millisecond) // long before a login's time is up
	for range 3 {
		if got := tryAt(hasty, "one"); got != 7 {
			t.Errorf("hangs: status %d, want 7", got)
		}
	}
	answer(text(""))
	s := asking(never) // an answer that is late is one
	try := func(kid string) byte { return tryAt(s, kid) }
	for name, h := range map[string]http.HandlerFunc{
		"error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"garbage":   text("<html>"),
		"no keys":   text(`{"keys":[]}`),
		"symmetric": text(`{"keys":[{"kty":"oct","kid":"one","k":"AAAA"}]}`),
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, jwks(k.ed, "one")+strings.Repeat(" ", 2<<20))
		},
	} {
		answer(h)
		for range 3 {
			if got := try("one"); got != 7 {
				t.Errorf("%s: status %d, want 7", name, got)
			}
		}
	}
	answer(text(jwks(k.ed, "one")))
	await(t, "the keys", func() bool { return try("one") == 0 })
	if got := try("two"); got != 5 {
		t.Errorf("unknown key: status %d", got)
	}
	answer(text(jwks(k.ed, "two"))) // rotated
	await(t, "the new key", func() bool { return try("two") == 0 })
	if got := try("one"); got != 5 {
		t.Errorf("old key: status %d", got)
	}
	answer(hang)
	if got := try("two"); got != 0 {
		t.Errorf("a key that is known, while the site hangs: status %d", got)
	}
	if st := s.Gateway().Stats(); st.Refused["unavailable"] < 18 || st.Refused["refused"] < 2 {
		t.Errorf("refused %v", st.Refused)
	}
	if st := hasty.Gateway().Stats(); st.Refused["unavailable"] != 3 {
		t.Errorf("refused %v", st.Refused)
	}
}

// counting counts the calls under way.
type counting struct{ now, most atomic.Int64 }

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	return http.DefaultTransport.RoundTrip(r)
}

// The service that is asked may say what it likes, late or never.
func TestHTTPCallback(t *testing.T) {
	t.Parallel()
	unhurried.Run(t, testHTTPCallback)
}

func testHTTPCallback(t *unhurried.Try, verdict time.Duration) {
	mux := http.NewServeMux()
	mux.HandleFunc("/yes", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"user":"root"}`) })
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Token, Protocol, Peer string
			Metadata              map[string]string
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Protocol != "longbridge" || q.Peer != "127.0.0.1" || r.Method != "POST" {
			t.Errorf("%s %+v, %v", r.Method, q, err)
		}
		switch q.Token {
		case "otp-123":
			_, _ = fmt.Fprintf(w, `{"user":"ann","session":"level 3","topics":["news",%q]}`, "lang-"+q.Metadata["accept-language"])
		case "no":
			w.WriteHeader(http.StatusForbidden)
		case "redirect":
			http.Redirect(w, r, "/yes", http.StatusTemporaryRedirect)
		case "huge":
			_, _ = io.WriteString(w, `{"user":"root"}`+strings.Repeat(" ", 1<<20))
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "garbage":
			_, _ = io.WriteString(w, `{"user":"root"`)
		case "cut":
			panic(http.ErrAbortHandler)
		default:
			<-r.Context().Done()
		}
	})
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	calls := new(counting)
	provider, err := login.NewHTTP(login.HTTPConfig{URL: site.URL + "/login", Timeout: never, InFlight: 8, Transport: calls})
	if err != nil {
		t.Fatal(err)
	}
	s := startWithProvider(t, provider, func(c *server.Config) { c.Gateway.LoginTimeout = verdict })
	if err := s.Handle("cmd:30", func(r *gateway.Request) { r.Reply([]byte(r.Client().Session())) }); err != nil {
		t.Fatal(err)
	}

	inside := &peer{tb: t, conn: dialRaw(t, address(s))}
	inside.r = newReader(inside.conn)
	// Vector 3: token otp-123, metadata accept-language=en.
	inside.raw("1109 01020000000100000000200a076f74702d31323312150a0f6163636570742d6c616e67756167651202656e")
	inside.session(inside.wantResponse(2, 1, 0))
	if got := inside.call(30, ""); got != "level 3" {
		t.Errorf("session text %q", got)
	}
	if err := s.Publish(t.Context(), "lang-en", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if g := inside.want(); g.typ != 3 || string(g.body) != "hello" {
		t.Errorf("got %+v, want a push", g)
	}

	dial(t, s, forms[0]).wantAuthRefused("no", 5, 401)
	for _, token := range []string{"redirect", "huge", "broken", "garbage", "cut"} {
		dial(t, s, forms[0]).wantAuthRefused(token, 7, 503)
	}
	const crowd = 200
	ended := make(chan time.Duration, crowd)
	go each(crowd, func(i int) {
		p := dial(t, s, forms[i%len(forms)])
		p.wantAuthRefused("hang", 7, 503)
		ended <- time.Since(p.begun)
	})
	var worst, slowest, quickest time.Duration = 0, 0, time.Hour
	for n := 0; n < crowd; {
		select {
		case d := <-ended:
			slowest, quickest = max(slowest, d), min(quickest, d)
			n++
		default:
			begun := time.Now()
			inside.call(200, "x")
			worst = max(worst, time.Since(begun))
			time.Sleep(time.Millisecond)
		}
	}
	t.Logf("%d logins nobody decided on ended after %v to %v; the slowest echo inside took %v", crowd, quickest, slowest, worst)
	if n := calls.most.Load(); n > 8 {
		t.Errorf("%d calls at once, want at most 8", n)
	}
	if quickest < verdict-time.Millisecond || slowest > patience {
		t.Errorf("ended after %v to %v, want %v", quickest, slowest, verdict)
	}
	await(t, "the calls' end", func() bool { return calls.now.Load() == 0 })
	// A login behind all these does not wait for them: it would not be decided before its time is up.
	p := dial(t, s, forms[0])
	p.auth("otp-123")
	if st := s.Gateway().Stats(); st.Refused["unavailable"] != crowd+5 || st.Refused["refused"] != 1 || st.Logins != 2 {
		t.Errorf("refused %v, %d logins", st.Refused, st.Logins)
	}
}

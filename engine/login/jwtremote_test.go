package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/golang-jwt/jwt/v5"
)

// issuer is a server of keys without a network, for tests in a bubble of their own time.
type issuer struct {
	mu      sync.Mutex
	body    string
	fail    error
	delay   time.Duration
	fetches int
}

func (s *issuer) set(body string, fail error) {
	s.mu.Lock()
	s.body, s.fail = body, fail
	s.mu.Unlock()
}

func (s *issuer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

func (s *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.fetches++
	body, fail, delay := s.body, s.fail, s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if fail != nil {
		return nil, fail
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func newRemote(t testing.TB, c RemoteJWTConfig) *RemoteJWT {
	t.Helper()
	if c.JWKS == "" {
		c.JWKS = "https://id.example/jwks?key=hidden"
	}
	j, err := NewRemoteJWT(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// signNow is sign for the provider's own clock.
func signNow(t testing.TB, kid string) string {
	return sign(t, jwt.SigningMethodEdDSA, kid, keysOnce().ed, claims("exp", time.Now().Add(1000*time.Hour).Unix()))
}

func TestRemoteJWT(t *testing.T) {
	k := keysOnce()
	one := jwksOf(t, jwkOf(t, "one", k.ed.Public()))
	two := jwksOf(t, jwkOf(t, "one", k.ed.Public()), jwkOf(t, "two", k.ed.Public()))
	down := errors.New("connection refused")
	faketime.Test(t, func(t *testing.T) {
		s := &issuer{body: one, delay: time.Second}
		j := newRemote(t, RemoteJWTConfig{Transport: s})
		login := func(kid string) error {
			t.Helper()
			token := signNow(t, kid)
			id, err := j.Login(bg, Request{Token: token})
			if err == nil && !same(id, ann) {
				t.Errorf("%+v", id)
			} else if errors.Is(err, ErrUnavailable) {
				wantUnavailable(t, id, err, token)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("error holds the URL's query: %v", err)
			}
			return err
		}
		steps := []struct {
			name    string
			sleep   time.Duration
			body    string
			fail    error
			kid     string
			want    error
			fetches int // since the start
		}{
			{"waits for the first fetch", 0, one, nil, "one", nil, 1},
			{"unknown kid, fetched just now", 0, two, nil, "two", ErrKeyID, 1},
			{"unknown kid, fetched long ago", 10 * time.Second, two, nil, "two", nil, 2},
			{"known kid", time.Minute, two, nil, "one", nil, 2},
			{"periodic fetch", 10 * time.Minute, one, nil, "one", nil, 3},
			{"key withdrawn", 0, one, nil, "two", ErrRefused, 4},
			{"unknown kid and no answer", time.Minute, one, down, "three", ErrUnavailable, 5},
			{"again, at once", 0, one, down, "three", ErrUnavailable, 5},
			{"known kid meanwhile", 0, one, down, "one", nil, 5},
			{"tried again after 10 s, not 10 min", 25 * time.Second, one, down, "one", nil, 7},
			{"known kid, an hour later", time.Hour, one, down, "one", ErrUnavailable, -1},
			{"back again", 15 * time.Second, one, nil, "one", nil, -1},
			{"garbage", 10 * time.Minute, "{}", nil, "one", nil, -1},
			{"garbage for more than an hour", time.Hour + time.Minute, "{}", nil, "one", ErrUnavailable, -1},
		}
		for _, v := range steps {
			s.set(v.body, v.fail)
			time.Sleep(v.sleep)
			if err := login(v.kid); !errors.Is(err, v.want) {
				t.Errorf("%s: %v, want %v", v.name, err, v.want)
			}
			if n := s.count(); v.fetches >= 0 && n != v.fetches {
				t.Errorf("%s: %d fetches, want %d", v.name, n, v.fetches)
			}
		}
	})
}

// Tokens expire, keys grow old and unknown ones are asked for by the clock from outside, also when it is
// set back, whatever time it is here.
func TestRemoteJWTClock(t *testing.T) {
	k := keysOnce()
	one := jwksOf(t, jwkOf(t, "one", k.ed.Public()))
	two := jwksOf(t, jwkOf(t, "one", k.ed.Public()), jwkOf(t, "two", k.ed.Public()))
	three := jwksOf(t, jwkOf(t, "one", k.ed.Public()), jwkOf(t, "three", k.ed.Public()))
	down := errors.New("connection refused")
	faketime.Test(t, func(t *testing.T) {
		var clock atomic.Int64 // after t0
		s := &issuer{body: one}
		j := newRemote(t, RemoteJWTConfig{Transport: s, Refresh: never, MinRefresh: 10 * time.Second,
			Now: func() time.Time { return t0.Add(time.Duration(clock.Load())) }})
		steps := []struct {
			name    string
			at      time.Duration
			body    string
			fail    error
			kid     string
			exp     time.Duration
			want    error
			fetches int // since the start
		}{
			{"good", 0, one, nil, "one", time.Minute, nil, 1},
			{"at its end", time.Minute, one, nil, "one", time.Minute, ErrExpired, 1},
			{"unknown kid, fetched just now", 9 * time.Second, two, nil, "two", time.Minute, ErrKeyID, 1},
			{"unknown kid, fetched long ago", 10 * time.Second, two, nil, "two", time.Minute, nil, 2},
			{"set back by a day: good", -24 * time.Hour, two, nil, "one", time.Minute, nil, 2},
			{"set back by a day: unknown kid", -24 * time.Hour, three, nil, "three", time.Minute, nil, 3},
			{"set forward by a day: the keys are old", 0, three, down, "one", time.Minute, ErrUnavailable, 4},
			{"and come again", 10 * time.Second, three, nil, "one", time.Minute, nil, 5},
		}
		for _, v := range steps {
			s.set(v.body, v.fail)
			clock.Store(int64(v.at))
			token := sign(t, jwt.SigningMethodEdDSA, v.kid, k.ed, claims("exp", t0.Add(v.exp).Unix()))
			if _, err := j.Login(bg, Request{Token: token}); !errors.Is(err, v.want) {
				t.Errorf("%s: %v, want %v", v.name, err, v.want)
			}
			if n := s.count(); n != v.fetches {
				t.Errorf("%s: %d fetches, want %d", v.name, n, v.fetches)
			}
		}
		if n, at, err := j.Status(); n != 2 || !at.Equal(t0.Add(10*time.Second)) || err != nil {
			t.Errorf("status: %d keys at %v, %v", n, at, err)
		}
	})
}

func TestRemoteJWTFlood(t *testing.T) {
	body := jwksOf(t, jwkOf(t, "one", keysOnce().ed.Public()))
	faketime.Test(t, func(t *testing.T) {
		s := &issuer{body: body, delay: 100 * time.Millisecond}
		j := newRemote(t, RemoteJWTConfig{Transport: s})
		token := signNow(t, "forged")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 300 { // 30 s
					if _, err := j.Login(bg, Request{Token: token}); !errors.Is(err, ErrKeyID) {
						t.Error(err)
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if n := s.count(); n < 3 || n > 4 {
			t.Errorf("%d fetches in 30 s", n)
		}
	})
}

func TestRemoteJWTDeadlines(t *testing.T) {
	body := jwksOf(t, jwkOf(t, "one", keysOnce().ed.Public()))
	faketime.Test(t, func(t *testing.T) {
		s := &issuer{body: body, delay: time.Hour}
		j := newRemote(t, RemoteJWTConfig{Transport: s})
		token := signNow(t, "one")
		start := time.Now()
		ctx, cancel := context.WithTimeout(bg, 2*time.Second)
		defer cancel()
		id, err := j.Login(ctx, Request{Token: token})
		wantUnavailable(t, id, err, token)
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("the caller's deadline of 2 s came after %v", d)
		}
		id, err = j.Login(bg, Request{Token: token})
		wantUnavailable(t, id, err, token)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("the fetch's deadline of 5 s came after %v", d)
		}
		if n, _, err := j.Status(); n != 0 || err == nil {
			t.Errorf("status: %d keys, %v", n, err)
		}
		if err := j.Reload(); err == nil || !strings.HasPrefix(err.Error(), "login: jwt: fetching keys from id.example: ") {
			t.Errorf("reload: %v", err)
		}
		long := strings.Repeat("x", 9<<10)
		id, err = j.Login(bg, Request{Token: long})
		wantRefused(t, id, err, ErrTooLong, long)

		s.mu.Lock()
		s.delay = 0
		s.mu.Unlock()
		if err := j.Reload(); err != nil {
			t.Error(err)
		}
		if n, at, err := j.Status(); n != 1 || !at.Equal(time.Now()) || err != nil {
			t.Errorf("status: %d keys at %v, %v", n, at, err)
		}
	})
}

func TestRemoteJWTClose(t *testing.T) {
	keysOnce()
	faketime.Test(t, func(t *testing.T) {
		j := newRemote(t, RemoteJWTConfig{Transport: &issuer{delay: time.Hour}})
		token := signNow(t, "one")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				id, err := j.Login(bg, Request{Token: token})
				wantUnavailable(t, id, err, token)
			})
			wg.Go(func() {
				if err := j.Reload(); err == nil {
					t.Error("reloaded")
				}
			})
		}
		synctest.Wait()
		for range 2 {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		time.Sleep(time.Minute) // by now it would wait for a fetch
		id, err := j.Login(bg, Request{Token: token})
		wantUnavailable(t, id, err, token)
	})
}

func TestRemoteJWTServer(t *testing.T) {
	noLeaks(t)
	good := jwksOf(t, jwkOf(t, "one", keysOnce().ed.Public()))
	var mode atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mode.Load() {
		case "redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "500":
			w.WriteHeader(500)
		case "empty":
		case "html":
			fmt.Fprint(w, "<html>log in first</html>")
		case "huge":
			fmt.Fprint(w, good, strings.Repeat(" ", maxKeyFile))
		case "slow":
			<-r.Context().Done()
		case "slow body":
			fmt.Fprint(w, good[:9])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			fmt.Fprint(w, good)
		}
	}))
	t.Cleanup(srv.Close)
	mode.Store("")
	// An answer that takes its time is one, but where it is a time-out that must come.
	patient := RemoteJWTConfig{JWTConfig: JWTConfig{JWKS: srv.URL}, Timeout: never}
	hasty := patient
	hasty.Timeout = 200 * time.Millisecond
	with := map[time.Duration]*RemoteJWT{never: newRemote(t, patient), hasty.Timeout: newRemote(t, hasty)}
	for _, j := range with {
		for deadline := time.Now().Add(patience); j.Reload() != nil; {
			if time.Now().After(deadline) {
				t.Fatal(j.Reload())
			}
		}
	}
	token := signNow(t, "one")
	for m, want := range map[string]string{
		"redirect": "status 302", "500": "status 500", "empty": "not a JWK set", "html": "not a JWK set",
		"huge": "more than 1048576 bytes", "slow": "deadline exceeded", "slow body": "deadline exceeded",
	} {
		mode.Store(m)
		c := patient
		if strings.HasPrefix(m, "slow") {
			c = hasty
		}
		j := with[c.Timeout]
		if err := j.Reload(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", m, err)
		}
		if id, err := j.Login(bg, Request{Token: token}); err != nil || !same(id, ann) {
			t.Errorf("%s: the old keys are not in force: %v", m, err)
		}
		fresh := newRemote(t, c)
		id, err := fresh.Login(bg, Request{Token: token})
		wantUnavailable(t, id, err, token)
	}
}

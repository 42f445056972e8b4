package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// newHTTP makes a provider whose time-out does not run out unless c says so.
func newHTTP(t testing.TB, c HTTPConfig) *HTTP {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = never
	}
	h, err := NewHTTP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestHTTPRequest(t *testing.T) {
	noLeaks(t)
	var head, body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		head = strings.Join([]string{r.Method, r.URL.String(), r.Header.Get("Content-Type"), user, password}, " ")
		body = string(b)
		fmt.Fprint(w, `{"user":"ann"}`)
	}))
	t.Cleanup(srv.Close)
	h := newHTTP(t, HTTPConfig{URL: strings.Replace(srv.URL, "//", "//gate:pass@", 1) + "/login?v=1#x"})
	for _, v := range []struct {
		r    Request
		want string
	}{
		{Request{}, `{"token":"","protocol":"","peer":""}`},
		{Request{Token: "t\"\n", Protocol: "gosoc", Peer: netip.MustParseAddr("192.0.2.1")},
			`{"token":"t\"\n","protocol":"gosoc","peer":"192.0.2.1"}`},
		{Request{Token: "t", Protocol: "longbridge", Peer: netip.MustParseAddr("::ffff:192.0.2.1"),
			Metadata: map[string]string{"b": "2", "a": "1"}},
			`{"token":"t","protocol":"longbridge","peer":"192.0.2.1","metadata":{"a":"1","b":"2"}}`},
	} {
		if _, err := h.Login(bg, v.r); err != nil {
			t.Error(err)
		}
		if body != v.want || head != "POST /login?v=1 application/json gate pass" {
			t.Errorf("%s\n%s, want\n%s", head, body, v.want)
		}
	}
	body = ""
	for token, want := range map[string]error{strings.Repeat("t", MaxTokenLen+1): ErrTooLong, "to\xffken": ErrMalformed} {
		id, err := h.Login(bg, Request{Token: token})
		wantRefused(t, id, err, want, token)
	}
	if body != "" {
		t.Errorf("sent %s", body)
	}
}

const (
	yes = iota
	no
	unknown
)

var verdicts = []struct {
	name   string
	status int
	body   string
	want   int
	id     Identity
}{
	{"user", 200, `{"user":"ann"}`, yes, ann},
	{"all", 200, `{"user":"ann","session":"level 3","topics":["a","b"],"more":1}`, yes, Identity{User: "ann", Session: "level 3", Topics: []string{"a", "b"}}},
	{"claims", 200, `{"user":"ann","claims":{"tier":"gold","age":12345678901234567890,"roles":[ "a", "b" ],"no":null,"yes":true}}`, yes,
		Identity{User: "ann", Claims: map[string]string{"tier": "gold", "age": "12345678901234567890", "roles": `["a","b"]`, "no": "null", "yes": "true"}}},
	{"anonymous", 200, `{"anonymous":true,"topics":["a"]}`, yes, Identity{Topics: []string{"a"}}},
	{"a user that is not UTF-8", 200, "{\"user\":\"ann\xff\"}", unknown, Identity{}},
	{"a user with half a character", 200, `{"user":"ann\udcff"}`, unknown, Identity{}},
	{"a claim that is not UTF-8", 200, "{\"user\":\"ann\",\"claims\":{\"tier\":\"\xe4\"}}", unknown, Identity{}},
	{"a user with a character in two halves", 200, `{"user":"\ud83d\ude00"}`, yes, Identity{User: "😀"}},
	{"two users", 200, `{"user":"ann","user":"bob"}`, unknown, Identity{}},
	{"a user in another case", 200, `{"User":"ann"}`, unknown, Identity{}},
	{"two users, one in another case", 200, `{"user":"ann","USER":"bob"}`, unknown, Identity{}},
	{"two claims of a name", 200, `{"user":"ann","claims":{"tier":"gold","tier":"lead"}}`, unknown, Identity{}},
	{"what is not looked at, twice", 200, `{"user":"ann","more":1,"more":2}`, yes, ann},
	{"null", 200, `null`, unknown, Identity{}},
	{"with an end", 200, `{"user":"ann","expires":1767225600}`, yes, Identity{User: "ann", Expires: time.Unix(1767225600, 0)}},
	{"without one", 200, `{"user":"ann","expires":0}`, yes, ann},
	{"an end below zero", 200, `{"user":"ann","expires":-1}`, unknown, Identity{}},
	{"an end beyond all dates", 200, `{"user":"ann","expires":253402300800}`, unknown, Identity{}},
	{"an end as text", 200, `{"user":"ann","expires":"2100-01-01"}`, unknown, Identity{}},
	{"401", 401, `{"user":"ann"}`, no, Identity{}},
	{"403", 403, "", no, Identity{}},
	{"403, huge", 403, strings.Repeat(" ", 1<<20), no, Identity{}},
	{"nobody", 200, `{}`, unknown, Identity{}},
	{"empty user", 200, `{"user":""}`, unknown, Identity{}},
	{"anonymous user", 200, `{"user":"ann","anonymous":true}`, unknown, Identity{}},
	{"anonymous false", 200, `{"anonymous":false}`, unknown, Identity{}},
	{"anonymous no bool", 200, `{"anonymous":"true"}`, unknown, Identity{}},
	{"user a number", 200, `{"user":7}`, unknown, Identity{}},
	{"user with a line end", 200, `{"user":"a\nb"}`, unknown, Identity{}},
	{"user too long", 200, `{"user":"` + strings.Repeat("u", MaxUserLen+1) + `"}`, unknown, Identity{}},
	{"session too long", 200, `{"user":"a","session":"` + strings.Repeat("s", MaxSessionLen+1) + `"}`, unknown, Identity{}},
	{"too many topics", 200, `{"user":"a","topics":["t"` + strings.Repeat(`,"t"`, MaxTopics) + `]}`, unknown, Identity{}},
	{"topics a string", 200, `{"user":"a","topics":"t"}`, unknown, Identity{}},
	{"claims too long", 200, `{"user":"a","claims":{"k":"` + strings.Repeat("v", MaxClaimsLen) + `"}}`, unknown, Identity{}},
	{"claim without a name", 200, `{"user":"a","claims":{"":"v"}}`, unknown, Identity{}},
	{"claims an array", 200, `{"user":"a","claims":["v"]}`, unknown, Identity{}},
	{"empty body", 200, "", unknown, Identity{}},
	{"null", 200, "null", unknown, Identity{}},
	{"array", 200, `[{"user":"ann"}]`, unknown, Identity{}},
	{"cut off", 200, `{"user":"ann"`, unknown, Identity{}},
	{"two answers", 200, `{"user":"ann"}{"user":"ann"}`, unknown, Identity{}},
	{"HTML", 200, "<html>", unknown, Identity{}},
	{"echo of the token", 200, "secret-token", unknown, Identity{}},
	{"huge", 200, `{"user":"ann"}` + strings.Repeat(" ", maxVerdict), unknown, Identity{}},
	{"201", 201, `{"user":"ann"}`, unknown, Identity{}},
	{"204", 204, "", unknown, Identity{}},
	{"302", 302, `{"user":"ann"}`, unknown, Identity{}},
	{"307", 307, `{"user":"ann"}`, unknown, Identity{}},
	{"400", 400, `{"user":"ann"}`, unknown, Identity{}},
	{"404", 404, "", unknown, Identity{}},
	{"429", 429, "", unknown, Identity{}},
	{"500", 500, `{"user":"ann"}`, unknown, Identity{}},
	{"503", 503, "", unknown, Identity{}},
}

// TestHTTPTraceparent: the service is told of which trace the login is a part, if it is one of any.
func TestHTTPTraceparent(t *testing.T) {
	noLeaks(t)
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Values("traceparent")
		fmt.Fprint(w, `{"user":"ann"}`)
	}))
	t.Cleanup(srv.Close)
	h := newHTTP(t, HTTPConfig{URL: srv.URL})
	const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, want := range []string{"", traceparent} {
		if _, err := h.Login(bg, Request{Token: "t", Traceparent: want}); err != nil {
			t.Error(err)
		}
		if strings.Join(got, ",") != want || want == "" && len(got) > 0 {
			t.Errorf("the service is told %q, want %q", got, want)
		}
	}
}

func TestHTTPVerdicts(t *testing.T) {
	noLeaks(t)
	var now, redirected atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/yes" {
			redirected.Add(1)
			fmt.Fprint(w, `{"user":"ann"}`)
			return
		}
		v := verdicts[now.Load()]
		w.Header().Set("Location", "/yes")
		w.WriteHeader(v.status)
		io.WriteString(w, v.body)
	}))
	t.Cleanup(srv.Close)
	h := newHTTP(t, HTTPConfig{URL: srv.URL + "?key=hidden"})
	const token = "secret-token"
	for i, v := range verdicts {
		t.Run(v.name, func(t *testing.T) {
			now.Store(int64(i))
			id, err := h.Login(bg, Request{Token: token})
			switch v.want {
			case yes:
				if err != nil || !same(id, v.id) || !id.Expires.Equal(v.id.Expires) {
					t.Errorf("%+v, %v", id, err)
				}
				return
			case no:
				wantRefused(t, id, err, ErrRefused, token)
			case unknown:
				wantUnavailable(t, id, err, token)
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("error holds the URL's query: %v", err)
			}
		})
	}
	if redirected.Load() != 0 {
		t.Error("followed a redirect")
	}
}

func TestHTTPDeadlines(t *testing.T) {
	noLeaks(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/body" {
			io.WriteString(w, `{"user":"ann",`)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	for _, path := range []string{"/", "/body"} {
		for _, own := range []bool{true, false} {
			c := HTTPConfig{URL: srv.URL + path}
			start := time.Now()
			ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
			if own {
				c.Timeout = 100 * time.Millisecond
				ctx = bg
			}
			id, err := newHTTP(t, c).Login(ctx, Request{Token: "secret-token"})
			wantUnavailable(t, id, err, "secret-token")
			if d := time.Since(start); d < 100*time.Millisecond || d > patience {
				t.Errorf("%s: after %v", path, d)
			}
			cancel()
		}
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	id, err := newHTTP(t, HTTPConfig{URL: closed.URL + "/?key=hidden"}).Login(bg, Request{Token: "secret-token"})
	wantUnavailable(t, id, err, "hidden")
	ctx, cancel := context.WithCancel(bg)
	cancel()
	id, err = newHTTP(t, HTTPConfig{URL: srv.URL}).Login(ctx, Request{})
	wantUnavailable(t, id, err, "")
}

func TestHTTPInFlight(t *testing.T) {
	noLeaks(t)
	const limit, logins = 3, 20
	var under, most atomic.Int64
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		var q question
		json.NewDecoder(r.Body).Decode(&q)
		<-release
		fmt.Fprintf(w, `{"user":%q}`, q.Token)
	}))
	t.Cleanup(srv.Close)
	h := newHTTP(t, HTTPConfig{URL: srv.URL, InFlight: limit})
	var wg sync.WaitGroup
	for i := range logins {
		wg.Go(func() {
			user := fmt.Sprint("user", i)
			if id, err := h.Login(bg, Request{Token: user}); err != nil || id.User != user {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
	for under.Load() < limit {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	id, err := h.Login(ctx, Request{Token: "late"})
	wantUnavailable(t, id, err, "late")
	if err == nil || !strings.Contains(err.Error(), "waiting for one of 3 calls") {
		t.Errorf("error %v", err)
	}
	close(release)
	wg.Wait()
	if most.Load() != limit {
		t.Errorf("%d calls at once, want %d", most.Load(), limit)
	}
}

func TestHTTPClose(t *testing.T) {
	noLeaks(t)
	entered := make(chan struct{}, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		entered <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	h := newHTTP(t, HTTPConfig{URL: srv.URL, InFlight: 2})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			id, err := h.Login(bg, Request{Token: "secret-token"})
			wantUnavailable(t, id, err, "secret-token")
		})
	}
	<-entered
	<-entered
	start := time.Now()
	wg.Go(func() { h.Close() })
	h.Close()
	wg.Wait()
	id, err := h.Login(bg, Request{})
	wantUnavailable(t, id, err, "")
	if !strings.Contains(fmt.Sprint(err), errClosed.Error()) {
		t.Errorf("error %v", err)
	}
	if d := time.Since(start); d > patience {
		t.Errorf("took %v", d)
	}
}

func FuzzVerdict(f *testing.F) {
	for _, v := range verdicts {
		f.Add([]byte(v.body))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		id, err := parseVerdict(text)
		if err != nil {
			if errors.Is(err, ErrRefused) || !same(id, Identity{}) {
				t.Fatalf("%+v, %v", id, err)
			}
			return
		}
		if err := id.check(); err != nil {
			t.Fatal(err)
		}
	})
}

// A service may say whose login it refuses. What else it says with a no is no matter.
func TestHTTPRefusedUser(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"user":"ann"}`, "ann"}, {`{"user":"ann","why":1}`, "ann"}, {``, ""}, {`no`, ""}, {`{"user":1}`, ""}, {`{}`, ""},
		{`{"user":"ann","user":"bob"}`, ""}, {`{"User":"ann"}`, ""}, {`{"user":"ann\ud800"}`, ""},
		{`{"user":"` + strings.Repeat("x", MaxUserLen+1) + `"}`, ""},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, tt.body)
		}))
		h := newHTTP(t, HTTPConfig{URL: srv.URL})
		_, err := h.Login(bg, Request{Token: "x"})
		var of *UserError
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", tt.body, err)
		} else if errors.As(err, &of) {
			if of.User != tt.want {
				t.Errorf("%s: of %q, want %q", tt.body, of.User, tt.want)
			}
		} else if tt.want != "" {
			t.Errorf("%s: of nobody, want %q", tt.body, tt.want)
		}
		srv.Close()
	}
}

package admin

import (
	"bytes"
	"io"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicenet/sluice/engine/login"
)

func TestDecodeObject(t *testing.T) {
	type body struct {
		topicsBody
		Payload *string `json:"payload"`
	}
	for _, tc := range []struct {
		text string
		want string // a part of the error; empty: the text is right
	}{
		{`{"user":"x","user":"a"}`, "user is there twice"},
		{`{"user":"x","\u0075ser":"a"}`, "user is there twice"},
		{`{"USER":"x"}`, `unknown field "USER", want uniqId, connection, user, topics, payload`},
		{"{\"user\":\"\xff\"}", "not UTF-8"},
		{"{\"\xff\":\"\"}", "not UTF-8"},
		{`{"user":"\ud800"}`, "half a character: look at the \\u at byte 10"},
		{`{"user":"\udc00"}`, "half a character"},
		{`{"user":"\ud800\ud800"}`, "half a character"},
		{`{"user":"\ud83dx\ude00"}`, "half a character"},
		{`[]`, "no JSON object"},
		{`null`, "no JSON object"},
		{`"user"`, "no JSON object"},
		{``, "not one JSON value: look at byte 0 of 0"},
		{`{"user":"x"`, "not one JSON value: look at byte 11 of 11"},
		{`{"user":"x",}`, "not one JSON value: look at byte 13 of 13"},
		{`{"user":"x"}{}`, "not one JSON value: look at byte 13 of 14"},
		{`{user:"x"}`, "not one JSON value"},
		{`{"user":5}`, "user: want a string"},
		{`{"user":{"a":1}}`, "user: want a string"},
		{`{"payload":[]}`, "payload: want a string"},
		{`{"topics":"x"}`, "topics: want a list, each of it a string"},
		{`{"topics":[1]}`, "topics: want a list, each of it a string"},
		{`{"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, `unknown field "x"`},
		{`{"target":{}}`, `unknown field "target"`},
		{`{}`, ""},
		{" {\"user\":\"x\",\"topics\":[\"a\",\"b\"],\r\n\t\"payload\":\"\"} ", ""},
		{`{"user":null}`, ""},
		{`{"user":"\ud83d\ude00\\ud800\u00e9\ufffd\n"}`, ""},
		{"{\"user\":\"\U0001f600\ufffd\"}", ""},
	} {
		err := decodeObject([]byte(tc.text), new(body))
		switch {
		case tc.want == "" && err != nil, tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%.60s: %v, want %q", tc.text, err, tc.want)
		case err != nil && (strings.Contains(err.Error(), "struct") || strings.Contains(err.Error(), "Go ")):
			t.Errorf("%.60s: %v", tc.text, err)
		}
	}
	var v body
	if err := decodeObject([]byte(`{"user":"\ud83d\ude00","topics":["a","b"],"payload":"p"}`), &v); err != nil || v.User != "\U0001f600" ||
		!reflect.DeepEqual(v.Topics, []string{"a", "b"}) || v.Payload == nil || *v.Payload != "p" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := decodeObject([]byte(`{"x":1}`), new(struct{})); err == nil || !strings.Contains(err.Error(), `unknown field "x": there are none here`) {
		t.Errorf("of no fields: %v", err)
	}
}

// TestUnreadQueries: a query that says something which nobody reads does nothing, whatever the method.
func TestUnreadQueries(t *testing.T) {
	var done atomic.Int32
	s := newServer(t, newOTP(t), func(c *Config) {
		c.Dev = true
		c.Process = &Process{
			Settings: func() any { return nil },
			Reload:   func() (Reloaded, error) { done.Add(1); return Reloaded{}, nil },
			Change:   func(map[string]any) (Reloaded, error) { done.Add(1); return Reloaded{}, nil },
			Drain:    func() { done.Add(1) },
		}
	})
	for _, rt := range s.routes() {
		for method, served := range map[string]bool{
			"GET": rt.get != nil || rt.stream != nil, "POST": rt.post != nil, "PATCH": rt.patch != nil, "DELETE": rt.del != nil,
		} {
			if !served {
				continue
			}
			for _, query := range []string{"nobodyKnows=1", "user=ann;limit=5", "user=%zz", "user=ann&%"} {
				r := httptest.NewRequest(method, targetOf(rt.path), bytes.NewReader([]byte(bodyFor[rt.path])))
				r.URL.RawQuery, r.Host = query, "127.0.0.1:6070"
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				s.Handler().ServeHTTP(w, r)
				if w.Code != 400 || !strings.Contains(w.Body.String(), codeBadRequest) {
					t.Errorf("%s %s?%s: %d %s", method, rt.path, query, w.Code, w.Body)
				}
			}
		}
	}
	if n := done.Load(); n != 0 {
		t.Errorf("%d drains and reloads", n)
	}
	wantAnswer(t, ask(s, "GET", "/api/v1/openapi.json?x=1"), 400, "application/json", "there are none here")
	wantAnswer(t, ask(s, "GET", "/api/v1/config?x=1"), 400, "application/json", `unknown parameter \"x\": there are none here`)
	wantAnswer(t, ask(s, "GET", "/api/v1/sessions?limit=1001"), 400, "application/json", "limit=1001: want a number from 1 to 1000")
	wantAnswer(t, ask(s, "GET", "/api/v1/sessions?limit=0"), 400, "application/json", "limit=0: want a number from 1 to 1000")

	// A token for the wrong user is worse than none.
	for _, query := range []string{"user=ann;x", "user=%zz", "user=ann&user=bob"} {
		wantAnswer(t, ask(s, "GET", "/v2/socket/token?"+query), 400, "application/json", `"code":400`)
	}
}

// TestUnreadQueriesOfUsers: the same for those who call with a key of their own.
func TestUnreadQueriesOfUsers(t *testing.T) {
	keys, err := login.NewAPIKeys(tokenFile(t, "ann-key-0123456789 ann\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, newOTP(t), func(c *Config) { c.TokenUsers = keys })
	for query, status := range map[string]int{"user=%zz": 400, "user=bob;x": 400, "user=ann&user=bob": 400, "user=bob": 403, "user=ann": 200, "": 200} {
		if w := ask(s, "GET", "/v2/socket/token?"+query, "X-Api-Key", "ann-key-0123456789"); w.Code != status {
			t.Errorf("?%s: %d %s, want %d", query, w.Code, w.Body, status)
		}
	}
}

// TestBodiesNobodyWants: a request whose method has no body does nothing when it has one.
func TestBodiesNobodyWants(t *testing.T) {
	s := newServer(t, newOTP(t), func(c *Config) { c.Dev = true })
	for _, rt := range s.routes() {
		for method, served := range map[string]bool{"GET": rt.get != nil || rt.stream != nil, "HEAD": rt.get != nil, "DELETE": rt.del != nil} {
			if !served {
				continue
			}
			for _, body := range []io.Reader{strings.NewReader(`{"user":"bob"}`), io.MultiReader(strings.NewReader("x"))} { // of a known length, and not
				r := httptest.NewRequest(method, targetOf(rt.path), body)
				r.Host = "127.0.0.1:6070"
				w := httptest.NewRecorder()
				s.Handler().ServeHTTP(w, r)
				wantAnswer(t, w, 400, "application/json", "a "+method+" has no body here")
			}
		}
	}
	r := httptest.NewRequest("DELETE", "/api/v1/sessions/x", io.MultiReader()) // chunks, and nothing in them
	r.Host = "127.0.0.1:6070"
	w := httptest.NewRecorder()
	if s.Handler().ServeHTTP(w, r); strings.Contains(w.Body.String(), "no body") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// client returns what asks a server that answers with h.
func client(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(Config{Address: s.URL, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:6070": true, "http://h:1": true, "https://h:1/": true, "unix:///run/a": true, "unix:@name": true,
		"": false, "none": false, "ftp://h:1": false, "http://": false, "http://u:p@h:1": false, "http://h:1?a=b": false,
		"http://h:1#a": false, "unix:relative": false, "http://[::1": false,
	} {
		_, err := New(Config{Address: address})
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrBadAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, c := range []Config{{Address: "http://h:1", CAFile: "/nonexistent"}, {Address: "https://h:1", CAFile: "/nonexistent"}, {Address: "https://h:1", CAFile: os.Args[0]}} {
		if _, err := New(c); !errors.Is(err, ErrBadAddress) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		want   string // of the error; empty: the body is right
	}{
		{200, `{"a":1}` + "\n", ""},
		{202, `{}`, ""},
		{200, `<html>`, "is that a gateway's admin listener"},
		{404, `{"code":"not-found","message":"there is no x"}`, "not-found: there is no x"},
		{401, `{"code":"unauthorized","message":"a token is wanted"}`, "--admin-token-file"},
		{403, `{"code":"forbidden","message":"a token of role full is wanted"}`, "role full is wanted; --admin-token-file or"},
		{403, `{"code":"forbidden","message":"start the gateway with --admin-token FILE"}`, "forbidden: start the gateway with --admin-token FILE"},
		{404, `{"code":404,"message":"another API"}`, "is that a gateway's admin listener"},
		{302, ``, "HTTP status 302"},
	} {
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Api-Key") != "secret" || r.URL.Path != "/api/v1/x" {
				t.Errorf("asked for %s with %v", r.URL, r.Header)
			}
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		got, err := c.Get(context.Background(), "x", nil)
		switch {
		case tc.want == "" && (err != nil || string(got) != strings.TrimSpace(tc.body)):
			t.Errorf("%d %s: %s, %v", tc.status, tc.body, got, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%d %s: %v", tc.status, tc.body, err)
		}
	}
}

// TestBusy: a gateway that is busy is asked again, but not for ever, and nothing is done twice.
func TestBusy(t *testing.T) {
	for _, tc := range []struct {
		busy, want int // answers, questions
		fails      bool
		post       bool
	}{
		{2, 3, false, false},
		{100, busyTries, true, false},
		{1, 1, true, true},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				if int(asked.Add(1)) <= tc.busy {
					w.WriteHeader(http.StatusServiceUnavailable)
					_, _ = io.WriteString(w, `{"code":"busy","message":"try again"}`)
					return
				}
				_, _ = io.WriteString(w, `{}`)
			})
			var err error
			if tc.post {
				_, err = c.Post(context.Background(), "x", struct{}{})
			} else {
				_, err = c.Get(context.Background(), "x", nil)
			}
			if (err != nil) != tc.fails || int(asked.Load()) != tc.want {
				t.Errorf("%+v: asked %d times, %v", tc, asked.Load(), err)
			}
		})
	}
}

// TestList: all pages are asked for, none is larger than wanted, and a list without an end is one.
func TestList(t *testing.T) {
	const rows = 2500
	var sizes []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		sizes = append(sizes, q.Get("limit"))
		var from, size int
		_, _ = fmt.Sscan(q.Get("cursor"), &from)
		_, _ = fmt.Sscan(q.Get("limit"), &size)
		list := []int{}
		for i := from; i < min(from+size, rows); i++ {
			list = append(list, i)
		}
		page := map[string]any{"rows": list, "next": nil}
		if from+size < rows {
			page["next"] = from + size
			if q.Get("as") == "text" {
				page["next"] = fmt.Sprint(from + size)
			}
		}
		_ = json.NewEncoder(w).Encode(page)
	})
	for _, tc := range []struct {
		limit, want int
		more        bool
		sizes       string
	}{
		{0, rows, false, "1000 1000 1000"},
		{1200, 1200, true, "1000 200"},
		{2500, 2500, false, "1000 1000 500"},
		{7, 7, true, "7"},
		{9999, rows, false, "1000 1000 1000"},
	} {
		for _, as := range []string{"text", "number"} {
			sizes = nil
			var seen []string
			more, err := c.List(context.Background(), "x", map[string][]string{"as": {as}}, "rows", tc.limit, func(row json.RawMessage) error {
				seen = append(seen, string(row))
				return nil
			})
			if err != nil || more != tc.more || len(seen) != tc.want || strings.Join(sizes, " ") != tc.sizes {
				t.Errorf("limit %d: %d rows, more %v, %v; pages of %v", tc.limit, len(seen), more, err, sizes)
			}
			for i, row := range seen {
				if row != fmt.Sprint(i) {
					t.Fatalf("row %d is %s", i, row)
				}
			}
		}
	}
	if _, err := c.List(context.Background(), "x", nil, "others", 0, nil); err == nil || !strings.Contains(err.Error(), "others") {
		t.Errorf("no such list: %v", err)
	}
	stuck := client(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"rows":[],"next":"s1"}`) })
	if _, err := stuck.List(context.Background(), "x", nil, "rows", 0, nil); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("the same page again and again: %v", err)
	}
}

func TestEvents(t *testing.T) {
	var got []string
	err := readEvents(strings.NewReader("event: open\ndata: {}\n\n: a comment\nid: 7\nevent:message\ndata:1\ndata: 2\n\nevent: nothing\n\ndata: 3\n\ndata: cut"), func(event string, data []byte) error {
		got = append(got, event+"="+string(data))
		return nil
	})
	if want := []string{"open={}", "message=1\n2", "=3"}; !slices.Equal(got, want) || !errors.Is(err, ErrStreamEnded) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	enough := errors.New("enough")
	if err := readEvents(strings.NewReader("data: 1\n\ndata: 2\n\n"), func(string, []byte) error { return enough }); err != enough {
		t.Errorf("the error of f: %v", err)
	}
	if err := readEvents(strings.NewReader("data: "+strings.Repeat("x", maxEvent)), nil); !errors.Is(err, ErrStreamEnded) {
		t.Errorf("an event without an end: %v", err)
	}
}

func TestStreamOfSomethingElse(t *testing.T) {
	for status, want := range map[int]string{200: "is that a gateway's", 503: "busy: 16 tails are open"} {
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"code":"busy","message":"16 tails are open"}`)
		})
		err := c.Stream(context.Background(), "x", nil, func(string, []byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

func TestReadToken(t *testing.T) {
	for _, tc := range []struct{ text, want, says string }{
		{"abc\n", "abc", ""},
		{"  abc  # mine\n", "abc", ""},
		{"# first\n\nread r1\nfull f1\nfull f2\n", "f1", ""},
		{"\ufeffabc\n", "abc", ""},
		{"read r1\nread r2", "r1", ""},
		{"full f1\nread r1\n", "f1", ""},
		{"", "", "empty"},
		{"# only\n", "", "empty"},
		{"write abc\n", "", "a role and a token"},
		{"geheim-ü\n", "", "ASCII"},
	} {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadToken(file)
		if got != tc.want || (err == nil) != (tc.says == "") || err != nil && (!strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), file) || !errors.Is(err, ErrBadToken)) {
			t.Errorf("%q: %q, %v", tc.text, got, err)
		}
	}
}

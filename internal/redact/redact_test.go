package redact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestURL(t *testing.T) {
	for given, want := range map[string]string{
		"":                               "",
		"none":                           "none",
		"https://x.example/otlp":         "https://x.example/otlp",
		"https://ann:secret@x.example/":  "https://x.example/" + Mark,
		"https://x.example/?key=secret":  "https://x.example/" + Mark,
		"https://x.example/#secret":      "https://x.example/" + Mark,
		"https://secret@x.example:1/a/b": "https://x.example:1/" + Mark,
		"https://x.example:secret/":      Mark,
		"ann:secret@127.0.0.1":           Mark,
	} {
		if got := URL(given); got != want {
			t.Errorf("%q is shown as %q, want %q", given, got, want)
		}
	}
}

func TestUsers(t *testing.T) {
	comma := regexp.MustCompile(",")
	for _, tc := range []struct {
		given, want string
		end         *regexp.Regexp
	}{
		{"tcp://ann:secret@h:1?tls=auto", "tcp://" + Mark + "@h:1?tls=auto", nil},
		{"tcp://ann:se/cr?et@h:1", "tcp://" + Mark + "@h:1", nil},
		{"nats://a:1,nats://ann:secret@b", "nats://a:1,nats://" + Mark + "@b", comma},
		{"unix:///run/a@b", "unix:///run/a@b", nil},
		{"unix://@name", "unix://@name", nil},
		{"no URL, a@b", "no URL, a@b", nil},
	} {
		if got := Users(tc.given, tc.end); got != tc.want {
			t.Errorf("%q is shown as %q, want %q", tc.given, got, tc.want)
		}
	}
}

func TestAddress(t *testing.T) {
	for given, want := range map[string]string{
		"127.0.0.1:1":       "127.0.0.1:1",
		"ann:secret@h:1":    Mark,
		"tcp://secret@h:1":  "tcp://" + Mark + "@h:1",
		"tcp://127.0.0.1:1": "tcp://127.0.0.1:1",
	} {
		if got := Address(given); got != want {
			t.Errorf("%q is shown as %q, want %q", given, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://ann:secret@127.0.0.1:1/dir?key=secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := &http.Client{Transport: new(http.Transport)}
	_, err = asked.Do(req)
	if err == nil || !strings.Contains(err.Error(), "key=secret") {
		t.Fatalf("net/http says %v", err)
	}
	broken := &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
		return nil, fmt.Errorf("invalid proxy address %q", "http://ann:secret@x:y")
	}}}
	_, proxied := broken.Do(req.WithContext(context.Background()))
	for _, tc := range []struct {
		err        error
		all, cause string
	}{
		{err, `Get "http://127.0.0.1:1/(not shown)": context canceled`, "context canceled"},
		{fmt.Errorf("acme: no more retries for %s; tried 3 times", req.URL), "acme: no more retries for http://127.0.0.1:1/(not shown) tried 3 times", ""},
		{proxied, `Get "http://127.0.0.1:1/(not shown)": invalid proxy address "(not shown)"`, `invalid proxy address "(not shown)"`},
		{errors.New("EOF at https://x.example/a"), "EOF at https://x.example/a", ""},
	} {
		if tc.cause == "" {
			tc.cause = tc.all
		}
		if got := Error(tc.err); got.Error() != tc.all || !errors.Is(got, tc.err) {
			t.Errorf("%v is shown as %q, want %q", tc.err, got, tc.all)
		}
		if got := Cause(tc.err); got.Error() != tc.cause {
			t.Errorf("the cause of %v is shown as %q, want %q", tc.err, got, tc.cause)
		}
	}
	if Error(nil) != nil || Cause(nil) != nil {
		t.Error("no error is one")
	}
	if !errors.Is(Error(err), context.Canceled) {
		t.Error("the cause is lost")
	}
}

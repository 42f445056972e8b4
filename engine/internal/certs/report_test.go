package certs

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
)

// Files that cannot be used are told of by name until they can be, whatever is in force.
func TestReportOfFiles(t *testing.T) {
	t.Parallel()
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	pair := ca.Issue(t, certtest.Order{})
	cert, key := pair.Write(t, dir, "c")
	s := newStore(t, Config{Pairs: []Pair{{cert, key}}})
	server := s.TLS(Use{})
	want := func(step string, parts ...string) {
		t.Helper()
		s.look()
		s.look()
		list := s.Report()
		if len(parts) == 0 && len(list) > 0 || len(parts) > 0 && len(list) != 1 {
			t.Fatalf("%s: %q", step, list)
		}
		for _, part := range parts {
			if !strings.Contains(list[0], part) {
				t.Errorf("%s: %q, want %q in it", step, list, part)
			}
		}
		if got := s.serial(t, server); got != serialOf(t, pair) {
			t.Errorf("%s: certificate %d", step, got)
		}
	}
	want("at the start")
	for _, broken := range []struct {
		step, part string
		text       []byte
	}{
		{"half", "cut off", pair.Cert[:len(pair.Cert)/2]},
		{"empty", "is empty", nil},
		{"of another key", "does not fit", ca.Issue(t, certtest.Order{}).Cert},
	} {
		if err := os.WriteFile(cert, broken.text, 0o600); err != nil {
			t.Fatal(err)
		}
		want(broken.step, cert, broken.part, "what was there before stays in force")
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	want("gone", cert, "no such file")
	pair.Write(t, dir, "c")
	want("as it was")
}

// A host whose renewals fail is told of: by the report at once, by the log once a day from when its
// certificate's end is near.
func TestReportOfHosts(t *testing.T) {
	t.Parallel()
	book, now := new(logbook), time.Now()
	a := newAuto(AutoConfig{Hosts: []string{"chat.example"}, Cache: t.TempDir()}, book.logger(), func() time.Time { return now })
	h := a.hosts[0]
	want := func(step string, lines int, parts ...string) {
		t.Helper()
		list := a.report(now)
		if len(list) != len(parts) {
			t.Fatalf("%s: %q", step, list)
		}
		for i, part := range parts {
			if !strings.HasPrefix(list[i], "chat.example: ") || !strings.Contains(list[i], part) {
				t.Errorf("%s: %q, want %q", step, list, part)
			}
		}
		if got := book.lines("a certificate ends"); len(got) != lines {
			t.Errorf("%s: %d lines: %q", step, len(got), got)
		}
	}
	want("at the start", 0, "not there yet")
	failed := errors.New("acme: rate limited")
	a.ended(h, nil, failed, orderAgain)
	want("refused", 0, "rate limited")

	pair := certtest.New(t, "ca").Issue(t, certtest.Order{})
	loaded, err := parsePair(Pair{}, pair.Cert, pair.Key, now)
	if err != nil {
		t.Fatal(err)
	}
	cert := loaded.cert
	a.ended(h, cert, nil, lookForRenewals)
	want("made", 0)
	a.ended(h, cert, failed, orderAgain)
	want("not renewed", 0, "rate limited")
	if h.err != nil {
		t.Errorf("handshakes fail with %v", h.err)
	}
	now = cert.Leaf.NotAfter.Add(-time.Hour)
	for range 3 {
		a.ended(h, cert, nil, lookForRenewals) // the manager has the old one
	}
	want("an hour before its end", 1, "expires on")
	now = now.Add(24*time.Hour + time.Minute)
	a.ended(h, cert, nil, lookForRenewals)
	want("a day later", 2, "expired on")
}

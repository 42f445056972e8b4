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

// Who has found by himself that files cannot be used, as a reload does, is not told later: the
// report and the counter have it at once, and once. What can be used is no fault, and waits for two
// looks as ever.
func TestReportAfterRefusal(t *testing.T) {
	t.Parallel()
	ca, dir, book := certtest.New(t, "ca"), t.TempDir(), new(logbook)
	pair, other := ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{})
	cert, key := pair.Write(t, dir, "c")
	config := Config{Pairs: []Pair{{cert, key}}, Logger: book.logger()}
	s := newStore(t, config)
	server := s.TLS(Use{})
	want := func(step string, failures uint64, parts ...string) {
		t.Helper()
		list := s.Report()
		if len(list) != len(parts) || len(parts) > 0 && !strings.Contains(list[0], parts[0]) {
			t.Errorf("%s: %q, want %q", step, list, parts)
		}
		if st := s.Stats(); st.Failures != failures || len(book.lines("cannot be used")) > int(failures) {
			t.Errorf("%s: %d failures, %q, want %d", step, st.Failures, book.lines("cannot be used"), failures)
		}
	}
	certtest.File(t, dir, "c.pem", pair.Cert[:len(pair.Cert)/2])
	if _, err := s.Set(config); err == nil {
		t.Error("half a certificate is taken")
	}
	want("half", 1, cert)
	if _, err := s.Set(config); err == nil {
		t.Error("half a certificate is taken")
	}
	s.look()
	s.look()
	want("half, seen again", 1, cert)
	certtest.File(t, dir, "c.pem", other.Cert)
	if n := s.Recheck(); n != 1 {
		t.Errorf("%d faults", n)
	}
	want("of another key", 2, "does not fit")
	certtest.File(t, dir, "c.key", other.Key)
	if n := s.Recheck(); n != 0 {
		t.Errorf("%d faults", n)
	}
	want("whole, not taken over", 2)
	if got := s.serial(t, server); got != serialOf(t, pair) {
		t.Errorf("certificate %d, want the old one", got)
	}
	s.look()
	if got := s.serial(t, server); got != serialOf(t, pair) {
		t.Errorf("certificate %d after one look, want the old one", got)
	}
	s.look()
	if got := s.serial(t, server); got != serialOf(t, other) {
		t.Errorf("certificate %d, want the new one", got)
	}
	elsewhere := config
	elsewhere.Pairs = []Pair{{cert + ".gone", key}}
	if _, err := s.Set(elsewhere); err == nil {
		t.Error("a certificate that is not there is taken")
	}
	want("files that are not in force", 3)
	pair.Write(t, dir, "c")
	if _, err := s.Set(config); err != nil {
		t.Error(err)
	}
	want("taken over", 3)
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

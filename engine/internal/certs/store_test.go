package certs

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
	"github.com/sluicenet/sluice/internal/readfile"
)

var trusting = &tls.Config{InsecureSkipVerify: true}

// serial is the number of the certificate that new connections are shown.
func (s *Store) serial(t *testing.T, server *tls.Config) int64 {
	t.Helper()
	l := connect(t, server, trusting)
	defer l.close()
	return l.leaf(t).SerialNumber.Int64()
}

func serialOf(t *testing.T, p certtest.Pair) int64 {
	return p.TLS(t).Leaf.SerialNumber.Int64()
}

// A changed pair is for new connections, once it was seen twice; those that are there go on.
func TestReplace(t *testing.T) {
	t.Parallel()
	ca, dir, book := certtest.New(t, "ca"), t.TempDir(), new(logbook)
	first, second, third := ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{})
	cert, key := first.Write(t, dir, "c")
	s := newStore(t, Config{Pairs: []Pair{{cert, key}}, Logger: book.logger()})
	server := s.TLS(Use{})
	old := connect(t, server, trusting)
	now := func(step string, want certtest.Pair, failures uint64, warned int) {
		t.Helper()
		if got := s.serial(t, server); got != serialOf(t, want) {
			t.Errorf("%s: certificate %d, want %d", step, got, serialOf(t, want))
		}
		if st := s.Stats(); st.Failures != failures {
			t.Errorf("%s: %d failures, want %d", step, st.Failures, failures)
		}
		if n := len(book.lines("level=WARN")); n != warned {
			t.Errorf("%s: %d warnings, want %d: %v", step, n, warned, book.lines("level=WARN"))
		}
	}
	now("start", first, 0, 0)
	if err := os.WriteFile(cert, second.Cert[:len(second.Cert)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s.look()
	now("half written, seen once", first, 0, 0)
	s.look()
	now("half written, seen twice", first, 1, 1)
	for range 5 {
		s.look()
	}
	now("half written, seen often", first, 1, 1)
	certtest.File(t, dir, "c.pem", second.Cert)
	s.look()
	s.look()
	now("certificate without its key", first, 2, 2)
	certtest.File(t, dir, "c.key", second.Key)
	s.look()
	now("whole, seen once", first, 2, 2)
	s.look()
	now("whole", second, 2, 2)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	s.look()
	s.look()
	now("key gone", second, 3, 3)
	certtest.File(t, dir, "c.key", second.Key)
	s.look()
	s.look()
	now("key back", second, 3, 3)
	third.Write(t, dir, "c")
	s.look()
	s.look()
	now("third", third, 3, 3)
	if n := len(book.lines("certificate read")); n != 2 {
		t.Errorf("%d lines about certificates read, want 2", n)
	}
	if s.Stats().Reloads != 2 {
		t.Errorf("%d reloads, want 2", s.Stats().Reloads)
	}
	if !old.alive(t) {
		t.Error("a live connection has ended")
	}
}

// Kubernetes replaces mounted secrets by a symbolic link's change: ..data -> ..2026_1, ..2026_2.
func TestReplaceByLink(t *testing.T) {
	t.Parallel()
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	pairs := [2]certtest.Pair{ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{})}
	for i, name := range []string{"..1", "..2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		pairs[i].Write(t, filepath.Join(dir, name), "tls")
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name+".new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/tls.pem", "tls.pem")
	link("..data/tls.key", "tls.key")
	s := newStore(t, Config{Pairs: []Pair{{filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")}}})
	server := s.TLS(Use{})
	link("..2", "..data")
	s.look()
	s.look()
	if got := s.serial(t, server); got != serialOf(t, pairs[1]) {
		t.Errorf("certificate %d, want %d", got, serialOf(t, pairs[1]))
	}
}

// Run looks by itself.
func TestRun(t *testing.T) {
	t.Parallel()
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	cert, key := ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	s := newStore(t, Config{Pairs: []Pair{{cert, key}}, Poll: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	defer func() { cancel(); <-done }()
	ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	for deadline := time.Now().Add(30 * time.Second); s.Stats().Reloads == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not taken over")
		}
	}
}

// Set takes over at once, all or nothing.
func TestSet(t *testing.T) {
	t.Parallel()
	ca, dir, book := certtest.New(t, "ca"), t.TempDir(), new(logbook)
	a, b := ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{})
	cert, key := a.Write(t, dir, "a")
	config := Config{Pairs: []Pair{{cert, key}}, Logger: book.logger()}
	s := newStore(t, config)
	server := s.TLS(Use{})
	set := func(step string, c Config, wantChanged, wantErr bool, want certtest.Pair) {
		t.Helper()
		changed, err := s.Set(c)
		if changed != wantChanged || (err != nil) != wantErr {
			t.Errorf("%s: changed %v, err %v", step, changed, err)
		}
		if got := s.serial(t, server); got != serialOf(t, want) {
			t.Errorf("%s: certificate %d, want %d", step, got, serialOf(t, want))
		}
	}
	set("the same", config, false, false, a)
	b.Write(t, dir, "a")
	set("replaced", config, true, false, b)
	cert2, key2 := a.Write(t, dir, "b")
	set("one before it", Config{Pairs: []Pair{{cert2, key2}, {cert, key}}}, true, false, a)
	set("half", Config{Pairs: []Pair{{cert, key}, {cert2, key}}}, false, true, a)
	set("none", Config{}, false, true, a)
	set("1.3", Config{Pairs: []Pair{{cert2, key2}, {cert, key}}, Min: tls.VersionTLS13}, true, false, a)
	l := connect(t, server, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if l.clientErr == nil {
		t.Error("1.2 is still spoken")
	}
}

// What came from a pipe cannot be read again, and stays.
func TestPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := certtest.New(t, "ca").Issue(t, certtest.Order{})
	cert, key := certtest.File(t, dir, "c.pem", p.Cert), filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(key, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		if f, err := os.OpenFile(key, os.O_WRONLY, 0); err == nil {
			_, _ = f.Write(p.Key)
			f.Close()
		}
	}()
	config := Config{Pairs: []Pair{{cert, key}}}
	s := newStore(t, config)
	s.look()
	s.look()
	if changed, err := s.Set(config); changed || err != nil {
		t.Errorf("changed %v, err %v", changed, err)
	}
	if st := s.Stats(); st.Failures != 0 || st.Reloads != 0 {
		t.Errorf("%+v", st)
	}
}

// Nobody waits for a file that has become a pipe but Set, and for Set nobody else.
func TestBecomesPipe(t *testing.T) {
	t.Parallel()
	ca, dir, book := certtest.New(t, "ca"), t.TempDir(), new(logbook)
	first, second := ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{})
	cert, key := first.Write(t, dir, "c")
	config := Config{Pairs: []Pair{{cert, key}}, Logger: book.logger()}
	s := newStore(t, config)
	server := s.TLS(Use{})
	certtest.File(t, dir, filepath.Base(cert), second.Cert)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(key, 0o600); err != nil {
		t.Fatal(err)
	}
	atOnce := func(what string, f func()) {
		t.Helper()
		for range 5 { // the machine may have stood still in one of them
			begun := time.Now()
			if f(); time.Since(begun) < readfile.PipeTimeout/2 {
				return
			}
		}
		t.Errorf("%s waits", what)
	}
	atOnce("a look", s.look)
	atOnce("a look", s.look)
	if lines := book.lines("is a pipe"); len(lines) != 1 || s.serial(t, server) != serialOf(t, first) {
		t.Errorf("certificate %d, %v", s.serial(t, server), lines)
	}
	set := make(chan error, 1)
	go func() {
		_, err := s.Set(config)
		set <- err
	}()
	f, err := os.OpenFile(key, os.O_WRONLY, 0) // once Set has opened it
	if err != nil {
		t.Fatal(err)
	}
	atOnce("a look, during Set,", s.look)
	atOnce("Stats, during Set,", func() { s.Stats() })
	_, _ = f.Write(second.Key)
	f.Close()
	if err := <-set; err != nil || s.serial(t, server) != serialOf(t, second) {
		t.Errorf("certificate %d, %v", s.serial(t, server), err)
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	s := newStore(t, Config{Dev: true})
	server := s.TLS(Use{})
	before := s.serial(t, server)
	if changed, err := s.Set(Config{Dev: true}); changed || err != nil {
		t.Errorf("changed %v, err %v", changed, err)
	}
	if after := s.serial(t, server); after != before {
		t.Error("Set makes another certificate")
	}
}

// The log says once a day that a certificate ends.
func TestEnds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	begin := now
	ca, book := certtest.New(t, "ca"), new(logbook)
	cert, key := ca.Issue(t, certtest.Order{NotBefore: now, NotAfter: now.Add(90 * 24 * time.Hour)}).Write(t, t.TempDir(), "c")
	s := newStore(t, Config{Pairs: []Pair{{cert, key}}, Logger: book.logger(), now: func() time.Time { return now }})
	for hour := range 91 * 24 {
		now = begin.Add(time.Duration(hour) * time.Hour)
		s.warnOfEnds()
	}
	if n := len(book.lines("a certificate ends")); n < 14 || n > 15 {
		t.Errorf("%d lines, want one a day for 14 days and one after", n)
	}
	if n := len(book.lines("expired on")); n != 1 {
		t.Errorf("%d lines say that it has expired, want 1", n)
	}
	ends := s.Stats().Certificates
	if len(ends) != 1 || ends[0].Name != cert || ends[0].Ends.Unix() != begin.Add(90*24*time.Hour).Unix() {
		t.Errorf("%+v", ends)
	}
}

package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
	"golang.org/x/crypto/acme"
)

// serve does handshakes on a listener, each with a second's time, until the test ends.
func serve(t *testing.T, config *tls.Config, patience time.Duration) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			conns.Go(func() {
				defer conn.Close()
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				c := tls.Server(conn, config)
				if c.HandshakeContext(ctx) == nil {
					_, _ = c.Read(make([]byte, 1))
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	return ln.Addr().String()
}

// run has s run until the test ends.
func run(t *testing.T, s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// A host's certificate is ordered at the start, once, whoever asks meanwhile, and kept for the next
// start. Handshakes that come before it is there wait for it.
func TestACME(t *testing.T) {
	t.Parallel()
	service, dir := certtest.NewACME(t), t.TempDir()
	release := service.Hold()
	book := new(logbook)
	config := Config{Logger: book.logger(), Auto: AutoConfig{
		Hosts: []string{"Chat.example", "other.example"}, Cache: filepath.Join(dir, "cache"), Directory: service.URL, Email: "ops@chat.example",
	}}
	s := newStore(t, config)
	server := s.TLS(Use{Protocols: []string{HTTP1}, Challenges: true})
	address := serve(t, server, time.Minute)
	service.Target(address)
	run(t, s)
	client := func(host string) *tls.Config { return &tls.Config{ServerName: host, RootCAs: service.CA.Pool()} }
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			conn, err := tls.Dial("tcp", address, client("chat.example"))
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		})
	}
	// Who does not wait so long is let go.
	hasty := serve(t, server, 50*time.Millisecond)
	if _, err := tls.Dial("tcp", hasty, client("chat.example")); err == nil {
		t.Error("a handshake was done without a certificate")
	}
	release()
	waiting.Wait()
	if conn, err := tls.Dial("tcp", address, client("other.example")); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	for _, foreign := range []string{"foreign.example", ""} { // gets the first host's, and nothing is ordered
		c := &tls.Config{ServerName: foreign, InsecureSkipVerify: true}
		conn, err := tls.Dial("tcp", address, c)
		if err != nil {
			t.Fatalf("%q: %v", foreign, err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].DNSNames[0]; got != "chat.example" {
			t.Errorf("%q: certificate of %s", foreign, got)
		}
		conn.Close()
	}
	// A challenge's protocol alone opens nothing else.
	for _, host := range []string{"chat.example", "foreign.example"} {
		if conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: host, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true}); err == nil {
			conn.Close()
			t.Errorf("%s: a challenge that nobody waits for was answered", host)
		}
	}
	if st := service.Stats(); st.Accounts != 1 || st.Orders != 2 || st.Issued != 2 || len(st.Failed) > 0 {
		t.Errorf("the service: %+v", st)
	}
	st := s.Stats()
	if st.Orders != 2 || st.OrdersFailed != 0 || len(st.Certificates) != 2 || st.Certificates[0].Name != "chat.example" ||
		time.Until(st.Certificates[0].Ends) < 80*24*time.Hour {
		t.Errorf("%+v", st)
	}
	// The next process finds them in the cache.
	next := newStore(t, config)
	nextAddress := serve(t, next.TLS(Use{Challenges: true}), time.Minute)
	run(t, next)
	if conn, err := tls.Dial("tcp", nextAddress, client("chat.example")); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if st := service.Stats(); st.Orders != 2 {
		t.Errorf("%d orders, want 2", st.Orders)
	}
	if lines := book.lines("level=WARN"); len(lines) > 0 {
		t.Error(lines)
	}
}

// A host that is not ours gets no certificate: that is logged and counted, and handshakes for it fail
// at once, those for others do not.
func TestACMERefused(t *testing.T) {
	t.Parallel()
	service, dir, book := certtest.NewACME(t), t.TempDir(), new(logbook)
	ca := certtest.New(t, "ca")
	cert, key := ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	s := newStore(t, Config{Pairs: []Pair{{cert, key}}, Logger: book.logger(), Auto: AutoConfig{
		Hosts: []string{"chat.example"}, Cache: dir, Directory: service.URL,
	}})
	address := serve(t, s.TLS(Use{Challenges: true}), time.Minute)
	elsewhere := serve(t, newStore(t, Config{Pairs: []Pair{{cert, key}}}).TLS(Use{Protocols: []string{HTTP1}}), time.Minute)
	service.Target(elsewhere)
	run(t, s)
	if conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "chat.example", RootCAs: service.CA.Pool()}); err == nil {
		conn.Close()
		t.Error("a handshake was done")
	}
	if conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "localhost", RootCAs: ca.Pool()}); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	st, lines := s.Stats(), book.lines("no certificate from the ACME service")
	if st.OrdersFailed != 1 || st.Orders != 0 || len(lines) != 1 || !strings.Contains(lines[0], "host=chat.example") {
		t.Errorf("%+v, %v", st, lines)
	}
	if len(service.Stats().Failed) == 0 {
		t.Error("the service has found it")
	}
}

// An order that is under way when the store ends leaves nothing in the cache: neither a new account, for
// want of the one that was there, nor what the service answers later.
func TestACMEEnds(t *testing.T) {
	t.Parallel()
	service, dir := certtest.NewACME(t), t.TempDir()
	release := service.Hold()
	s := newStore(t, Config{Auto: AutoConfig{Hosts: []string{"chat.example"}, Cache: dir, Directory: service.URL}})
	service.Target(serve(t, s.TLS(Use{Challenges: true}), time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	for begun := time.Now(); service.Stats().Orders == 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatal("nothing is ordered")
		}
	}
	cancel()
	<-ended
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	release()
	left := make(chan error, 1)
	go func() { // what a handshake asks for, or an order that has not begun
		_, err := s.auto.manager.GetCertificate(&tls.ClientHelloInfo{ServerName: "chat.example"})
		left <- err
	}()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("a certificate behind the end: %v", err)
	}
	if err := s.auto.cache.Put(t.Context(), "late", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("written behind the end: %v", err)
	}
	if st := service.Stats(); st.Accounts != 1 || st.Orders != 1 {
		t.Errorf("the service: %+v", st)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cache is there again: %v", err)
	}
}

// What may be secret in the service's URL is in no log, no report and no error.
func TestACMESecrets(t *testing.T) {
	t.Parallel()
	refuses, fails := certtest.NewACME(t), httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
	}))
	defer fails.Close()
	refuses.Break(certtest.Forbidden)
	for _, base := range []string{"http://127.0.0.1:1", "https://127.0.0.1:1", refuses.URL, fails.URL} {
		scheme, rest, _ := strings.Cut(base, "://")
		book := new(logbook)
		s := newStore(t, Config{Logger: book.logger(), Auto: AutoConfig{
			Hosts: []string{"chat.example"}, Cache: t.TempDir(), Directory: scheme + "://ann:s3cret@" + rest + "?key=s3cret",
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		cert, err := s.auto.order(ctx, "chat.example")
		cancel()
		if err == nil {
			t.Fatalf("%s: a certificate", base)
		}
		s.auto.ended(s.auto.hosts[0], cert, err, orderAgain)
		_, err = s.auto.certificate(&tls.ClientHelloInfo{ServerName: "chat.example"}, "chat.example")
		said := fmt.Sprintf("%v\n%q\n%q", err, s.Report(), book.lines(""))
		if !strings.Contains(said, "no certificate") || strings.Contains(said, "s3cret") || strings.Contains(said, "ann") {
			t.Errorf("%s: %s", base, said)
		}
	}
}

// Whatever a service answers, nothing of it is kept: the fault is counted, logged and reported in one
// line, and the next order is as good as any.
func TestACMEFaults(t *testing.T) {
	t.Parallel()
	for fault, says := range map[certtest.Fault]string{
		certtest.Forbidden: "host", certtest.RateLimited: "too many new orders", certtest.OrderOver: "",
		certtest.Unproven: "port 443 of chat.example must lead to a TLS listener of this gateway",
		certtest.Expired:  "", certtest.AnotherKey: "", certtest.NoPEM: "",
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			service, dir, book := certtest.NewACME(t), t.TempDir(), new(logbook)
			order := func() *Store {
				s := newStore(t, Config{Logger: book.logger(), Auto: AutoConfig{
					Hosts: []string{"chat.example"}, Cache: dir, Directory: service.URL,
				}})
				service.Target(serve(t, s.TLS(Use{Challenges: true}), time.Minute))
				cert, err := s.auto.order(t.Context(), "chat.example")
				s.auto.ended(s.auto.hosts[0], cert, err, orderAgain)
				return s
			}
			service.Break(fault)
			s := order()
			st, report, lines := s.Stats(), s.Report(), book.lines("no certificate from the ACME service")
			if st.OrdersFailed != 1 || st.Orders != 0 || len(lines) != 1 || len(report) != 1 || !strings.HasPrefix(report[0], "chat.example: no certificate") ||
				!strings.Contains(report[0], says) {
				t.Errorf("%+v\n%q\n%q", st, report, lines)
			}
			t.Log(report)
			if _, err := s.auto.certificate(&tls.ClientHelloInfo{ServerName: "chat.example"}, "chat.example"); err == nil {
				t.Error("there is a certificate")
			}
			service.Break("")
			s = order()
			if st := s.Stats(); st.Orders != 1 || len(s.Report()) > 0 {
				t.Errorf("the next time: %+v, %q", st, s.Report())
			}
		})
	}
}

// The service is asked again within an attempt only for what is over in a moment: clients wait for its
// end, and operators for its reason.
func TestACMERetry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		n, status int
		want      time.Duration
	}{
		{1, http.StatusBadRequest, time.Second}, // a nonce that is known no more
		{1, http.StatusServiceUnavailable, time.Second},
		{2, http.StatusInternalServerError, 2 * time.Second},
		{3, http.StatusServiceUnavailable, 0},
		{1, http.StatusTooManyRequests, 0},
	} {
		if got := retry(tt.n, nil, &http.Response{StatusCode: tt.status}); got != tt.want {
			t.Errorf("try %d after %d: %v, want %v", tt.n, tt.status, got, tt.want)
		}
	}
}

// How long the service wants to be left alone for counts, an hour of it at most.
func TestACMENext(t *testing.T) {
	t.Parallel()
	limited := func(after string) error {
		return &acme.Error{StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {after}}}
	}
	for _, tt := range []struct {
		err   error
		pause time.Duration
		want  time.Duration
	}{
		{errors.New("away"), time.Minute, time.Minute},
		{limited("600"), time.Minute, 10 * time.Minute},
		{fmt.Errorf("of a wrapper: %w", limited("600")), time.Minute, 10 * time.Minute},
		{limited("600"), 20 * time.Minute, 20 * time.Minute},
		{limited("86400"), time.Minute, time.Hour},
		{limited("-5"), time.Minute, time.Minute},
		{limited("soon"), time.Minute, time.Minute},
	} {
		if got := again(tt.err, tt.pause); got != tt.want {
			t.Errorf("%v, pause %v: %v, want %v", tt.err, tt.pause, got, tt.want)
		}
	}
}

// An account's key in the cache that is none is named with its file: no other attempt mends it.
func TestACMEBrokenAccount(t *testing.T) {
	t.Parallel()
	service, dir := certtest.NewACME(t), t.TempDir()
	file := filepath.Join(dir, "acme_account+key")
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, Config{Auto: AutoConfig{Hosts: []string{"chat.example"}, Cache: dir, Directory: service.URL}})
	cert, err := s.auto.order(t.Context(), "chat.example")
	s.auto.ended(s.auto.hosts[0], cert, err, orderAgain)
	if report := s.Report(); len(report) != 1 || !strings.Contains(report[0], file) {
		t.Errorf("%q does not name %s", report, file)
	}
}

// What a service answers may be a page of HTML: so much of it is shown as says what it is.
func TestACMELongAnswer(t *testing.T) {
	t.Parallel()
	page := "<html>" + strings.Repeat("\u00e4", 1<<20)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(page))
	}))
	defer service.Close()
	book := new(logbook)
	s := newStore(t, Config{Logger: book.logger(), Auto: AutoConfig{Hosts: []string{"chat.example"}, Cache: t.TempDir(), Directory: service.URL}})
	cert, err := s.auto.order(t.Context(), "chat.example")
	s.auto.ended(s.auto.hosts[0], cert, err, orderAgain)
	report, lines := s.Report(), book.lines("no certificate from the ACME service")
	if len(report) != 1 || len(report[0]) > 1<<10 || !strings.Contains(report[0], "<html>") || !utf8.ValidString(report[0]) {
		t.Errorf("%.200q", report)
	}
	if len(lines) != 1 || len(lines[0]) > 2<<10 {
		t.Errorf("%.200q", lines)
	}
}

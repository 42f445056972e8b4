package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/internal/loopback"
	"github.com/sluicenet/sluice/internal/redact"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// AutoConfig has certificates made by an ACME service (RFC 8555), with the challenge tls-alpn-01: the
// service connects to port 443 of each host, which must be a TLS listener of the gateway's.
type AutoConfig struct {
	// Hosts are the names to have certificates for. None: the rest is not used.
	Hosts []string
	// Cache is a directory, made if it is not there, in which the account's key and the certificates
	// are kept. Without it each start would order new ones, and services allow few.
	Cache string
	// Email is where the service may write to. Empty: nowhere.
	Email string
	// Directory is the service's URL. Empty means Let's Encrypt's.
	Directory string
	// Client is how the service is asked. Nil means net/http's, with the system's authorities.
	Client *http.Client
}

func (c *AutoConfig) isZero() bool {
	return len(c.Hosts) == 0 && c.Cache == "" && c.Email == "" && c.Directory == ""
}

// maxHosts bounds the names of one process: services count orders by week.
const maxHosts = 100

func (c *AutoConfig) check() error {
	if len(c.Hosts) == 0 {
		for field, text := range map[string]string{FieldCache: c.Cache, FieldEmail: c.Email, FieldService: c.Directory} {
			if text != "" {
				return wrong(field, "is of no use without a host to have certificates for")
			}
		}
		return nil
	}
	if len(c.Hosts) > maxHosts {
		return wrong(FieldAuto, "%d hosts, want at most %d", len(c.Hosts), maxHosts)
	}
	seen := make(map[string]bool)
	for _, host := range c.Hosts {
		name, err := hostName(host)
		switch {
		case err != nil:
			return wrong(FieldAuto, "%w", err)
		case strings.HasPrefix(name, "*"):
			return wrong(FieldAuto, "%q: the challenge tls-alpn-01 is for no wildcards", host)
		case net.ParseIP(name) != nil || !strings.Contains(name, "."):
			return wrong(FieldAuto, "%q, want a name that is known on the Internet, as chat.example.com", host)
		case seen[name]:
			return wrong(FieldAuto, "%q is given twice", host)
		}
		seen[name] = true
	}
	if c.Cache == "" {
		return wrong(FieldCache, "want a directory: without it each start orders new certificates, and the service allows few")
	}
	if info, err := os.Stat(c.Cache); err == nil && !info.IsDir() {
		return wrong(FieldCache, "%s is not a directory", c.Cache)
	} else if err != nil {
		if parent, err := os.Stat(filepath.Dir(c.Cache)); err != nil || !parent.IsDir() {
			return wrong(FieldCache, "%s: there is no directory to make it in", c.Cache)
		}
	}
	if c.Directory != "" {
		u, err := url.Parse(c.Directory)
		if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback.Host(u.Hostname())) {
			return wrong(FieldService, "%q, want https://HOST/PATH", redact.URL(c.Directory))
		}
	}
	if c.Email != "" {
		if a, err := mail.ParseAddress(c.Email); err != nil || a.Address != c.Email {
			return wrong(FieldEmail, "%q, want an address as ops@example.com", c.Email)
		}
	}
	return nil
}

// An auto has certificates made for hosts. One order a host is under way at most, whatever clients
// do; handshakes wait for it as long as they may take.
type auto struct {
	manager   *autocert.Manager
	cache     *fencedCache
	directory string // of the cache
	transport interface{ CloseIdleConnections() }
	challenge *tls.Config
	log       *slog.Logger
	now       func() time.Time
	hosts     []*autoHost
	byName    map[string]*autoHost

	orders, failed atomic.Uint64
}

// An autoHost is one name's certificate.
type autoHost struct {
	name string

	mu      sync.Mutex
	changed chan struct{} // closed when an attempt ends
	cert    *tls.Certificate
	err     error     // of the last attempt; nil: none yet, or it has a certificate
	fault   error     // of the last attempt, also when it has a certificate
	warned  time.Time // when the end of its certificate was last logged
}

func newAuto(c AutoConfig, log *slog.Logger, now func() time.Time) *auto {
	client := c.Client
	if client == nil {
		client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: time.Minute}
	}
	a := &auto{
		log: log, now: now, transport: client, byName: make(map[string]*autoHost),
		cache: &fencedCache{cache: autocert.DirCache(c.Cache)}, directory: c.Cache,
	}
	var names []string
	for _, host := range c.Hosts {
		h := &autoHost{name: canonical(host), changed: make(chan struct{})}
		a.hosts, a.byName[h.name], names = append(a.hosts, h), h, append(names, h.name)
	}
	a.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      a.cache,
		HostPolicy: autocert.HostWhitelist(names...),
		Email:      c.Email,
		Client:     &acme.Client{DirectoryURL: c.Directory, HTTPClient: client, UserAgent: "sluice", RetryBackoff: retry},
	}
	if c.Directory == "" {
		a.manager.Client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	a.challenge = &tls.Config{
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{acme.ALPNProto},
		SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if !a.serves(canonical(hello.ServerName)) {
				return nil, errNoCertificate
			}
			return a.manager.GetCertificate(hello)
		},
	}
	return a
}

func (a *auto) serves(name string) bool { return a.byName[name] != nil }

// first returns the first host's certificate, nil until there is one.
func (a *auto) first() *tls.Certificate {
	h := a.hosts[0]
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cert
}

// longestWait is how long a handshake waits for an order, whatever its own limit is.
const longestWait = 30 * time.Second

// certificate returns the certificate of a host. While the first order for it is under way it waits
// for its end, on the handshake's goroutine.
func (a *auto) certificate(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	h := a.byName[name]
	h.mu.Lock()
	cert, err, changed := h.cert, h.err, h.changed
	h.mu.Unlock()
	if cert != nil || err != nil {
		return cert, err
	}
	limit := time.NewTimer(longestWait)
	defer limit.Stop()
	select {
	case <-changed:
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.cert, h.err
	case <-hello.Context().Done():
		return nil, hello.Context().Err()
	case <-limit.C:
		return nil, errors.New("certs: the order of a certificate takes too long")
	}
}

// How long after a failed order the next is tried: services count failures, too.
const (
	orderAgain      = time.Minute + time.Second // the manager answers with the failure for a minute
	orderAgainMost  = time.Hour
	lookForRenewals = time.Minute
)

// run keeps every host's certificate until ctx is done. What is under way then is left behind: it
// ends by itself within minutes, and does not touch the cache any more.
func (a *auto) run(ctx context.Context) {
	defer a.transport.CloseIdleConnections()
	defer a.cache.close()
	var hosts sync.WaitGroup
	for _, h := range a.hosts {
		hosts.Go(func() { a.keep(ctx, h) })
	}
	hosts.Wait()
}

// keep orders h's certificate, and takes over those that the manager has renewed.
func (a *auto) keep(ctx context.Context, h *autoHost) {
	pause := orderAgain
	for {
		cert, err := a.order(ctx, h.name)
		if ctx.Err() != nil {
			return
		}
		next := lookForRenewals
		if err != nil {
			next, pause = again(err, pause), min(2*pause, orderAgainMost)
		} else {
			pause = orderAgain
		}
		a.ended(h, cert, err, next)
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}

// maxRetries is how often the service is asked again within an attempt.
const maxRetries = 2

// retry is when the service is asked again that had a fault of its own, or did not know a nonce any
// more; 0: not in this attempt. Of a limit of the service's the attempt ends at once: it holds for
// hours, and nobody would be told of it meanwhile.
func retry(n int, _ *http.Request, res *http.Response) time.Duration {
	if n > maxRetries || res.StatusCode == http.StatusTooManyRequests {
		return 0
	}
	return time.Duration(n) * time.Second
}

// again is when the next attempt comes after one that failed: after pause, or when the service's limit
// lets it, an hour later at most.
func again(err error, pause time.Duration) time.Duration {
	if e, ok := errors.AsType[*acme.Error](err); ok {
		if after, ok := acme.RateLimit(e); ok {
			return max(pause, min(after, orderAgainMost))
		}
	}
	return pause
}

// maxAnswer is how much is shown of what a service has answered, in bytes: it may be a page of HTML.
const maxAnswer = 512

// shorten cuts the text of an error that is longer than that.
func shorten(err error) error {
	if err == nil || len(err.Error()) <= maxAnswer {
		return err
	}
	return errors.New(strings.ToValidUTF8(err.Error()[:maxAnswer], "") + " ... (cut off)")
}

// explain says what to do about what the manager says of a failure in words that do not help.
func (a *auto) explain(err error, host string) error {
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "no viable challenge type found"): // which it says of each that failed, too
		return fmt.Errorf("%w: the service did not find the gateway there: port 443 of %s must lead to a TLS listener of this gateway, by all its addresses", err, host)
	case strings.Contains(err.Error(), "invalid account key found in cache"):
		return fmt.Errorf("%w: %s is damaged: put it back from a backup, or remove it for a new account", err, filepath.Join(a.directory, "acme_account+key"))
	}
	return err
}

// order asks the manager, which has the certificate, or has it made.
func (a *auto) order(ctx context.Context, host string) (*tls.Certificate, error) {
	type outcome struct {
		cert *tls.Certificate
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		cert, err := a.manager.GetCertificate(&tls.ClientHelloInfo{
			ServerName:       host,
			CipherSuites:     suites,
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
			SupportedCurves:  []tls.CurveID{tls.CurveP256},
		})
		done <- outcome{cert, err}
	}()
	select {
	case o := <-done:
		return o.cert, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ended takes over what came of an attempt.
func (a *auto) ended(h *autoHost, cert *tls.Certificate, err error, next time.Duration) {
	err = a.explain(shorten(redact.Error(err)), h.name) // the service's URL may hold a key
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = err
	if err != nil {
		a.failed.Add(1)
		a.log.Warn("no certificate from the ACME service", "host", h.name, "err", err, "next", next)
		err = fmt.Errorf("certs: no certificate for %s yet", h.name)
	} else if h.cert == nil || !slices.Equal(h.cert.Certificate[0], cert.Certificate[0]) {
		a.orders.Add(1)
		a.log.Info("certificate from the ACME service, or its cache", "host", h.name,
			"ends", cert.Leaf.NotAfter.UTC().Format(time.RFC3339), "sha256", Fingerprint(cert.Certificate[0]))
	}
	if cert != nil {
		h.cert = cert
	}
	h.err = err
	if h.cert != nil {
		h.err = nil // the old one will do until it is replaced
		a.warnOfEnd(h)
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

// ending says that h's certificate has ended or soon will, empty when there is time. The manager begins
// to renew it at a third of its lifetime. h.mu is held.
func (h *autoHost) ending(now time.Time) string {
	leaf := h.cert.Leaf
	return ending(now, leaf.NotAfter, min(endNear, leaf.NotAfter.Sub(leaf.NotBefore)/4))
}

// warnOfEnd logs, once a day, that h's certificate ends soon or has ended: the manager says nothing of
// renewals that fail. h.mu is held.
func (a *auto) warnOfEnd(h *autoHost) {
	now := a.now()
	if !h.warned.IsZero() && now.Sub(h.warned) < 24*time.Hour {
		return
	}
	if w := h.ending(now); w != "" {
		h.warned = now
		a.log.Warn("a certificate ends: the ACME service has made no other", "host", h.name, "when", w)
	}
}

// report returns what an operator should know of the hosts, a line each.
func (a *auto) report(now time.Time) (list []string) {
	for _, h := range a.hosts {
		h.mu.Lock()
		if h.fault != nil {
			list = append(list, fmt.Sprintf("%s: no certificate from the ACME service: %v", h.name, h.fault))
		}
		if h.cert != nil {
			if w := h.ending(now); w != "" {
				list = append(list, h.name+": "+w)
			}
		} else if h.fault == nil {
			list = append(list, h.name+": ordered from the ACME service, and not there yet")
		}
		h.mu.Unlock()
	}
	return list
}

func (a *auto) stats(st *Stats) {
	st.Orders, st.OrdersFailed = a.orders.Load(), a.failed.Load()
	for _, h := range a.hosts {
		h.mu.Lock()
		s := Status{Name: h.name}
		if h.cert != nil {
			s.Ends = h.cert.Leaf.NotAfter
		}
		h.mu.Unlock()
		st.Certificates = append(st.Certificates, s)
	}
}

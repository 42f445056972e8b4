package login

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sluicenet/sluice/internal/jsontext"
	"github.com/sluicenet/sluice/internal/redact"
)

// maxVerdict bounds the body of an answer, in bytes.
const maxVerdict = 64 << 10

// HTTPConfig sets up an HTTP. Only URL is required.
type HTTPConfig struct {
	URL string // http or https; user:password@ in it become basic authentication
	// Timeout is how long one login may take, the wait for others' calls included, if its context
	// does not end sooner. Zero or less means 5 s.
	Timeout time.Duration
	// InFlight is how many calls may be under way; more logins wait. Zero or less means 256.
	InFlight int
	// Transport makes the calls. Nil means one of its own: with bounds, and through the proxy that the
	// environment names.
	Transport http.RoundTripper
}

// HTTP is a provider that asks another service. It posts
//
//	{"token":"...","protocol":"gosoc","peer":"192.0.2.1","metadata":{"key":"value"},
//	 "certificate":{"user":"ann","subject":"CN=ann,O=example","sha256":"..."}}
//
// with the login's traceparent as a header, if it is part of a trace. metadata may be missing, and so
// may certificate, the client's that was verified. Status 200 is a yes:
//
//	{"user":"ann","session":"...","topics":["news"],"claims":{"tier":"gold"},"expires":1767225600}
//
// session, topics, claims and expires, the unix time in seconds at which the login ends, may be
// missing, and {"anonymous":true} stands in for a user. A claim that is no string reaches workers as
// JSON. Status 401 and 403 are a no: ErrRefused, and a UserError if the answer is JSON that says
// {"user":"ann"}. Anything else is no verdict: ErrUnavailable. That goes for a redirect, for an
// answer of more than 64 KiB, for one that has "user" twice or as "User", or other names so, and
// for an identity out of the bounds above.
type HTTP struct {
	config  HTTPConfig
	url     *url.URL
	client  *http.Client
	slots   chan struct{}
	closing context.Context // done when Close was called
	close   context.CancelFunc
	once    sync.Once
}

var _ Concurrent = (*HTTP)(nil)

// NewHTTP returns a provider that has not called anybody yet. The caller must Close it.
func NewHTTP(c HTTPConfig) (*HTTP, error) {
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("login: http: %w", err)
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.InFlight <= 0 {
		c.InFlight = 256
	}
	if c.Transport == nil {
		c.Transport = newTransport(c.InFlight)
	}
	h := &HTTP{config: c, url: u, client: newClient(c.Transport), slots: make(chan struct{}, c.InFlight)}
	h.closing, h.close = context.WithCancel(context.Background())
	return h, nil
}

type question struct {
	Token    string            `json:"token"`
	Protocol string            `json:"protocol"`
	Peer     netip.Addr        `json:"peer"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Cert     *shownCert        `json:"certificate,omitempty"`
}

// A shownCert is what the service is told of a client's certificate.
type shownCert struct {
	User    string `json:"user,omitempty"` // of CertUser
	Subject string `json:"subject"`
	SHA256  string `json:"sha256"` // of the certificate, in hex digits
}

func showCert(cert *x509.Certificate) *shownCert {
	if cert == nil {
		return nil
	}
	user, err := CertUser(cert)
	if err != nil {
		user = ""
	}
	return &shownCert{user, cert.Subject.String(), fmt.Sprintf("%x", sha256.Sum256(cert.Raw))}
}

type verdict struct {
	User      string   `json:"user"`
	Anonymous bool     `json:"anonymous"`
	Session   string   `json:"session"`
	Topics    []string `json:"topics"`
	Expires   int64    `json:"expires"`

	Claims map[string]json.RawMessage `json:"claims"`
}

// Login implements Provider. A token that is too long or not UTF-8 fails with ErrTooLong or ErrMalformed
// and is shown to nobody.
func (h *HTTP) Login(ctx context.Context, r Request) (Identity, error) {
	switch {
	case len(r.Token) > MaxTokenLen:
		return Identity{}, ErrTooLong
	case !utf8.ValidString(r.Token): // JSON could not tell it from another
		return Identity{}, ErrMalformed
	}
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	defer context.AfterFunc(h.closing, cancel)()

	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
		return h.ask(ctx, r)
	case <-ctx.Done():
	}
	if h.closing.Err() != nil {
		return Identity{}, unavailable(errClosed)
	}
	return Identity{}, unavailable(fmt.Errorf("waiting for one of %d calls to end: %w", h.config.InFlight, ctx.Err()))
}

// Concurrency implements Concurrent.
func (h *HTTP) Concurrency() int { return h.config.InFlight }

func (h *HTTP) ask(ctx context.Context, r Request) (Identity, error) {
	body, err := json.Marshal(question{r.Token, r.Protocol, r.Peer.Unmap(), r.Metadata, showCert(r.Cert)})
	if err != nil {
		return Identity{}, unavailable(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url.String(), bytes.NewReader(body))
	if err != nil {
		return Identity{}, unavailable(redact.Cause(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if r.Traceparent != "" {
		req.Header.Set("Traceparent", r.Traceparent)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return Identity{}, h.failed(redact.Cause(err))
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		text, _ := readBody(resp.Body, maxVerdict) // also so that the connection can be used again
		err := fmt.Errorf("%w: %s answered %d", ErrRefused, h.url.Host, resp.StatusCode)
		if user := refusedUser(text); user != "" {
			err = &UserError{user, err}
		}
		return Identity{}, err
	default:
		return Identity{}, h.failed(fmt.Errorf("status %d", resp.StatusCode))
	}
	text, err := readBody(resp.Body, maxVerdict)
	if err != nil {
		return Identity{}, h.failed(err)
	}
	id, err := parseVerdict(text)
	if err != nil {
		return Identity{}, h.failed(err)
	}
	return id, nil
}

// refusedUser returns whose login it was to be, if the service says so.
func refusedUser(text []byte) string {
	var v struct {
		User string `json:"user"`
	}
	if jsontext.Unmarshal(text, &v) != nil || len(v.User) > MaxUserLen {
		return ""
	}
	return v.User
}

func (h *HTTP) failed(err error) error { return unavailable(fmt.Errorf("%s: %w", h.url.Host, err)) }

func parseVerdict(text []byte) (Identity, error) {
	var v verdict
	if err := jsontext.Unmarshal(text, &v); err != nil {
		return Identity{}, fmt.Errorf("unreadable answer: %w", err)
	}
	if (v.User == "") != v.Anonymous {
		return Identity{}, errors.New(`answer wants either a user or "anonymous":true`)
	}
	id := Identity{User: v.User, Session: v.Session, Topics: v.Topics}
	for name, value := range v.Claims {
		if id.Claims == nil {
			id.Claims = make(map[string]string, len(v.Claims))
		}
		var text string
		if string(value) == "null" || json.Unmarshal(value, &text) != nil {
			var b bytes.Buffer
			if err := json.Compact(&b, value); err != nil {
				return Identity{}, fmt.Errorf("unreadable answer: %w", err)
			}
			text = b.String()
		}
		id.Claims[name] = text
	}
	if v.Expires < 0 || v.Expires > maxDate {
		return Identity{}, errors.New("expires out of range")
	}
	if v.Expires > 0 {
		id.Expires = time.Unix(v.Expires, 0)
	}
	if err := id.check(); err != nil {
		return Identity{}, errors.New(why(err))
	}
	return id, nil
}

// Close ends the calls under way, whose logins fail with ErrUnavailable like all later ones, waits
// for them, and closes the connections. It may be called more than once and always returns nil.
func (h *HTTP) Close() error {
	h.once.Do(func() {
		h.close()
		for range cap(h.slots) { // taken for good: no call is under way, and none will be
			h.slots <- struct{}{}
		}
		h.client.CloseIdleConnections()
	})
	return nil
}

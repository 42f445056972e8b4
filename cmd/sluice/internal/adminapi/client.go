package adminapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/internal/readfile"
	"github.com/sluicenet/sluice/internal/redact"
)

const (
	// askTimeout is how long a question to the gateway may take, from first to last byte.
	askTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept for the next question: shorter than gateways keep it.
	idleTimeout = time.Second
	// maxAnswer bounds what is read of an answer, in bytes: a page of 1000 rows of long names fits.
	maxAnswer = 32 << 20
)

// ErrBadAddress is about an address that no gateway can have, or a file of authorities that cannot
// be used.
var ErrBadAddress = errors.New("bad address")

// A Config says which gateway to ask, and as whom.
type Config struct {
	// Address is the admin listener: http://HOST:PORT, HOST:PORT, https://HOST:PORT or unix:///PATH.
	Address string
	// CAFile holds the authorities that https certificates must come from, in PEM. Empty: the system's.
	CAFile string
	// Token is sent with each request, unless it is empty.
	Token string
}

// A Client asks one gateway.
type Client struct {
	config Config
	base   *url.URL
	http   http.Client
}

// New makes a Client. It sends nothing yet. Errors are ErrBadAddress.
func New(c Config) (*Client, error) {
	base, socket := c.Address, ""
	if base == "none" { // serve --admin none
		return nil, &badAddress{errors.New("--admin none: the gateway cannot be asked without its admin listener")}
	}
	if strings.HasPrefix(base, "unix:") {
		l, err := server.ParseAdminListen(base)
		if err != nil {
			return nil, &badAddress{fmt.Errorf("--admin: %w", err)}
		}
		base, socket = "http://localhost", l.Address
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	const want = "want http://HOST:PORT, https://HOST:PORT or unix:///PATH"
	switch {
	case strings.ContainsAny(base, "@?#"): // there may be a password in it
		return nil, &badAddress{errors.New("--admin: " + want + ", and no user, password or query; a token goes into the file of --admin-token-file")}
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/":
		return nil, &badAddress{fmt.Errorf("--admin %q: %s", c.Address, want)}
	}
	transport := &http.Transport{MaxIdleConns: 1, IdleConnTimeout: idleTimeout}
	if transport.TLSClientConfig, err = c.trust(u.Scheme); err != nil {
		return nil, &badAddress{err}
	}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	// No proxy and no redirects: nobody else is to see the token.
	return &Client{config: c, base: u, http: http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes the connection that is kept for the next question.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// badAddress is an ErrBadAddress that says what is wrong, and nothing else.
type badAddress struct{ error }

func (e *badAddress) Is(target error) bool { return target == ErrBadAddress }
func (e *badAddress) Unwrap() error        { return e.error }

// trust says whose certificates are good for https, nil if the system does.
func (c *Config) trust(scheme string) (*tls.Config, error) {
	switch {
	case c.CAFile == "":
		return nil, nil
	case scheme != "https":
		return nil, fmt.Errorf("--admin-ca: --admin %q is not https", c.Address)
	}
	text, err := readfile.Read(c.CAFile, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("--admin-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--admin-ca: %s holds no certificate in PEM", c.CAFile)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// Raw sends a GET and returns the status and the body, whatever they are. path is escaped.
func (c *Client) Raw(ctx context.Context, path string, query url.Values) (status int, body []byte, err error) {
	return c.ask(ctx, http.MethodGet, path, query, nil)
}

const (
	// busyTries is how often a gateway is asked that says it is busy, and busyPause how long it is left
	// alone in between. It has let the question wait for a second each time.
	busyTries = 4
	busyPause = 250 * time.Millisecond
)

// Get sends a GET to a path below /api/v1/, and returns the JSON that the gateway answers with. A
// gateway that is busy with other operators is asked again.
func (c *Client) Get(ctx context.Context, path string, query url.Values) (json.RawMessage, error) {
	for try := 1; ; try++ {
		body, err := c.answer(c.ask(ctx, http.MethodGet, "/api/v1/"+path, query, nil))
		var refused *Error
		if try == busyTries || !errors.As(err, &refused) || refused.Code != "busy" {
			return body, err
		}
		select {
		case <-ctx.Done():
			return body, err
		case <-time.After(busyPause):
		}
	}
}

// Post sends body as JSON to a path below /api/v1/, and returns what the gateway answers with.
func (c *Client) Post(ctx context.Context, path string, body any) (json.RawMessage, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return c.answer(c.ask(ctx, http.MethodPost, "/api/v1/"+path, nil, b))
}

// Patch sends body as JSON with PATCH to a path below /api/v1/, and returns what the gateway answers with.
func (c *Client) Patch(ctx context.Context, path string, body any) (json.RawMessage, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return c.answer(c.ask(ctx, http.MethodPatch, "/api/v1/"+path, nil, b))
}

// Delete sends a DELETE to a path below /api/v1/, and returns what the gateway answers with.
func (c *Client) Delete(ctx context.Context, path string, query url.Values) (json.RawMessage, error) {
	return c.answer(c.ask(ctx, http.MethodDelete, "/api/v1/"+path, query, nil))
}

// Text sends a GET for what is no JSON, and returns the body, or the error that it tells of.
func (c *Client) Text(ctx context.Context, path string) ([]byte, error) {
	status, body, err := c.ask(ctx, http.MethodGet, path, nil, nil)
	if err != nil || status/100 == 2 {
		return body, err
	}
	_, err = c.answer(status, body, nil)
	return nil, err
}

func (c *Client) ask(ctx context.Context, method, path string, query url.Values, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("%s answers with more than %d bytes", c.config.Address, maxAnswer)
	}
	return resp.StatusCode, answer, err
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.config.Token != "" {
		req.Header.Set("X-Api-Key", c.config.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		// What was asked says less than where: the URL of a unix socket is no URL of anything.
		err = c.unreached(redact.Cause(err))
	}
	return resp, err
}

// answer returns the JSON of an answer, or the error that it tells of.
func (c *Client) answer(status int, body []byte, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	if status/100 != 2 {
		e := &Error{Status: status}
		if json.Unmarshal(body, e) != nil || e.Code == "" {
			return nil, c.Stranger(status)
		}
		return nil, e
	}
	if !json.Valid(body) {
		return nil, c.Stranger(status)
	}
	return bytes.TrimSpace(body), nil
}

// An Error is what the gateway refused.
type Error struct {
	Status  int    `json:"-"` // of HTTP
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string {
	switch e.Status {
	case http.StatusUnauthorized:
		return fmt.Sprintf("the gateway refuses (%s): %s; --admin-token-file or SLUICE_ADMIN_TOKEN_FILE names the file of one, as serve --admin-token does", e.Code, e.Message)
	case http.StatusForbidden:
		if strings.Contains(e.Message, "--admin-token") { // it says already what to do
			break
		}
		return fmt.Sprintf("the gateway refuses (%s): %s; --admin-token-file or SLUICE_ADMIN_TOKEN_FILE names the token's file", e.Code, e.Message)
	}
	return fmt.Sprintf("the gateway says %s: %s", e.Code, e.Message)
}

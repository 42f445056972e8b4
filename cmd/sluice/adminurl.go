package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/internal/readfile"
)

// adminFlag says where the running gateway serves operators.
type adminFlag struct {
	Admin   string `help:"The gateway's admin listener, http://, https:// or unix:///PATH." default:"http://127.0.0.1:6070" placeholder:"URL"`
	AdminCA string `name:"admin-ca" help:"File of authorities, PEM, for https: the gateway's certificate must come from one of them, or be there itself, as one of sluice cert. Default: the system's." placeholder:"FILE"`
}

// askTimeout is how long a question to the gateway may take.
const askTimeout = 10 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// ask sends a GET to the admin listener and returns the status and the body. key may be empty.
func (f *adminFlag) ask(path string, query url.Values, key string) (status int, body []byte, err error) {
	base, socket := f.Admin, ""
	if strings.HasPrefix(base, "unix:") {
		l, err := server.ParseAdminListen(base)
		if err != nil {
			return 0, nil, usageError{fmt.Errorf("--admin: %w", err)}
		}
		base, socket = "http://localhost", l.Address
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return 0, nil, usageError{fmt.Errorf("--admin %q: want http://HOST:PORT, https://HOST:PORT or unix:///PATH", f.Admin)}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if transport.TLSClientConfig, err = f.trust(u.Scheme); err != nil {
		return 0, nil, usageError{err}
	}
	if socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	u = u.JoinPath(path)
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, nil, err
	}
	if key != "" {
		req.Header.Set("X-Api-Key", key)
	}
	// No proxy and no redirects: nobody else is to see the key.
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// trust says whose certificates are good for https, nil if the system does.
func (f *adminFlag) trust(scheme string) (*tls.Config, error) {
	switch {
	case f.AdminCA == "":
		return nil, nil
	case scheme != "https":
		return nil, fmt.Errorf("--admin-ca: --admin %q is not https", f.Admin)
	}
	text, err := readfile.Read(f.AdminCA, 1<<20)
	if err != nil {
		return nil, fmt.Errorf("--admin-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--admin-ca: %s holds no certificate in PEM", f.AdminCA)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

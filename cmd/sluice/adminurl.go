package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// adminFlag says where the running gateway serves operators.
type adminFlag struct {
	Admin string `help:"The gateway's admin listener." default:"http://127.0.0.1:6070" placeholder:"URL"`
}

// askTimeout is how long a question to the gateway may take.
const askTimeout = 10 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// ask sends a GET to the admin listener and returns the status and the body. key may be empty.
func (f *adminFlag) ask(path string, query url.Values, key string) (status int, body []byte, err error) {
	base := f.Admin
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return 0, nil, usageError{fmt.Errorf("--admin %q: want http://HOST:PORT", f.Admin)}
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
		Transport:     &http.Transport{DisableKeepAlives: true},
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

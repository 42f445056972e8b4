package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
)

// defaultAdmin is where a gateway serves operators unless it is told otherwise.
const defaultAdmin = "http://127.0.0.1:6070"

// adminFlag says where the running gateway serves operators, and who asks.
type adminFlag struct {
	Admin          string `help:"The gateway's admin listener, http://, https:// or unix:///PATH." default:"http://127.0.0.1:6070" env:"SLUICE_ADMIN" placeholder:"URL"`
	AdminCA        string `name:"admin-ca" help:"File of authorities, PEM, for https: the gateway's certificate must come from one of them, or be there itself, as one of sluice cert. Default: the system's." env:"SLUICE_ADMIN_CA" placeholder:"FILE"`
	AdminTokenFile string `help:"File that holds an operator's token; the file of serve --admin-token will do: of that the first full token, or the first at all." env:"SLUICE_ADMIN_TOKEN_FILE" placeholder:"FILE"`
}

// client returns what asks the gateway.
func (f *adminFlag) client() (*adminapi.Client, error) {
	token := ""
	if f.AdminTokenFile != "" {
		var err error
		if token, err = adminapi.ReadToken(f.AdminTokenFile); err != nil {
			return nil, usageError{fmt.Errorf("--admin-token-file: %w", err)}
		}
	}
	return f.clientWith(token)
}

// clientWith returns what asks the gateway with a token or a key, which may be empty.
func (f *adminFlag) clientWith(token string) (*adminapi.Client, error) {
	where := cmp.Or(f.Admin, defaultAdmin) // a variable may be there and empty
	c, err := adminapi.New(adminapi.Config{Address: where, CAFile: f.AdminCA, Token: token})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// ask sends a GET to the admin listener and returns the status and the body. An empty key stands for
// the token of --admin-token-file, if there is one.
func (f *adminFlag) ask(path string, query url.Values, key string) (status int, body []byte, err error) {
	ask := f.client
	if key != "" {
		ask = func() (*adminapi.Client, error) { return f.clientWith(key) }
	}
	c, err := ask()
	if err != nil {
		return 0, nil, err
	}
	defer c.Close()
	return c.Raw(context.Background(), path, query)
}

package adminapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// unreached says in one line why the gateway could not be asked, and what to do next.
func (c *Client) unreached(err error) error {
	var hint string
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	var alert tls.AlertError
	var dns *net.DNSError
	var timeout net.Error
	unix := c.base.Scheme == "http" && strings.HasPrefix(c.config.Address, "unix:")
	switch {
	case errors.As(err, &authority):
		hint = "its certificate is from no authority that is known here: give --admin-ca FILE or SLUICE_ADMIN_CA, the authority's certificate or its own"
	case errors.As(err, &name):
		hint = "its certificate is for another name: have --admin use one that the certificate has"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "its certificate is out of date, or this machine's clock is"
	case errors.As(err, &plain), c.base.Scheme == "https" && strings.Contains(err.Error(), "HTTP response to HTTPS"):
		hint = "it speaks no TLS there: want --admin http://" + c.base.Host
	case errors.As(err, &alert):
		hint = "the TLS handshake failed: is that a gateway's admin listener?"
	case errors.As(err, &dns):
		hint = "the name in --admin or SLUICE_ADMIN has no address"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nobody listens there: is sluice serve running, and is --admin or SLUICE_ADMIN what it logs as admin?"
	case unix && errors.Is(err, fs.ErrNotExist):
		hint = "the socket is not there: is sluice serve running, and is --admin or SLUICE_ADMIN what it logs as admin?"
	case unix && errors.Is(err, fs.ErrPermission):
		hint = "this user may not use the socket: run as its owner, or serve --admin with ?mode=0660&owner=:GROUP"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		hint = "it does not answer in time: a firewall may be in the way; if not, sluice health says whether it lives"
	case errors.Is(err, context.Canceled):
	default:
		hint = "is that a gateway's admin listener?"
	}
	if hint == "" {
		return fmt.Errorf("the gateway at %s cannot be asked: %w", c.config.Address, err)
	}
	return fmt.Errorf("the gateway at %s cannot be asked: %w; %s", c.config.Address, err, hint)
}

// Stranger is about an answer that no gateway gives.
func (c *Client) Stranger(status int) error {
	hint := "is that a gateway's admin listener?"
	if status == http.StatusBadRequest && c.base.Scheme == "http" {
		hint += " If it speaks TLS: --admin https://" + c.base.Host
	}
	return fmt.Errorf("%s answers with HTTP status %d: %s", c.config.Address, status, hint)
}

// Address returns where the gateway is, as it was given.
func (c *Client) Address() string { return c.config.Address }

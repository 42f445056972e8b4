package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/sluicenet/sluice/engine/server"
)

// proxies reads --proxy-trust and --forwarded-trust.
func (cmd *settings) proxies() (proxy, forwarded []netip.Prefix, err error) {
	if proxy, err = server.ParseNetworks(cmd.ProxyTrust); err != nil {
		return nil, nil, fmt.Errorf("--proxy-trust: %w", err)
	}
	if forwarded, err = server.ParseNetworks(cmd.ForwardedTrust); err != nil {
		return nil, nil, fmt.Errorf("--forwarded-trust: %w", err)
	}
	return proxy, forwarded, nil
}

// untrustedProxies says which flag is missing where a listener wants the PROXY header.
func untrustedProxies(err error) error {
	if !errors.Is(err, server.ErrNoProxyTrust) {
		return err
	}
	return fmt.Errorf("--listen or --worker with ?proxy=on: %w: give --proxy-trust CIDR", server.ErrNoProxyTrust)
}

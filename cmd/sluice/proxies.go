package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/sluicenet/sluice/engine/server"
)

// proxies reads --proxy-trust and --forwarded-trust. What the former says of unix sockets is so anyway.
func (cmd *settings) proxies() (proxy, forwarded []netip.Prefix, unix bool, err error) {
	if proxy, _, err = server.ParseProxies(cmd.ProxyTrust); err != nil {
		return nil, nil, false, fmt.Errorf("--proxy-trust: %w", err)
	}
	if forwarded, unix, err = server.ParseProxies(cmd.ForwardedTrust); err != nil {
		return nil, nil, false, fmt.Errorf("--forwarded-trust: %w", err)
	}
	return proxy, forwarded, unix, nil
}

// untrustedProxies says which flag is missing where a listener wants the PROXY header.
func untrustedProxies(err error) error {
	if !errors.Is(err, server.ErrNoProxyTrust) {
		return err
	}
	return fmt.Errorf("--listen or --worker with ?proxy=on: %w: give --proxy-trust CIDR", server.ErrNoProxyTrust)
}

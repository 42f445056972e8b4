package main

import (
	"errors"
	"net/netip"

	"github.com/sluicenet/sluice/engine/server"
)

// proxies reads --proxy-trust and --forwarded-trust. What the former says of unix sockets is so anyway.
func (cmd *settings) proxies() (proxy, forwarded []netip.Prefix, unix bool, err error) {
	proxy, _, err1 := networks("proxy-trust", cmd.ProxyTrust)
	forwarded, unix, err2 := networks("forwarded-trust", cmd.ForwardedTrust)
	return proxy, forwarded, unix, errors.Join(err1, err2)
}

// networks reads the values of a flag that are networks, addresses, or the word unix.
func networks(flag string, texts []string) (list []netip.Prefix, unix bool, err error) {
	var errs []error
	for i, text := range texts {
		n, u, err := server.ParseProxies([]string{text})
		if err != nil {
			errs = append(errs, wrongAt(flag, i, "%w", err))
		}
		list, unix = append(list, n...), unix || u
	}
	return list, unix, errors.Join(errs...)
}

// untrustedProxies says which flag is missing where a listener wants the PROXY header.
func untrustedProxies(err error) error {
	if !errors.Is(err, server.ErrNoProxyTrust) {
		return err
	}
	return depends(wrong("listen", "?proxy=on, there or of --worker: %w: give --proxy-trust CIDR", server.ErrNoProxyTrust), "proxy-trust")
}

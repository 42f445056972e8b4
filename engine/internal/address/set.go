package address

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Set is a set of networks. Nil is empty.
type Set []netip.Prefix

// ParseSet reads networks such as 10.0.0.0/8 and fd00::/8, and single addresses. An IPv4-mapped one
// is the IPv4 network that it stands for.
func ParseSet(texts []string) (Set, error) {
	var s Set
	for _, text := range texts {
		p, err := parsePrefix(text)
		if err != nil {
			return nil, err
		}
		s = append(s, p)
	}
	return s, nil
}

// ParsePeers is ParseSet for texts of which the word unix stands for peers on unix sockets.
func ParsePeers(texts []string) (s Set, unix bool, err error) {
	for _, text := range texts {
		if text == "unix" {
			unix = true
			continue
		}
		p, err := parsePrefix(text)
		if err != nil {
			return nil, false, fmt.Errorf("%w, or unix", err)
		}
		s = append(s, p)
	}
	return s, unix, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	bad := func() (netip.Prefix, error) {
		return netip.Prefix{}, fmt.Errorf("%q is no network: want one such as 10.0.0.0/8, fd00::/8 or 192.0.2.1", text)
	}
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return bad()
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return bad()
	}
	if plain, ok := plainPrefix(p); ok {
		return plain, nil
	}
	return bad()
}

// plainPrefix returns p without the bits that it leaves open, and as IPv4 if it is IPv4-mapped. One
// that is wider than all mapped addresses and has the look of one is refused.
func plainPrefix(p netip.Prefix) (netip.Prefix, bool) {
	const mapped = 96 // bits before the IPv4 address
	if p.Addr().Is4In6() {
		if p.Bits() < mapped {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), p.IsValid()
}

// SetOf makes a Set of prefixes that a program has given. An invalid one is an error.
func SetOf(prefixes []netip.Prefix) (Set, error) {
	var s Set
	for _, p := range prefixes {
		plain, ok := plainPrefix(p)
		if !ok {
			return nil, fmt.Errorf("%q is no network", p.String())
		}
		s = append(s, plain)
	}
	return s, nil
}

// Contains reports whether a is in one of the networks, whatever kind of socket has shown it. The
// invalid Addr is in none.
func (s Set) Contains(a netip.Addr) bool {
	if len(s) == 0 {
		return false
	}
	a = Plain(a)
	return slices.ContainsFunc(s, func(p netip.Prefix) bool { return p.Contains(a) })
}

package link

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/internal/utf8bom"
)

// A Trust says whom a Hub believes to be a worker. It is not changed once it is made.
type Trust struct {
	tokens [][sha256.Size]byte // digests
	allow  address.Set
	local  bool // peers without an address: unix sockets, and pipes within the process
}

// loopback is who needs no token where nothing was said.
var loopback = address.Set{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Trust reads the part of c that says who is believed to be a worker, for Hub.SetTrust. Tokens that
// prove nothing are an error.
func (c *Config) Trust() (*Trust, error) {
	t := &Trust{local: c.AllowUnix}
	if len(c.Tokens) > maxTokens {
		return nil, fmt.Errorf("worker: %d tokens, want at most %d", len(c.Tokens), maxTokens)
	}
	for i, token := range c.Tokens {
		if len(token) < MinToken || len(token) > MaxToken {
			return nil, fmt.Errorf("worker: token %d has %d bytes, want %d to %d", i+1, len(token), MinToken, MaxToken)
		}
		t.tokens = append(t.tokens, sha256.Sum256([]byte(token)))
	}
	var err error
	if t.allow, err = address.SetOf(c.Allow); err != nil {
		return nil, fmt.Errorf("worker: networks that need no token: %w", err)
	}
	if !c.Trusting() {
		t.allow, t.local = loopback, true
	}
	return t, nil
}

// Trusting reports whether c says who is believed to be a worker. If not, loopback is, and peers
// without an address, and nobody else.
func (c *Config) Trusting() bool { return len(c.Tokens) > 0 || len(c.Allow) > 0 || c.AllowUnix }

// allowed reports whether a peer needs no token. addr is invalid if it has no address.
func (t *Trust) allowed(addr netip.Addr) bool {
	if !addr.IsValid() {
		return t.local
	}
	return t.allow.Contains(addr)
}

// knows reports whether a token is one of those in force. The time that takes says nothing about
// them.
func (t *Trust) knows(token string) bool {
	shown, equal := sha256.Sum256([]byte(token)), 0
	for i := range t.tokens {
		equal |= subtle.ConstantTimeCompare(shown[:], t.tokens[i][:])
	}
	return equal == 1
}

// SetTrust replaces what the Hub's Config says, for connections that come, and for those that have
// not shown their token. Links that are there stay.
func (h *Hub) SetTrust(t *Trust) { h.trust.Store(t) }

// proven reports whether a connection is known to be a worker's before it has said anything: by its
// address, which is allowed or not, or, if the Hub wants certificates and no tokens beside them, by its
// certificate.
func (h *Hub) proven(conn net.Conn, allowed bool) bool {
	return allowed || h.config.Certificates && len(h.trust.Load().tokens) == 0 && certificateOf(conn) != nil
}

const (
	// MinToken and MaxToken are how long a token may be, in bytes. A shorter one could be guessed.
	MinToken = 16
	MaxToken = 1 << 10
	// maxTokens bounds what is compared for each Register.
	maxTokens = 64
)

// ParseTokens reads a file of tokens: one a line. Blank lines and those that begin with # say
// nothing, and neither does a byte order mark, with which editors of Windows begin a file.
func ParseTokens(text []byte) (tokens []string, err error) {
	n := 0
	for line := range strings.Lines(utf8bom.Trim(string(text))) {
		n++
		token := strings.TrimSpace(line)
		switch {
		case token == "" || token[0] == '#':
			continue
		case !utf8.ValidString(token) || strings.ContainsFunc(token, func(r rune) bool { return r == ' ' || unicode.IsControl(r) }):
			return nil, fmt.Errorf("line %d: want one token, of UTF-8 without spaces and control characters", n)
		case len(token) < MinToken || len(token) > MaxToken:
			return nil, fmt.Errorf("line %d: a token of %d bytes, want %d to %d", n, len(token), MinToken, MaxToken)
		}
		tokens = append(tokens, token)
	}
	switch {
	case len(tokens) == 0:
		return nil, errors.New("no token in it")
	case len(tokens) > maxTokens:
		return nil, fmt.Errorf("%d tokens, want at most %d", len(tokens), maxTokens)
	}
	return tokens, nil
}

// ParseAllow reads networks of workers that need no token: CIDRs, single addresses, or the word unix
// for peers on unix sockets.
func ParseAllow(texts []string) (allow []netip.Prefix, unix bool, err error) {
	return address.ParsePeers(texts)
}

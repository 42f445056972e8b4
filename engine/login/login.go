package login

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what goes into a login and comes out of it. The last five together stay under the 64
// KiB that a session store keeps of one session.
const (
	MaxTokenLen   = 8 << 10  // bytes; a longer token is refused unread
	MaxUserLen    = 256      // bytes
	MaxSessionLen = 16 << 10 // bytes
	MaxTopics     = 128
	MaxTopicLen   = 256 // bytes
	MaxClaims     = 32
	MaxClaimsLen  = 8 << 10 // bytes, names and values of all claims together
)

// Identity is who a token belongs to. Its strings are valid UTF-8 within the bounds above.
type Identity struct {
	User    string   // empty: anonymous
	Session string   // the netsvr session text; empty: guest
	Topics  []string // to subscribe to; shared, read only
	// Claims are what the provider vouches for beside that: workers are told. Shared, read only.
	Claims map[string]string
	// Expires is when the login ends: its connections are closed, and its session cannot be resumed
	// any more. Zero: it does not end by itself.
	Expires time.Time
	// Proof names what the login was granted for, a token for one, for Revocable. 0: nothing.
	Proof uint64
}

// Request is what a provider may look at.
type Request struct {
	Token    string // as the client sent it; may be empty
	Protocol string // "gosoc", "longbridge", "netsvr", or a server.Protocol's Name
	// Peer is where the client connected from. It is invalid for one without an address, as of a unix
	// socket.
	Peer     netip.Addr
	Metadata map[string]string // of a Longbridge AuthRequest; may be nil
	// Cert is the client's certificate, whose chain leads to the gateway's client CAs; see CertUser. Nil:
	// it showed none. Read only.
	Cert *x509.Certificate
	// Traceparent is of the trace that the login is part of, for services that are asked about it; W3C
	// Trace Context. Empty: it is part of none.
	Traceparent string
}

// Provider decides on a login.
type Provider interface {
	// Login may block until ctx is done. Any goroutine but a loop's may call it. It fails with an
	// error that wraps ErrRefused or ErrUnavailable; any other error is taken for the latter. r's map
	// and certificate are read only and may be kept.
	Login(ctx context.Context, r Request) (Identity, error)
}

// Immediate is a Provider that never waits.
type Immediate interface {
	Provider
	// LoginNow is Login at the time now. Any goroutine may call it, an event loop's too.
	LoginNow(now time.Time, r Request) (Identity, error)
}

// Concurrent is a Provider that decides on a limited number of logins at once: further ones would
// wait inside it, whoever they are of.
type Concurrent interface {
	Provider
	// Concurrency returns that number. Any goroutine may call it.
	Concurrency() int
}

// Revocable is a Provider that may take back what it has granted.
type Revocable interface {
	Provider
	// Holds reports whether a login still holds that was granted with this Identity.Proof, which is
	// not 0; also one of an earlier process. Any goroutine may call it, an event loop's too; it must
	// not block. It is asked when a session is resumed, and about all who are there by
	// server.Server.Revalidate.
	Holds(proof uint64) bool
}

// Unguessable is a Provider whose tokens prove themselves: they are signed, or drawn at random and
// good once. It is asked also about the tokens of an address from which many were refused.
type Unguessable interface {
	Provider
	// Unguessable reports whether a refused token says nothing about the next one. Any goroutine may
	// call it.
	Unguessable() bool
}

// Reloader is a Provider whose files or keys can be read again while it serves.
type Reloader interface {
	Provider
	// Reload reads them. What is read is used by the logins that begin afterwards; if it is not
	// usable, the error says which file and line, and the old state stays. Any goroutine may call
	// it; it may block.
	Reload() error
}

func (id Identity) check() error {
	if err := checkUser(id.User); err != nil {
		return err
	}
	if len(id.Session) > MaxSessionLen || !utf8.ValidString(id.Session) {
		return fmt.Errorf("%w: session text of %d bytes", ErrIdentity, len(id.Session))
	}
	if err := checkTopics(id.Topics); err != nil {
		return err
	}
	return checkClaims(id.Claims)
}

func checkClaims(claims map[string]string) error {
	n := 0
	for k, v := range claims {
		if k == "" || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("%w: a claim without a name, or not UTF-8", ErrIdentity)
		}
		n += len(k) + len(v)
	}
	if len(claims) > MaxClaims || n > MaxClaimsLen {
		return fmt.Errorf("%w: %d claims of %d bytes", ErrIdentity, len(claims), n)
	}
	return nil
}

// checkUser keeps ids out that no protobuf string can carry or that would break up a line of a
// terminal or a log.
func checkUser(user string) error {
	switch {
	case len(user) > MaxUserLen:
		return fmt.Errorf("%w: user id of %d bytes", ErrIdentity, len(user))
	case !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl):
		return fmt.Errorf("%w: user id holds control characters or is not UTF-8", ErrIdentity)
	}
	return nil
}

func checkTopics(topics []string) error {
	if len(topics) > MaxTopics {
		return fmt.Errorf("%w: %d topics", ErrIdentity, len(topics))
	}
	for i, t := range topics {
		if t == "" || len(t) > MaxTopicLen || !utf8.ValidString(t) {
			return fmt.Errorf("%w: topic %d is empty, too long or not UTF-8", ErrIdentity, i+1)
		}
	}
	return nil
}

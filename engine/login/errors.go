package login

import (
	"errors"
	"fmt"
)

var (
	// ErrRefused is the verdict that a token is not good. Clients are told so, and that is all they
	// are told.
	ErrRefused = errors.New("login: refused")
	// ErrUnavailable says that no verdict was reached: a server did not answer in time, or not in
	// its right mind. The client is not let in and may try again.
	ErrUnavailable = errors.New("login: no verdict")
)

// Why a token was refused. Each of them is an ErrRefused.
var (
	ErrUnknown   = refusal("unknown, expired or used token")
	ErrTooLong   = refusal("token too long")
	ErrMalformed = refusal("malformed token")
	ErrAlgorithm = refusal("algorithm does not fit the key")
	ErrKeyID     = refusal("unknown key id")
	ErrSignature = refusal("signature does not match")
	ErrExpired   = refusal("token expired")
	ErrNotYet    = refusal("token not valid yet")
	ErrAudience  = refusal("token is for somebody else (aud)")
	ErrIssuer    = refusal("token is from somebody else (iss)")
	ErrClaims    = refusal("unusable claims")
	ErrNoCert    = refusal("no verified client certificate")
	ErrNoName    = refusal("the certificate names nobody")
	ErrIdentity  = refusal("unusable identity") // out of bounds: see MaxUserLen and its neighbours
)

// A UserError is a refusal by a Provider that knows whose login it was to be, as one does whose tokens
// are names and passwords. The gateway counts refusals by user then, beside those of an address.
type UserError struct {
	User string
	Err  error // wraps ErrRefused
}

// Error is Err's.
func (e *UserError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *UserError) Unwrap() error { return e.Err }

func refusal(why string) error { return fmt.Errorf("%w: %s", ErrRefused, why) }

// unavailable keeps err's text but not its chain: whatever a broken server leads to, it is never a
// verdict.
func unavailable(err error) error { return fmt.Errorf("%w: %v", ErrUnavailable, err) }

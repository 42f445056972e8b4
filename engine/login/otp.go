package login

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/sluicenet/sluice/session"
)

// The bounds of OTPConfig.TTL.
const (
	MinOTPLife = time.Second
	MaxOTPLife = time.Hour
)

// expirePerIssue is how many expired tokens each new one clears away: more than one, so that they
// cannot pile up.
const expirePerIssue = 8

// OTPConfig sets up an OTP. Its zero value works.
type OTPConfig struct {
	// TTL is how long a token is good. Zero means 60 s; anything else must be from MinOTPLife to
	// MaxOTPLife.
	TTL time.Duration
	// MaxTokens bounds the tokens outstanding; one more drives out the one that expires first. Zero
	// or less means 65,536.
	MaxTokens int
}

// OTP is a provider of tokens that are good once. The gateway issues them, to a service that has
// already made sure who its user is and hands the token on.
type OTP struct {
	tokens *session.OneTime
	ttl    time.Duration
}

var _ Immediate = (*OTP)(nil)

// NewOTP returns an OTP without tokens. It fails when TTL is out of bounds.
func NewOTP(c OTPConfig) (*OTP, error) {
	if c.TTL == 0 {
		c.TTL = time.Minute
	}
	if c.TTL < MinOTPLife || c.TTL > MaxOTPLife {
		return nil, fmt.Errorf("login: otp: ttl %v is not between %v and %v", c.TTL, MinOTPLife, MaxOTPLife)
	}
	tokens, err := session.NewOneTime(session.OneTimeConfig{Rand: rand.Reader, TTL: c.TTL, MaxTokens: c.MaxTokens})
	if err != nil {
		return nil, fmt.Errorf("login: otp: %w", err)
	}
	return &OTP{tokens: tokens, ttl: c.TTL}, nil
}

// TTL returns how long a token is good.
func (o *OTP) TTL() time.Duration { return o.ttl }

// IssueAs has the tokens begin with the server id of the gateway that issues them, so that another
// gateway of a cluster, at which one is shown, knows which of them to ask. It must be called before the
// first Issue; a gateway of a cluster does so by itself.
func (o *OTP) IssueAs(serverID uint8) { o.tokens.IssueAs(serverID) }

// Issue makes a token for user, good from now until now + TTL. It fails with ErrIdentity if user is
// empty or cannot be a user id, and with another error when there is no randomness. Any goroutine may
// call it.
func (o *OTP) Issue(now time.Time, user string) (token string, err error) {
	if user == "" {
		return "", fmt.Errorf("%w: no user id", ErrIdentity)
	}
	if err := checkUser(user); err != nil {
		return "", err
	}
	o.tokens.Expire(now, expirePerIssue)
	return o.tokens.Issue(now, user)
}

// Login implements Provider. It uses the token up.
func (o *OTP) Login(_ context.Context, r Request) (Identity, error) { return o.LoginNow(time.Now(), r) }

// LoginNow implements Immediate. It uses the token up, and fails with ErrUnknown.
func (o *OTP) LoginNow(now time.Time, r Request) (Identity, error) {
	if len(r.Token) != session.TokenLen {
		return Identity{}, ErrUnknown
	}
	user, ok := o.tokens.Take(now, []byte(r.Token))
	if !ok {
		return Identity{}, ErrUnknown
	}
	return Identity{User: user}, nil
}

// Len counts the tokens outstanding, and those driven out before their time since the start. Any
// goroutine may call it.
func (o *OTP) Len() (outstanding int, evicted uint64) { return o.tokens.Len() }

// Unguessable implements Unguessable: a token is 128 random bits, 120 with IssueAs, good once.
func (*OTP) Unguessable() bool { return true }

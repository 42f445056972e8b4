package login

import (
	"context"
	"time"
)

// Open is the provider that believes everybody: the token is the user id, an empty one means
// anonymous.
type Open struct{}

var _ Immediate = Open{}

// Login implements Provider.
func (o Open) Login(_ context.Context, r Request) (Identity, error) {
	return o.LoginNow(time.Time{}, r)
}

// LoginNow implements Immediate. It fails with ErrIdentity when the token cannot be a user id.
func (Open) LoginNow(_ time.Time, r Request) (Identity, error) {
	if err := checkUser(r.Token); err != nil {
		return Identity{}, err
	}
	return Identity{User: r.Token}, nil
}

// Unguessable implements Unguessable: no token is refused for what it is.
func (Open) Unguessable() bool { return true }

package login_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

func ExampleParse() {
	dir, err := os.MkdirTemp("", "login")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "tokens")
	if err := os.WriteFile(file, []byte("b4c55d5e ann news,sport\n"), 0o600); err != nil {
		panic(err)
	}

	provider, err := login.Parse("tokens:" + file)
	if err != nil {
		panic(err)
	}
	if c, ok := provider.(io.Closer); ok {
		defer c.Close()
	}

	// Away from the loops anything goes; on a loop only what never waits.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	who, err := provider.Login(ctx, login.Request{Token: "b4c55d5e"})
	fmt.Println(who.User, who.Topics, err)

	if p, ok := provider.(login.Immediate); ok {
		_, err = p.LoginNow(time.Now(), login.Request{Token: "guess"})
		fmt.Println(errors.Is(err, login.ErrRefused), err)
	}

	_, err = login.Parse("ldap:example")
	fmt.Println(err)
	// Output:
	// ann [news sport] <nil>
	// true login: refused: unknown, expired or used token
	// login: unknown kind: want open, tokens:FILE, cert, otp[:ttl=60s], jwt:{secret-file=FILE|key-file=PEM|jwks=FILE-or-URL}[,aud=A][,iss=I][,leeway=10s][,claims=NAME], http:URL, https://...
}

// Another service has checked who its user is, asks the gateway for a token and hands it to the client.
func ExampleOTP() {
	tokens, err := login.NewOTP(login.OTPConfig{TTL: 30 * time.Second})
	if err != nil {
		panic(err)
	}
	now := time.Now()
	token, err := tokens.Issue(now, "ann")
	if err != nil {
		panic(err)
	}
	for range 2 {
		who, err := tokens.LoginNow(now, login.Request{Token: token})
		fmt.Printf("%q %v\n", who.User, err)
	}
	// Output:
	// "ann" <nil>
	// "" login: refused: unknown, expired or used token
}

var errNobody = errors.New("nobody")

// accounts is a provider of a program's own.
type accounts struct{ byToken map[string]string }

// lookUp stands for what may take its time: a database, another service.
func (a accounts) lookUp(ctx context.Context, token string) (user string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	user, ok := a.byToken[token]
	if !ok {
		return "", errNobody
	}
	return user, nil
}

func (a accounts) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	user, err := a.lookUp(ctx, r.Token)
	switch {
	case errors.Is(err, errNobody):
		return login.Identity{}, login.ErrRefused
	case err != nil:
		return login.Identity{}, fmt.Errorf("%w: %w", login.ErrUnavailable, err)
	}
	return login.Identity{User: user, Topics: []string{"user." + user}}, nil
}

// A program's own provider says who it is, that it is nobody, or that it does not know.
func ExampleProvider() {
	var provider login.Provider = accounts{map[string]string{"b4c55d5e": "ann"}}
	ctx, cancel := context.WithCancel(context.Background())
	who, err := provider.Login(ctx, login.Request{Token: "b4c55d5e"})
	fmt.Println(who.User, who.Topics, err)
	_, err = provider.Login(ctx, login.Request{Token: "guess"})
	fmt.Println(errors.Is(err, login.ErrRefused))
	cancel()
	_, err = provider.Login(ctx, login.Request{Token: "b4c55d5e"})
	fmt.Println(errors.Is(err, login.ErrUnavailable), err)
	// Output:
	// ann [user.ann] <nil>
	// true
	// true login: no verdict: context canceled
}

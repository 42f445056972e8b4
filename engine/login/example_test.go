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
	// login: unknown kind "ldap": want open, tokens:FILE, otp[:ttl=60s], jwt:{secret-file=FILE|key-file=PEM|jwks=FILE-or-URL}[,aud=A][,iss=I][,leeway=10s], http:URL, https://...
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

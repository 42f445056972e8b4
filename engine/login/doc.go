// Package login decides whose a token is.
//
// A gateway has one [Provider], which is made from the text of --login or by hand:
//
//	provider, err := login.Parse("tokens:/etc/sluice/tokens")   // lines "token user"
//	provider, err := login.NewJWT(login.JWTConfig{KeyFile: "keys.pem", Issuer: "https://id.example.com"})
//	srv, err := server.New(server.Config{Gateway: server.GatewayConfig{Login: provider}})
//
// A program that embeds the gateway (engine/server) may bring its own; the example of Provider is
// one. It may block until ctx is done. One that never does is [Immediate], which saves each login a
// goroutine:
//
//	func (a accounts) Login(ctx context.Context, r login.Request) (login.Identity, error) {
//		user, err := a.lookUp(ctx, r.Token)
//		switch {
//		case errors.Is(err, errNobody):
//			return login.Identity{}, login.ErrRefused
//		case err != nil:
//			return login.Identity{}, fmt.Errorf("%w: %w", login.ErrUnavailable, err)
//		}
//		return login.Identity{User: user, Topics: []string{"user." + user}}, nil
//	}
//
// # Data flow
//
//	--login text -> Parse -> Provider
//	Connect.token, AuthRequest.token -> Request -> Provider -> Identity -> session, topics
//
// A provider gives one of three answers: an [Identity]; [ErrRefused], a verdict; or
// [ErrUnavailable], no verdict, which lets nobody in either. The text of an error is for the log
// and never holds a token; the client hears only its protocol's return code.
//
//	open       the token is the user id                        Immediate
//	tokens     a file of tokens                                Immediate, Reload
//	cert       the name in the client's certificate            Immediate
//	otp        tokens this gateway issued, good once           Immediate
//	jwt        signed tokens, keys in a file                   Immediate, Reload
//	jwt, URL   signed tokens, keys fetched over HTTP           Reload, Close
//	http       another service is asked                        Close
//
// They are [Open], [Tokens], [Cert], [OTP], [JWT], [RemoteJWT] and [HTTP]; their own documentation
// has their settings. A [Reloader] reads its files again while it serves: cmd/sluice has it do so on
// SIGHUP. Tokens is [Revocable], too: a login does not hold any more whose token the file has no more.
//
// # Ownership
//
// Tokens and metadata are read during the call and not kept, except that an open login's user id is
// its token. The topics of an Identity may be shared by all who log in with the same token: read
// them, never change them.
//
// # Goroutines
//
// Every provider is safe for concurrent use. An [Immediate] one computes its answer in microseconds
// and may be asked on an event loop; the others wait for the network. Two start goroutines and end
// them in Close: [RemoteJWT] has one that fetches keys, [HTTP] those of net/http's idle
// connections.
package login

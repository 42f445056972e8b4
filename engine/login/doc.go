// Package login decides whose a token is.
//
// # Data flow
//
//	--login text -> Parse -> Provider
//	Connect.token, AuthRequest.token -> Request -> Provider -> Identity -> session, topics
//
// A provider gives one of three answers: an [Identity]; [ErrRefused], a verdict; or [ErrUnavailable], no verdict, which
// lets nobody in either. The text of an error is for the log and never holds a token; the client hears only its
// protocol's return code.
//
//	open       the token is the user id
//	tokens     a file of tokens                               Immediate, Reload
//	otp        tokens this gateway issued, good once          Immediate
//	jwt        signed tokens, keys in a file                  Immediate, Reload
//	jwt, URL   signed tokens, keys fetched over HTTP          Reload, Close
//	http       another service is asked                       Close
//
// # Ownership
//
// Tokens and metadata are read during the call and not kept, except that an open login's user id is its token. The
// topics of an Identity may be shared by all who log in with the same token: read them, never change them.
//
// # Goroutines
//
// Every provider is safe for concurrent use. An [Immediate] one computes its answer in microseconds and may be asked on
// an event loop; the others wait for the network. Two start goroutines and end them in Close: [RemoteJWT] has one that
// fetches keys, [HTTP] those of net/http's idle connections.
package login

// Package admin serves operators over HTTP, on a listener of its own.
//
//	/livez                                  200 while the process serves
//	/readyz                                 200, or 503 and a line for each reason
//	/metrics                                counters, in Prometheus' text format
//	/api/v1/stats                           the same as JSON
//	/v1/socket/token, /v2/socket/token      a one-time login token, ?user=ID
//	/debug/pprof/                           profiles
//	/                                       links to these
//
// # Data flow
//
//	request -> guard (Host, API key) -> engine, gateway and worker Stats -> text or JSON
//
// Nothing is counted for this package's sake but the loops' lag: a goroutine has each loop run a
// no-op once a second and notes how late it ran. Everything else is read when somebody asks.
//
// # Who may ask
//
// The token call always needs the API key, except in development mode without one; users may have
// keys of their own (Config.TokenUsers), as the Longbridge vendor's SDKs want it. Tokens are to be
// had only where the login provider is login.OTP: a development gateway that was not told otherwise
// lets everybody in by the name they give, and answers 409.
//
// /livez, /readyz, /metrics and / are for everybody who reaches the listener; so are the others,
// unless the listener is not on loopback and there is an API key: then they need it too. On loopback
// a browser must have come by a name that cannot have been rebound: see hostAllowed.
//
// # Ownership
//
// A Server reads the engine, gateway and hub it was given and owns none of them. It may be started
// once they exist and go on serving after they have stopped.
//
// # Goroutines
//
// Those of net/http, and the one that samples the loops. All methods may be called from any goroutine.
package admin

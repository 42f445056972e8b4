// Package admin serves operators over HTTP, on a listener of its own.
//
//	/livez                                  200 while the process serves
//	/readyz                                 200, or 503 and a line for each reason
//	/metrics                                counters, in Prometheus' text format
//	/api/v1/...                             what there is to see and to do, as JSON: see openapi.json
//	/v1/socket/token, /v2/socket/token      a one-time login token, ?user=ID
//	/debug/loops, /debug/pprof/             loops, profiles and traces
//	/                                       a page for people
//
// # Data flow
//
//	request -> allowed (Host, token, role) -> engine, gateway and worker Stats -> text or JSON
//	                                       -> a loop, in slices of its time    -> JSON
//
// Little is counted for this package's sake: the last ends of connections are remembered, and once a
// second how long requests waited. Everything else is read when somebody asks. What only a loop knows
// it is asked for by Engine.Visit, for 250 µs at a time. How late loops are the engine measures itself
// (package looplag).
//
// # Who may ask
//
// access.go has the rule. Config.Tokens are tokens of the roles read and full; without them
// Config.APIKey is one of the full role, and without that only Dev on loopback opens anything but
// /livez, /readyz and the page. On loopback a browser that shows no token must have come by a name
// that cannot have been rebound: see hostAllowed.
//
// The token call always needs the API key or a token of the full role, except in development mode
// without either; users may have keys of their own (Config.TokenUsers), as the Longbridge vendor's SDKs
// want it. Login tokens are to be had only where the login provider is login.OTP: a development
// gateway that was not told otherwise lets everybody in by the name they give, and answers 409.
//
// # Ownership
//
// A Server reads the engine, gateway and hub it was given and owns none of them. It may be started
// once they exist and go on serving after they have stopped.
//
// # Goroutines
//
// Those of net/http, one that looks once a second whether a loop stands still and how long requests
// waited, and one for each tail. All methods may be called from any goroutine.
package admin

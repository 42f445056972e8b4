// Package dev is the worker that `sluice serve --dev` runs in its own process: a handful of
// routes to try clients with, and to measure the gateway against.
//
// # Data flow
//
//	gateway.Request -> route -> reply, subscription, publish or push, within the call
//
// # Goroutines
//
// Everything runs on the loop of the connection that asks.
package dev

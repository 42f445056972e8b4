// Package e2e tests the gateway from outside: it builds cmd/sluice, runs it as a process of its
// own for every test and talks to it over sockets. It is a module of its own, so that what only
// these tests need stays out of the gateway's go.mod.
//
//	cd bench/e2e && go test ./...           two minutes on two cores
//	E2E_BUILD=-race go test ./...           the gateway under the race detector, too
//	SLUICE_BIN=path go test ./...           that gateway instead of one that is built
//	SLUICE_PRESSURE=full go test -run Pressure -v .
//	                                        what the well-behaved are owed, in full size
//	SLUICE_RELOADS=full go test -run ReloadsUnderLoad -v .
//	                                        twenty reloads under 10,000 connections
//	SLUICE_RESUME=full go test -run HistoryMass -v .
//	                                        1,000 sessions that resume at once, and others meanwhile
//	SLUICE_WATCHED=full go test -run Watched -v -timeout 30m .
//	                                        what the page, top and a scraper cost at 15,000
//
// The test of top on a terminal wants tmux.
// Tests behind haproxy and nginx are skipped where there is none; with INTEROP_INSTALL=1, and as root on
// Debian, they install the packages first.
//
// # Data flow
//
//	TestMain -> go build -> a gateway per test -> client -> what the client sees -> stop
//
// The client side is written by hand from the protocol's description and shares no code with
// codec/gosoc, so that a misreading there cannot hide itself.
//
// # Ownership
//
// A test owns its gateway, and the gateway the connections dialled through it: at the test's end
// they are closed, the process must be back at the descriptors it began with, and SIGTERM must
// end it with exit code 0.
//
// # Goroutines
//
// Clients block. Tests that need many at once give each its goroutine.
package e2e

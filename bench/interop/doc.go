// Package interop tests the gateway with clients that others have published: Longbridge's Go client
// over TCP and WebSocket, coder/websocket, gorilla/websocket and Chromium. It is a module of its
// own, so that what only these tests need stays out of the gateway's go.mod.
//
//	cd bench/interop && go test ./...       under a minute on two cores
//
// The test with Chromium is skipped where there is none; with INTEROP_INSTALL=1, and as root on
// Debian, it installs the package chromium first, which takes from 10 s to 3 minutes.
//
// # Data flow
//
//	TestMain -> go build -> a gateway per test <- a line of ours, which can be cut <- client
//
// # Ownership
//
// A test owns its gateway, its line and its clients. At the end SIGTERM must end the gateway with
// exit code 0.
//
// # Goroutines
//
// Those of the clients: the vendor's leaves some behind when its connection is closed by the server
// at the wrong moment, so nothing is counted here.
package interop

// Package oracle has other people's implementations read what the codecs read, and compares. It is a
// module of its own, so that what only these tests need stays out of the gateway's go.mod.
//
//	cd bench/oracle && go test ./...                       the seeds
//	go test -run '^$' -fuzz FuzzProxyproto -fuzztime 10m    go-proxyproto and codec/proxyproto
//
// # Data flow
//
//	bytes -> codec          -> the same header, of the same length, or both refuse
//	      -> implementation ->
//
// Where the two differ on purpose the test says how, and why.
package oracle

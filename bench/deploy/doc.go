// Package deploy holds what packaging/ has for Docker, Kubernetes, Prometheus and Grafana against the
// gateway itself: it builds cmd/sluice, runs it with what the files say, and reads its metrics. It is a
// module of its own, so that what only these tests need stays out of the gateway's go.mod.
//
//	cd bench/deploy && go test ./...
//	DEPLOY_FULL=1 go test ./...      also a real Prometheus, and a drain that takes all the time it has
//	SLUICE_BIN=path go test ./...    that gateway instead of one that is built
//
// What wants promtool or Prometheus is skipped where there is none, or where it is older than the files
// need; with INTEROP_INSTALL=1, and as root on Debian, the tests install the package first.
//
// # Data flow
//
//	packaging/ -> the tests' own readers -> expressions, manifests
//	                                            |
//	TestMain -> go build -> a gateway per test -> /metrics, /livez, exits
//
// # Ownership
//
// A test owns its gateway, which SIGTERM ends with exit code 0 at the test's end.
//
// # Goroutines
//
// Those of os/exec, and one for each client where a test needs many at once.
package deploy

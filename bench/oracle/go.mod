module github.com/sluicenet/sluice/bench/oracle

go 1.26.0

replace github.com/sluicenet/sluice => ../..

require (
	github.com/pires/go-proxyproto v0.15.0
	github.com/sluicenet/sluice v0.0.0
)

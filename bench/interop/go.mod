module github.com/sluicenet/sluice/bench/interop

go 1.26.0

replace github.com/sluicenet/sluice => ../..

require (
	github.com/coder/websocket v1.8.15
	github.com/gorilla/websocket v1.5.0
	github.com/longportapp/openapi-protobufs/gen/go v0.4.0
	github.com/longportapp/openapi-protocol/go v0.4.1
	go.uber.org/goleak v1.3.0
)

require (
	github.com/Allenxuxu/ringbuffer v0.0.11 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	google.golang.org/protobuf v1.28.1 // indirect
)

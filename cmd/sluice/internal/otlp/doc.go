// Package otlp sends spans to an OpenTelemetry collector: OTLP over HTTP, in protobuf.
//
// # Data flow
//
//	loops -> End -> a bounded queue -> one goroutine -> a batch -> POST /v1/traces
//
// A collector that is slow, away or broken stops that one goroutine. End returns at once; what does not
// fit into the queue is dropped and counted, and what cannot be sent is lost and counted.
//
// # Why not the OpenTelemetry SDK
//
// Its exporter brings gRPC and a gateway for it, which are larger than all of sluice, and its spans are
// made for calls that return to whoever made them, on one goroutine; those of a gateway begin on a loop
// and end there much later, and there is no room for garbage on the way. What is left is a queue and a
// POST. The messages are OpenTelemetry's own (go.opentelemetry.io/proto/slim/otlp), which need nothing
// but protobuf. A program that embeds the gateway and has the SDK gives its own server.Tracer.
//
// # Ownership
//
// A Span is the Exporter's once End was called with it.
//
// # Goroutines
//
// One, from New to Close.
package otlp

// Package netsvrpb is the generated protobuf form of the worker protocol's
// messages, dialect 2.0.2 and our own commands. Package netsvr decodes and
// encodes the frequent ones by hand; the rest are used as they are here.
//
// netsvr.proto is named from the module's root, because Go registers the
// messages of a program under the names of their files.
package netsvrpb

//go:generate sh -c "protoc -I ../../.. --plugin=protoc-gen-go=\"$(go tool -n protoc-gen-go)\" --go_out=../../.. --go_opt=paths=source_relative codec/netsvr/netsvrpb/netsvr.proto"

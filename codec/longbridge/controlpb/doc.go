// Package controlpb is the generated protobuf form of the control messages.
// Package longbridge has the types to use; this one only carries their bytes.
//
// control.proto is named from the module's root, because Go registers the
// messages of a program under the names of their files.
package controlpb

//go:generate protoc -I ../../.. --plugin=protoc-gen-go=./protoc-gen-go.sh --go_out=../../.. --go_opt=paths=source_relative codec/longbridge/controlpb/control.proto

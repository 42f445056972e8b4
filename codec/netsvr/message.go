package netsvr

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Unmarshal decodes b into m, a message of netsvrpb, whose old fields are
// forgotten. Everything is copied; unknown fields are skipped, and so are fields
// of the wrong wire type. The error is an ErrMalformed.
func Unmarshal(b []byte, m proto.Message) error {
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrMalformed, name(m), err)
	}
	return nil
}

// AppendMessage encodes m, a message of netsvrpb, after dst. The error is a
// string of m that is not UTF-8; dst comes back as it was.
func AppendMessage(dst []byte, m proto.Message) ([]byte, error) {
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		return dst, fmt.Errorf("netsvr: %s: %w: %v", name(m), ErrUTF8, err)
	}
	return out, nil
}

func name(m proto.Message) string { return string(m.ProtoReflect().Descriptor().Name()) }

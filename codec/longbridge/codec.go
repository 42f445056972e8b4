package longbridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/internal/jsontext"
)

// MaxControlLen bounds the body of a control message, in bytes, inflated.
const MaxControlLen = 64 << 10

// A Codec is how the control messages of a connection are written.
type Codec uint8

const (
	Protobuf Codec = 1
	JSON     Codec = 2 // known to the vendor's Go client alone
)

func (c Codec) valid() bool { return c == Protobuf || c == JSON }

func (c Codec) String() string {
	switch c {
	case Protobuf:
		return "protobuf"
	case JSON:
		return "JSON"
	}
	return "codec " + strconv.Itoa(int(c))
}

var errControlLen = errors.New("longer than 65536 bytes")

// Append encodes m after dst; equal messages make equal bytes. In protobuf a
// message of zero fields has no bytes, in JSON it is {}. The errors are ErrCodec
// and, wrapped, ErrControl for a string that is not UTF-8; JSON writes U+FFFD
// into that instead.
func (c Codec) Append(dst []byte, m Message) ([]byte, error) {
	var out []byte
	var err error
	switch c {
	case Protobuf:
		out, err = proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, m.toProto())
	case JSON:
		if out, err = json.Marshal(m); err == nil {
			out = append(dst, out...)
		}
	default:
		return dst, ErrCodec
	}
	if err != nil {
		return dst, controlError(m, err)
	}
	return out, nil
}

// Unmarshal decodes body into m, whose old fields are forgotten. Fields unknown
// to m are skipped. Strings are copied. The errors are ErrCodec and, wrapped,
// ErrControl, which is also for more than MaxControlLen bytes; m is then zero.
func (c Codec) Unmarshal(body []byte, m Message) error {
	m.reset()
	if !c.valid() {
		return ErrCodec
	}
	if len(body) > MaxControlLen {
		return controlError(m, errControlLen)
	}
	var err error
	if c == Protobuf {
		err = unmarshalProtobuf(body, m)
	} else {
		err = jsontext.Unmarshal(body, m)
	}
	if err != nil {
		m.reset()
		return controlError(m, err)
	}
	return nil
}

func unmarshalProtobuf(body []byte, m Message) error {
	pb := m.toProto()
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, pb); err != nil {
		return err
	}
	m.fromProto(pb)
	return nil
}

func controlError(m Message, err error) error {
	return fmt.Errorf("%w: %T: %w", ErrControl, m, err)
}

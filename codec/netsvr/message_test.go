package netsvr

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// canonical is what every encoder here should write: fields by number, maps by key.
func canonical(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSpecimenMessages(t *testing.T) {
	for _, s := range specimens {
		t.Run(s.name, func(t *testing.T) {
			k := kindNamed(t, s.cmd.String())
			payload := unhex(t, s.wire)[8:]
			m := k.new()
			if err := m.Decode(payload); err != nil {
				t.Fatal(err)
			}
			if got, want := k.toPB(m), k.toPB(s.msg); !proto.Equal(got, want) {
				t.Errorf("decoded %v, want %v", got, want)
			}
			pb := k.pb()
			if err := proto.Unmarshal(payload, pb); err != nil || !proto.Equal(pb, k.toPB(s.msg)) {
				t.Errorf("the generated code reads %v, %v", pb, err)
			}
			for i := range payload { // a prefix is truncated, or a message of its own that both read alike
				agree(t, k, k.new(), payload[:i])
			}
		})
	}
}

// agree checks that m.Decode reads b as the generated code does. The one
// difference: a known field of the wrong wire type is an error here and skipped
// there.
func agree(t testing.TB, k kind, m message, b []byte) {
	t.Helper()
	before := bytes.Clone(b)
	err := m.Decode(b)
	if !bytes.Equal(before, b) {
		t.Fatalf("%s: Decode wrote into its input", k.name)
	}
	pb := k.pb()
	pbErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, pb)
	switch {
	case err == nil && pbErr == nil:
		if got := k.toPB(m); !proto.Equal(got, pb) {
			t.Fatalf("%s of %x: decoded %v, the generated code %v", k.name, b, got, pb)
		}
		again := k.new()
		if err := again.Decode(m.Append(nil)); err != nil || !proto.Equal(k.toPB(again), pb) {
			t.Fatalf("%s of %x: round trip %v, %v", k.name, b, k.toPB(again), err)
		}
	case err == nil:
		t.Fatalf("%s of %x: accepted, the generated code says %v", k.name, b, pbErr)
	case pbErr == nil && !errors.Is(err, ErrWireType):
		t.Fatalf("%s of %x: %v, the generated code accepts", k.name, b, err)
	}
	if err != nil {
		var de *DecodeError
		if !errors.As(err, &de) || !errors.Is(err, ErrMalformed) || de.Message != k.name || de.Err == nil {
			t.Fatalf("%s: error %v is not a DecodeError of it", k.name, err)
		}
	}
}

// fill sets some fields of m to random values, of which some are the defaults.
func fill(r *rand.Rand, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case r.IntN(4) == 0:
		case fd.IsMap():
			for range r.IntN(5) {
				m.Mutable(fd).Map().Set(scalar(r, fd.MapKey()).MapKey(), scalar(r, fd.MapValue()))
			}
		case fd.IsList():
			for range r.IntN(5) {
				m.Mutable(fd).List().Append(scalar(r, fd))
			}
		default:
			m.Set(fd, scalar(r, fd))
		}
	}
}

func scalar(r *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	n := r.Uint64() >> r.IntN(65)
	switch fd.Kind() {
	case protoreflect.StringKind:
		var s strings.Builder
		for range length(r) {
			s.WriteRune([]rune{'a', '0', 'é', '世', '😀', '\ufffd', 0}[r.IntN(7)])
		}
		return protoreflect.ValueOfString(s.String())
	case protoreflect.BytesKind:
		b := make([]byte, length(r))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return protoreflect.ValueOfBytes(b)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(n)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n&1 == 1)
	}
	panic(fmt.Sprint("no random ", fd.Kind()))
}

// length is mostly small, sometimes on either side of a longer length prefix.
func length(r *rand.Rand) int {
	return [...]int{0, 1, 5, 18, 126, 127, 128, 129, 16383, 16384}[min(r.IntN(12), r.IntN(10))]
}

func TestAgainstGeneratedCode(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(20, 2))
			m := k.new() // one for all: nothing of an earlier message may stay
			for range 200 {
				pb := k.pb()
				fill(r, pb.ProtoReflect())
				wire := canonical(t, pb)
				if err := m.Decode(wire); err != nil {
					t.Fatalf("%v: %v", pb, err)
				}
				if got := k.toPB(m); !proto.Equal(got, pb) {
					t.Fatalf("decoded %v, want %v", got, pb)
				}
				if got := m.Append([]byte("x"))[1:]; !bytes.Equal(got, wire) {
					t.Fatalf("encoded %x, want %x", got, wire)
				}
				if n := len(wire); n > 0 { // damaged, but seldom hopelessly
					wire[r.IntN(n)] ^= 1 << r.IntN(8)
					agree(t, k, k.new(), wire)
					agree(t, k, k.new(), wire[:r.IntN(n)])
				}
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	for _, c := range []struct {
		name    string
		message string
		hex     string
		field   int
		err     error
	}{
		{"tag without a value", "Transfer", "0a", 1, ErrTruncated},
		{"half a tag", "Transfer", "8a", 0, ErrTruncated},
		{"length past the end", "Transfer", "0a 05 61", 1, ErrTruncated},
		{"length past the end by 2^64-1", "Transfer", "0a ffffffffffffffffff01 61", 1, ErrTruncated},
		{"half a length", "Transfer", "1a 80", 3, ErrTruncated},
		{"length of 11 bytes", "Transfer", "0a 8080808080808080808001", 1, ErrVarint},
		{"number above 64 bits", "Reply", "10 ffffffffffffffffff02", 2, ErrVarint},
		{"number without an end", "Reply", "10 ffff", 2, ErrTruncated},
		{"tag above 64 bits", "Reply", "ffffffffffffffffff02", 0, ErrVarint},
		{"field number 0", "Transfer", "02 00", 0, ErrTag},
		{"field number 2^29", "Transfer", "8280808010 00", 0, ErrTag},
		{"wire type 6", "Transfer", "1e 00", 3, ErrTag},
		{"wire type 7, unknown field", "Transfer", "2f 00", 5, ErrTag},
		{"varint for a string", "Transfer", "08 01", 1, ErrWireType},
		{"fixed32 for bytes", "Transfer", "1d 01020304", 3, ErrWireType},
		{"group for a string", "Transfer", "0b 0c", 1, ErrWireType},
		{"bytes for a number", "Reply", "12 01 01", 2, ErrWireType},
		{"bytes for a bool", "Request", "3a 01 01", 7, ErrWireType},
		{"varint for a map", "Request", "58 01", 11, ErrWireType},
		{"varint for a list", "TopicPublish", "08 01", 1, ErrWireType},
		{"varint for a list of bytes", "SingleCastBulk", "10 01", 2, ErrWireType},
		{"short fixed64, unknown field", "Transfer", "29 01020304", 5, ErrTruncated},
		{"group without an end", "Transfer", "2b 0801", 5, ErrTruncated},
		{"end without a group", "Transfer", "2c", 5, ErrGroup},
		{"group ended by another", "Transfer", "2b 34", 5, ErrGroup},
		{"string not UTF-8", "Transfer", "12 01 ff", 2, ErrUTF8},
		{"string ends inside a rune", "SingleCast", "0a 01 c3", 1, ErrUTF8},
		{"string with a surrogate", "SingleCast", "0a 03 eda080", 1, ErrUTF8},
		{"list item not UTF-8", "Multicast", "0a 01 61 0a 01 ff", 1, ErrUTF8},
		{"topic not UTF-8", "TopicPublishBulk", "0a 01 ff", 1, ErrUTF8},
		{"map key not UTF-8", "Request", "5a 03 0a 01 ff", 11, ErrUTF8},
		{"map value of the wrong type", "Request", "5a 02 10 01", 11, ErrWireType},
		{"map entry truncated within", "Request", "5a 02 0a 01", 11, ErrTruncated},
		{"error behind good fields", "Push", "0a 01 61 2a 01 62 20", 4, ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := kindNamed(t, c.message)
			b := unhex(t, c.hex)
			err := k.new().Decode(b)
			var de *DecodeError
			if !errors.As(err, &de) || !errors.Is(err, c.err) || !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if de.Message != c.message || de.Field != c.field {
				t.Errorf("blames %s field %d, want field %d: %v", de.Message, de.Field, c.field, err)
			}
			agree(t, k, k.new(), b)
		})
	}
}

func TestToleratedEncodings(t *testing.T) {
	for _, c := range []struct {
		name    string
		message string
		hex     string
		want    message
	}{
		{"last scalar wins", "Reply", "10 01 0a 01 61 10 02 0a 01 62", &Reply{UniqID: []byte("b"), ID: 2}},
		{"fields in any order", "Transfer", "1a 01 64 12 01 73 0a 01 75", &Transfer{UniqID: []byte("u"), Session: []byte("s"), Data: []byte("d")}},
		{"zero sent all the same", "Reply", "0a 00 10 00", &Reply{}},
		{"longer varints than needed", "Reply", "8a 00 81 00 61 90 80 00 87 80 00", &Reply{UniqID: []byte("a"), ID: 7}},
		{"uint32 cut to 32 bits", "Push", "20 8180808010", &Push{Cmd: 1}},
		{"bool beyond 1", "Request", "38 80 02", &Request{WantsReply: true}},
		{"unknown fields of every wire type", "Broadcast", "28 01 31 0102030405060708 3a 01 ff 43 4b 4c 08 01 44 4d 01020304 a2 06 00 0a 01 61", &Broadcast{Data: []byte("a")}},
		{"lists interleaved", "SingleCastBulk", "12 01 31 0a 01 61 12 01 32 0a 01 62", &SingleCastBulk{[][]byte{[]byte("a"), []byte("b")}, [][]byte{[]byte("1"), []byte("2")}}},
		{"map entry empty", "Request", "5a 00", &Request{Metadata: []Metadata{{}}}},
		{"map entry backwards, with an unknown field", "Request", "5a 08 12 01 76 18 01 0a 01 6b", &Request{Metadata: []Metadata{{[]byte("k"), []byte("v")}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := kindNamed(t, c.message)
			b := unhex(t, c.hex)
			m := k.new()
			if err := m.Decode(b); err != nil || !proto.Equal(k.toPB(m), k.toPB(c.want)) {
				t.Errorf("decoded %v, %v", k.toPB(m), err)
			}
			agree(t, k, k.new(), b)
		})
	}
}

func TestLookup(t *testing.T) {
	var m Request
	if err := m.Decode(unhex(t, "5a 06 0a 01 6b 12 01 31 5a 06 0a 01 6b 12 01 32 5a 03 0a 01 65")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, value string
		ok         bool
	}{{"k", "2", true}, {"e", "", true}, {"K", "", false}} {
		if v, ok := Lookup(m.Metadata, c.key); string(v) != c.value || ok != c.ok {
			t.Errorf("%q: %q, %v", c.key, v, ok)
		}
	}
}

// Appending to a decoded field must not reach the rest of the frame.
func TestDecodedFieldsHaveNoRoom(t *testing.T) {
	b := unhex(t, "0a 01 61 12 01 73 1a 01 64")
	var m Transfer
	if err := m.Decode(b); err != nil {
		t.Fatal(err)
	}
	_ = append(m.UniqID, 0)
	_ = append(m.Session, 0)
	if want := unhex(t, "0a 01 61 12 01 73 1a 01 64"); !bytes.Equal(b, want) {
		t.Errorf("the frame is now %x", b)
	}
}

func TestRoomIsKeptWithinBounds(t *testing.T) {
	var m Multicast
	full := bytes.Repeat([]byte("\x0a\x120065A1B2C300000001"), DefaultFrameLimit/20)
	if err := m.Decode(full); err != nil || len(m.UniqIDs) != 104857 {
		t.Fatal(len(m.UniqIDs), err)
	}
	if err := m.Decode(nil); err != nil || len(m.UniqIDs) != 0 || cap(m.UniqIDs) == 0 {
		t.Errorf("an honest frame: room for %d kept, %v", cap(m.UniqIDs), err)
	}
	if err := m.Decode(bytes.Repeat([]byte("\x0a\x00"), DefaultFrameLimit/2)); err != nil || len(m.UniqIDs) != DefaultFrameLimit/2 {
		t.Fatal(len(m.UniqIDs), err)
	}
	if err := m.Decode(nil); err != nil || cap(m.UniqIDs) > maxKept {
		t.Errorf("a hostile frame: room for %d kept, %v", cap(m.UniqIDs), err)
	}
}

// What a client sends may be anything; what Append writes can always be read.
func TestAppendRepairsStrings(t *testing.T) {
	bad := []byte("a\xff\xfeb\xc3")
	const good = "a\ufffdb\ufffd"
	for _, c := range []struct {
		name string
		msg  message
		want proto.Message
	}{
		{"ConnOpen", &ConnOpen{UniqID: bad, RawQuery: bad, SubProtocol: [][]byte{bad}, XForwardedFor: bad},
			&netsvrpb.ConnOpen{UniqId: good, RawQuery: good, SubProtocol: []string{good}, XForwardedFor: good}},
		{"ConnClose", &ConnClose{Identity: Identity{bad, bad, bad, []Metadata{{bad, bad}}, []Metadata{{bad, bad}}}},
			&netsvrpb.ConnClose{User: good, Protocol: good, Peer: good, Metadata: map[string]string{good: good}, Claims: map[string]string{good: good}}},
		{"Transfer", &Transfer{UniqID: bad, Session: bad, Data: bad}, &netsvrpb.Transfer{UniqId: good, Session: good, Data: bad}},
		{"Request", &Request{Route: bad, Payload: bad, Metadata: []Metadata{{bad, bad}}},
			&netsvrpb.Request{Route: good, Payload: bad, Metadata: map[string]string{good: good}}},
		{"TopicPublishBulk", &TopicPublishBulk{Topics: [][]byte{bad}, Data: [][]byte{bad}},
			&netsvrpb.TopicPublishBulk{Topics: []string{good}, Data: [][]byte{bad}}},
		{"Push", &Push{UniqIDs: [][]byte{bad}, Topics: [][]byte{bad}, Route: bad}, &netsvrpb.Push{UniqIds: []string{good}, Topics: []string{good}, Route: good}},
	} {
		if got := c.msg.Append(nil); !bytes.Equal(got, canonical(t, c.want)) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// The generic forms write what the methods write.
func TestAppendStrings(t *testing.T) {
	ids, data := []string{"a", "", "é\xff"}, [][]byte{[]byte("x"), nil}
	raw := [][]byte{[]byte(ids[0]), []byte(ids[1]), []byte(ids[2])}
	for _, c := range []struct {
		name string
		got  []byte
		want message
	}{
		{"Multicast", AppendMulticast(nil, ids, data[0]), &Multicast{raw, data[0]}},
		{"TopicPublish", AppendTopicPublish(nil, ids, data[0]), &TopicPublish{raw, data[0]}},
		{"SingleCastBulk", AppendSingleCastBulk(nil, ids, data), &SingleCastBulk{raw, data}},
		{"TopicPublishBulk", AppendTopicPublishBulk(nil, ids, data), &TopicPublishBulk{raw, data}},
		{"Push", AppendPush(nil, ids, ids[:1], ids[1:], []byte("r"), 5, data[0]), &Push{raw, raw[:1], []byte("r"), 5, data[0], raw[1:]}},
	} {
		if want := c.want.Append(nil); !bytes.Equal(c.got, want) {
			t.Errorf("%s: %x, want %x", c.name, c.got, want)
		}
	}
}

func TestColdMessages(t *testing.T) {
	// The numbers of our fields in RegisterReq are above all of the protocol's.
	wire := unhex(t, `
		08 07      # 1 workerId 7
		10 02      # 2 processCmdGoroutineNum 2
		18 03      # 3 serverId 3
		a0 06 01   # 100 acceptsRequests
		a8 06 01   # 101 wantsIdentity`)
	want := &netsvrpb.RegisterReq{WorkerId: 7, ProcessCmdGoroutineNum: 2, ServerId: 3, AcceptsRequests: true, WantsIdentity: true}
	req := &netsvrpb.RegisterReq{WorkerId: 9, AcceptsRequests: true}
	if err := Unmarshal(wire, req); err != nil || !proto.Equal(req, want) {
		t.Errorf("decoded %v, %v", req, err)
	}
	if got, err := AppendMessage([]byte("x"), want); err != nil || !bytes.Equal(got[1:], wire) {
		t.Errorf("encoded %x, %v", got, err)
	}
	if err := Unmarshal(append(wire, 0xb0, 0x06, 0x01), req); err != nil || !proto.Equal(req, want) {
		t.Errorf("unknown field: %v, %v", req, err)
	}
	if err := Unmarshal(wire[:3], req); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "RegisterReq") {
		t.Errorf("truncated: %v", err)
	}
	got, err := AppendMessage([]byte("x"), &netsvrpb.RegisterResp{Message: "\xff"})
	if !errors.Is(err, ErrUTF8) || string(got) != "x" {
		t.Errorf("not UTF-8: %q, %v", got, err)
	}
}

package longbridge

import (
	"encoding/hex"
	"strings"
	"testing"
)

// unhex decodes s, in which white space separates the fields.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("bad hex in the test itself: %v", err)
	}
	return b
}

func ptr[T any](v T) *T { return &v }

// A packetVector is a packet made with the vendor's Go codec v0.4.1 and decoded
// back by it.
type packetVector struct {
	name     string
	version  Version
	wire     string
	header   Header
	metadata map[string]string
	body     string // inflated

	// What the body is, for control packets.
	codec   Codec
	message Message

	// sealed: the bytes cannot come out of an encoder, because it has another
	// compressor or because they are signed.
	sealed bool
}

var packetVectors = []packetVector{
	{
		name: "2 auth request", version: Version1, codec: Protobuf,
		wire:    `01 02 00000001 0000 000009 0a076f74702d313233`,
		header:  Header{Type: Request, Cmd: CmdAuth, RequestID: 1, BodyLen: 9, Size: 11},
		body:    "\x0a\x07otp-123",
		message: &AuthRequest{Token: "otp-123"},
	},
	{
		name: "3 auth request with metadata", version: Version1, codec: Protobuf,
		wire:    `01 02 00000001 0000 000020 0a076f74702d313233 12150a0f6163636570742d6c616e67756167651202656e`,
		header:  Header{Type: Request, Cmd: CmdAuth, RequestID: 1, BodyLen: 32, Size: 11},
		body:    "\x0a\x07otp-123\x12\x15\x0a\x0faccept-language\x12\x02en",
		message: &AuthRequest{Token: "otp-123", Metadata: map[string]string{"accept-language": "en"}},
	},
	{
		name: "4 auth response", version: Version1, codec: Protobuf,
		wire:    `02 02 00000001 00 000013 0a06736573732d31 1080d095ffbc31 180a 2001`,
		header:  Header{Type: Response, Cmd: CmdAuth, RequestID: 1, BodyLen: 19, Size: 10},
		body:    "\x0a\x06sess-1\x10\x80\xd0\x95\xff\xbc\x31\x18\x0a\x20\x01",
		message: &AuthResponse{SessionID: "sess-1", Expires: 1700000000000, Limit: 10, Online: 1},
	},
	{
		name: "5 auth refused", version: Version1, codec: Protobuf,
		wire:    `02 02 00000001 05 00000e 089103 120962616420746f6b656e`,
		header:  Header{Type: Response, Cmd: CmdAuth, RequestID: 1, Status: StatusUnauthenticated, BodyLen: 14, Size: 10},
		body:    "\x08\x91\x03\x12\x09bad token",
		message: &Error{Code: 401, Msg: "bad token"},
	},
	{
		name: "6 reconnect request", version: Version1, codec: Protobuf,
		wire:    `01 03 00000001 0000 000008 0a06736573732d31`,
		header:  Header{Type: Request, Cmd: CmdReconnect, RequestID: 1, BodyLen: 8, Size: 11},
		body:    "\x0a\x06sess-1",
		message: &ReconnectRequest{SessionID: "sess-1"},
	},
	{
		name: "6 reconnect response", version: Version1, codec: Protobuf,
		wire:    `02 03 00000001 00 000013 0a06736573732d32 10c09fbaffbc31 180a 2001`,
		header:  Header{Type: Response, Cmd: CmdReconnect, RequestID: 1, BodyLen: 19, Size: 10},
		body:    "\x0a\x06sess-2\x10\xc0\x9f\xba\xff\xbc\x31\x18\x0a\x20\x01",
		message: &ReconnectResponse{SessionID: "sess-2", Expires: 1700000600000, Limit: 10, Online: 1},
	},
	{
		name: "7 heartbeat request", version: Version1, codec: Protobuf,
		wire:    `01 01 00000002 0000 000009 08fbd095ffbc31 1002`,
		header:  Header{Type: Request, Cmd: CmdHeartbeat, RequestID: 2, BodyLen: 9, Size: 11},
		body:    "\x08\xfb\xd0\x95\xff\xbc\x31\x10\x02",
		message: &Heartbeat{Timestamp: 1700000000123, HeartbeatID: ptr(int32(2))},
	},
	{
		name: "8 heartbeat response", version: Version1, codec: Protobuf,
		wire:    `02 01 00000002 00 000009 08fbd095ffbc31 1002`,
		header:  Header{Type: Response, Cmd: CmdHeartbeat, RequestID: 2, BodyLen: 9, Size: 10},
		body:    "\x08\xfb\xd0\x95\xff\xbc\x31\x10\x02",
		message: &Heartbeat{Timestamp: 1700000000123, HeartbeatID: ptr(int32(2))},
	},
	{
		name: "9 close push, all zero", version: Version1, codec: Protobuf,
		wire:    `03 00 000000`,
		header:  Header{Type: Push, Cmd: CmdClose, Size: 5},
		message: &Close{},
	},
	{
		name: "9 close push, code 3", version: Version1, codec: Protobuf,
		wire:    `03 00 000002 0803`,
		header:  Header{Type: Push, Cmd: CmdClose, BodyLen: 2, Size: 5},
		body:    "\x08\x03",
		message: &Close{Code: CloseUnpackError},
	},
	{
		name: "9 close push, code 6 with reason", version: Version1, codec: Protobuf,
		wire:    `03 00 000007 0806 1203647570`,
		header:  Header{Type: Push, Cmd: CmdClose, BodyLen: 7, Size: 5},
		body:    "\x08\x06\x12\x03dup",
		message: &Close{Code: CloseConnectDuplicate, Reason: "dup"},
	},
	{
		name: "10 business request", version: Version1,
		wire:   `01 0b 00000007 7530 000004 70696e67`,
		header: Header{Type: Request, Cmd: 11, RequestID: 7, Timeout: 30000, BodyLen: 4, Size: 11},
		body:   "ping",
	},
	{
		name: "11 gzip push", version: Version1, sealed: true,
		wire:   `23 65 000020 1f8b08000000000000ff4a1c05a360148c5800080000ffffb997557c00040000`,
		header: Header{Type: Push, Gzip: true, Cmd: 101, BodyLen: 32, Size: 5},
		body:   strings.Repeat("a", 1024),
	},
	{
		name: "12 verify request", version: Version1, sealed: true,
		wire:   `11 0b 00000007 0000 000004 70696e67 0102030405060708 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf`,
		header: Header{Type: Request, Verify: true, Cmd: 11, RequestID: 7, BodyLen: 4, Size: 11},
		body:   "ping",
	},
	{
		name: "13 gzip and verify push", version: Version1, sealed: true,
		wire: `33 65 000020 1f8b08000000000000ff4a1c05a360148c5800080000ffffb997557c00040000
			0102030405060708 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf`,
		header: Header{Type: Push, Verify: true, Gzip: true, Cmd: 101, BodyLen: 32, Size: 5},
		body:   strings.Repeat("a", 1024),
	},
	{
		name: "14 v2 request with metadata", version: Version2,
		wire:     `01 0b 00000007 0000 000d 000004 08 74726163652d6964 03 616263 70696e67`,
		header:   Header{Type: Request, Cmd: 11, RequestID: 7, MetadataLen: 13, BodyLen: 4, Size: 13},
		metadata: map[string]string{"trace-id": "abc"},
		body:     "ping",
	},
	{
		name: "15 v2 response with long metadata", version: Version2,
		wire:     `02 0b 00000007 00 0084 000004 01 6b 8080` + strings.Repeat("76", 128) + `706f6e67`,
		header:   Header{Type: Response, Cmd: 11, RequestID: 7, MetadataLen: 132, BodyLen: 4, Size: 12},
		metadata: map[string]string{"k": strings.Repeat("v", 128)},
		body:     "pong",
	},
	{
		name: "16 v2 close push", version: Version2, codec: Protobuf,
		wire:    `03 00 0000 000007 0805 1203657870`,
		header:  Header{Type: Push, Cmd: CmdClose, BodyLen: 7, Size: 7},
		body:    "\x08\x05\x12\x03exp",
		message: &Close{Code: CloseSessExpired, Reason: "exp"},
	},
	{
		name: "16 v2 auth request", version: Version2, codec: Protobuf,
		wire:    `01 02 00000001 0000 0000 000009 0a076f74702d313233`,
		header:  Header{Type: Request, Cmd: CmdAuth, RequestID: 1, BodyLen: 9, Size: 13},
		body:    "\x0a\x07otp-123",
		message: &AuthRequest{Token: "otp-123"},
	},
	{
		name: "17 v1 JSON auth response", version: Version1, codec: JSON,
		wire: `02 02 00000001 00 000045` +
			hex.EncodeToString([]byte(`{"session_id":"sess-1","expires":1700000000000,"limit":10,"online":1}`)),
		header:  Header{Type: Response, Cmd: CmdAuth, RequestID: 1, BodyLen: 69, Size: 10},
		body:    `{"session_id":"sess-1","expires":1700000000000,"limit":10,"online":1}`,
		message: &AuthResponse{SessionID: "sess-1", Expires: 1700000000000, Limit: 10, Online: 1},
	},
}

// The packets of vector 18 that are wrong inside; the rest of it are first bytes
// that are no packet type.
const (
	notGzip          = `21 0b 00000001 0000 000002 0102`
	badMetadataShort = `01 0b 00000003 0000 0004 000000 8001 6b00`
)

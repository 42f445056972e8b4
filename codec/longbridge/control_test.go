package longbridge

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// zero returns a new message of m's type.
func zero(m Message) Message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
}

// full returns a message of m's type in which every field has something that a
// decoder must overwrite.
func full(m Message) Message {
	old := map[string]string{"old": "x"}
	switch m.(type) {
	case *Close:
		return &Close{Code: 99, Reason: "old"}
	case *Heartbeat:
		return &Heartbeat{Timestamp: 99, HeartbeatID: ptr(int32(99))}
	case *AuthRequest:
		return &AuthRequest{Token: "old", Metadata: old}
	case *AuthResponse:
		return &AuthResponse{SessionID: "old", Expires: 99, Limit: 99, Online: 99}
	case *ReconnectRequest:
		return &ReconnectRequest{SessionID: "old", Metadata: old}
	case *ReconnectResponse:
		return &ReconnectResponse{SessionID: "old", Expires: 99, Limit: 99, Online: 99}
	}
	return &Error{Code: 99, Msg: "old"}
}

var controlTests = []struct {
	name     string
	message  Message
	protobuf string
	json     string
}{
	{"close, zero", &Close{}, ``, `{}`},
	{"close", &Close{Code: CloseConnectDuplicate, Reason: "dup"}, "\x08\x06\x12\x03dup", `{"code":6,"reason":"dup"}`},
	{"heartbeat, zero", &Heartbeat{}, ``, `{}`},
	{"heartbeat, id 0", &Heartbeat{HeartbeatID: ptr(int32(0))}, "\x10\x00", `{"heartbeat_id":0}`},
	{"heartbeat, id -1", &Heartbeat{HeartbeatID: ptr(int32(-1))},
		"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", `{"heartbeat_id":-1}`},
	{"heartbeat", &Heartbeat{Timestamp: 1700000000123, HeartbeatID: ptr(int32(2))},
		"\x08\xfb\xd0\x95\xff\xbc\x31\x10\x02", `{"timestamp":1700000000123,"heartbeat_id":2}`},
	{"auth request, zero", &AuthRequest{}, ``, `{}`},
	{"auth request", &AuthRequest{Token: "t", Metadata: map[string]string{"b": "2", "a": "1"}},
		"\x0a\x01t\x12\x06\x0a\x01a\x12\x011\x12\x06\x0a\x01b\x12\x012", `{"token":"t","metadata":{"a":"1","b":"2"}}`},
	{"auth response, zero", &AuthResponse{}, ``, `{}`},
	{"auth response", &AuthResponse{SessionID: "s", Expires: 300, Limit: 10, Online: 1},
		"\x0a\x01s\x10\xac\x02\x18\x0a\x20\x01", `{"session_id":"s","expires":300,"limit":10,"online":1}`},
	{"reconnect request, zero", &ReconnectRequest{}, ``, `{}`},
	{"reconnect request", &ReconnectRequest{SessionID: "s", Metadata: map[string]string{"a": "1"}},
		"\x0a\x01s\x12\x06\x0a\x01a\x12\x011", `{"session_id":"s","metadata":{"a":"1"}}`},
	{"reconnect response, zero", &ReconnectResponse{}, ``, `{}`},
	{"reconnect response", &ReconnectResponse{SessionID: "s", Expires: 300, Limit: 10, Online: 1},
		"\x0a\x01s\x10\xac\x02\x18\x0a\x20\x01", `{"session_id":"s","expires":300,"limit":10,"online":1}`},
	{"error, zero", &Error{}, ``, `{}`},
	{"error", &Error{Code: 1<<64 - 1, Msg: "no"},
		"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x02no", `{"code":18446744073709551615,"msg":"no"}`},
}

func TestCodecs(t *testing.T) {
	for _, tt := range controlTests {
		for _, form := range []struct {
			codec Codec
			want  string
		}{{Protobuf, tt.protobuf}, {JSON, tt.json}} {
			t.Run(tt.name+" "+form.codec.String(), func(t *testing.T) {
				got, err := form.codec.Append([]byte("before"), tt.message)
				if want := "before" + form.want; err != nil || string(got) != want {
					t.Errorf("encoded %q, %v; want %q", got, err, want)
				}
				for _, into := range []Message{zero(tt.message), full(tt.message)} {
					body := []byte(form.want)
					err = form.codec.Unmarshal(body, into)
					clear(body) // what was decoded is a copy
					if err != nil || !reflect.DeepEqual(into, tt.message) {
						t.Errorf("decoded %+v, %v; want %+v", into, err, tt.message)
					}
				}
			})
		}
	}
}

func TestControlVectors(t *testing.T) {
	for _, tt := range packetVectors {
		if tt.message == nil {
			continue
		}
		got := full(tt.message)
		if err := tt.codec.Unmarshal([]byte(tt.body), got); err != nil || !reflect.DeepEqual(got, tt.message) {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.message)
		}
	}
}

func TestControlTolerated(t *testing.T) {
	tests := []struct {
		name  string
		codec Codec
		body  string
		want  Message
	}{
		{"unknown fields", Protobuf, "\x0a\x01t\x98\x06\x01\xa2\x06\x01x", &AuthRequest{Token: "t"}},
		{"unknown code", Protobuf, "\x08\x63", &Close{Code: 99}},
		{"unknown fields", JSON, `{"token":"t","more":[{}]}`, &AuthRequest{Token: "t"}},
		{"unknown fields twice", JSON, `{"more":1,"token":"t","more":2,"sessionId":"s"}`, &AuthRequest{Token: "t"}},
		{"keys of metadata in two cases", JSON, `{"metadata":{"a":"1","A":"2"}}`, &AuthRequest{Metadata: map[string]string{"a": "1", "A": "2"}}},
		{"blanks", JSON, " \r\n\t{ \"token\" : \"t\" }\n", &AuthRequest{Token: "t"}},
		{"null is zero", JSON, `{"heartbeat_id":null,"timestamp":1}`, &Heartbeat{Timestamp: 1}},
	}
	for _, tt := range tests {
		got := full(tt.want)
		if err := tt.codec.Unmarshal([]byte(tt.body), got); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s, %v: %+v, %v; want %+v", tt.name, tt.codec, got, err, tt.want)
		}
	}
}

func TestControlMalformed(t *testing.T) {
	tests := []struct {
		name  string
		codec Codec
		body  string
		into  Message
	}{
		{"no protobuf", Protobuf, "\xff\xff", new(AuthRequest)},
		{"string past the end", Protobuf, "\x0a\x09otp", new(AuthRequest)},
		{"varint without end", Protobuf, "\x08\x80", new(Close)},
		{"invalid UTF-8", Protobuf, "\x0a\x01\xff", new(AuthRequest)},
		{"field number 0", Protobuf, "\x00\x00", new(Error)},
		{"groups without end", Protobuf, strings.Repeat("\x7b", MaxControlLen), new(Error)},
		{"too long", Protobuf, "\x0a\xfd\xff\x03" + strings.Repeat("x", MaxControlLen-3), new(AuthRequest)},
		{"empty", JSON, "", new(Close)},
		{"blank", JSON, " \n", new(Close)},
		{"null", JSON, "null", new(Close)},
		{"array", JSON, "[]", new(Close)},
		{"protobuf", JSON, "\x0a\x07otp-123", new(AuthRequest)},
		{"cut short", JSON, `{"token":"t"`, new(AuthRequest)},
		{"two values", JSON, `{}{}`, new(AuthRequest)},
		{"quoted int64", JSON, `{"timestamp":"1700000000123"}`, new(Heartbeat)},
		{"named code", JSON, `{"code":"UnpackError"}`, new(Close)},
		{"fraction", JSON, `{"expires":1.5}`, new(AuthResponse)},
		{"negative limit", JSON, `{"limit":-1}`, new(AuthResponse)},
		{"id beyond 32 bits", JSON, `{"heartbeat_id":2147483648}`, new(Heartbeat)},
		{"token not a string", JSON, `{"token":1}`, new(AuthRequest)},
		{"second field wrong", JSON, `{"session_id":"s","metadata":{"a":1}}`, new(ReconnectRequest)},
		{"a field twice", JSON, `{"token":"t","token":"u"}`, new(AuthRequest)},
		{"a field twice, in escapes", JSON, `{"token":"t","\u0074oken":"t"}`, new(AuthRequest)},
		{"a field in another case", JSON, `{"Token":"t"}`, new(AuthRequest)},
		{"a field in another case, too", JSON, `{"session_id":"s","SESSION_ID":"t"}`, new(ReconnectRequest)},
		{"a key of metadata twice", JSON, `{"token":"t","metadata":{"a":"1","a":"2"}}`, new(AuthRequest)},
		{"half a character", JSON, `{"token":"\ud800"}`, new(AuthRequest)},
		{"invalid UTF-8", JSON, "{\"token\":\"\xff\"}", new(AuthRequest)},
		{"deep", JSON, `{"x":` + strings.Repeat("[", MaxControlLen-6), new(AuthRequest)},
		{"too long", JSON, `{"token":"` + strings.Repeat("x", MaxControlLen) + `"}`, new(AuthRequest)},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.codec.String(), func(t *testing.T) {
			got := full(tt.into)
			if err := tt.codec.Unmarshal([]byte(tt.body), got); !errors.Is(err, ErrControl) {
				t.Errorf("%v, want ErrControl", err)
			}
			if !reflect.DeepEqual(got, tt.into) {
				t.Errorf("left behind: %+v", got)
			}
		})
	}
}

func TestControlLongest(t *testing.T) {
	want := &AuthRequest{Token: strings.Repeat("x", MaxControlLen-4)}
	body, err := Protobuf.Append(nil, want)
	if err != nil || len(body) != MaxControlLen {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	if err := Protobuf.Unmarshal(body, new(AuthRequest)); err != nil {
		t.Error(err)
	}
}

func TestCodecUnknown(t *testing.T) {
	for _, c := range []Codec{0, 3} {
		if got, err := c.Append([]byte("before"), &Close{}); !errors.Is(err, ErrCodec) || string(got) != "before" {
			t.Errorf("%v: Append: %q, %v", c, got, err)
		}
		if err := c.Unmarshal(nil, &Close{}); !errors.Is(err, ErrCodec) {
			t.Errorf("%v: Unmarshal: %v", c, err)
		}
	}
}

func TestAppendControl(t *testing.T) {
	tests := []struct {
		name    string
		hs      Handshake
		header  Header
		message Message
		want    string
	}{
		{"9 close push to a client without a handshake", DefaultHandshake(),
			Header{Type: Push, Cmd: CmdClose}, &Close{Code: CloseUnpackError}, "\x03\x00\x00\x00\x02\x08\x03"},
		{"close push in JSON", Handshake{Version: Version1, Codec: JSON},
			Header{Type: Push, Cmd: CmdClose}, &Close{}, "\x03\x00\x00\x00\x02{}"},
		{"refusal of a business command, version 2", Handshake{Version: Version2, Codec: Protobuf},
			Header{Type: Response, Cmd: 11, RequestID: 7, Status: StatusServerTimeout}, &Error{Msg: "late"},
			"\x02\x0b\x00\x00\x00\x07\x01\x00\x00\x00\x00\x06\x12\x04late"},
		{"lengths and bits of another packet", DefaultHandshake(),
			Header{Type: Push, Cmd: CmdClose, Gzip: true, Verify: true, BodyLen: 9, MetadataLen: 9}, &Close{}, "\x03\x00\x00\x00\x00"},
	}
	for _, tt := range tests {
		got, err := AppendControl([]byte("before"), tt.hs, tt.header, tt.message)
		if want := "before" + tt.want; err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, want)
		}
	}
	refused := []struct {
		name    string
		hs      Handshake
		typ     PacketType
		message Message
		want    error
	}{
		{"no handshake", Handshake{}, Push, &Close{}, ErrVersion},
		{"no codec", Handshake{Version: Version1}, Push, &Close{}, ErrCodec},
		{"no type", DefaultHandshake(), 0, &Close{}, ErrPacketType},
		{"type 4", DefaultHandshake(), 4, &Close{}, ErrPacketType},
		{"invalid UTF-8", DefaultHandshake(), Push, &Close{Reason: "\xff"}, ErrControl},
		{"too large", DefaultHandshake(), Push, &Close{Reason: strings.Repeat("x", MaxBodyLen)}, ErrBodyTooLarge},
	}
	for _, tt := range refused {
		got, err := AppendControl([]byte("before"), tt.hs, Header{Type: tt.typ}, tt.message)
		if !errors.Is(err, tt.want) || string(got) != "before" {
			t.Errorf("%s: %d bytes, %v; want %v", tt.name, len(got), err, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	tests := []struct{ got, want string }{
		{CloseHeartbeatTimeout.String(), "HeartbeatTimeout"},
		{CloseUnpackError.String(), "UnpackError"},
		{CloseConnectDuplicate.String(), "ConnectDuplicate"},
		{CloseCode(7).String(), "CloseCode 7"},
		{CloseCode(-1).String(), "CloseCode -1"},
		{StatusSuccess.String(), "success"},
		{StatusServerTimeout.String(), "server timeout"},
		{StatusBadRequest.String(), "bad request"},
		{StatusUnauthenticated.String(), "unauthenticated"},
		{StatusServerInternalError.String(), "server internal error"},
		{StatusClientInternalError.String(), "client internal error"},
		{Status(9).String(), "status 9"},
		{Push.String(), "push"},
		{PacketType(0).String(), "packet type 0"},
		{PlatformOpenAPI.String(), "OpenAPI"},
		{Platform(10).String(), "platform 10"},
		{Codec(3).String(), "codec 3"},
		{(&Error{Code: 401, Msg: "bad token"}).Error(), "longbridge: error 401: bad token"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	// The numbers are on the wire.
	if StatusClientInternalError != 8 || CloseConnectDuplicate != 6 || PlatformOpenAPI != 9 {
		t.Error("constants are out of step with the wire")
	}
	for code, want := range map[CloseCode]uint16{0: 4000, 6: 4006, 7: 4001, -1: 4001, 1 << 30: 4001} {
		if got := code.WebSocketStatus(); got != want {
			t.Errorf("%v as a frame status: %d, want %d", code, got, want)
		}
	}
}

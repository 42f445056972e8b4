package gosoc

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// The specimens are annotated field by field: header, fixed fields, S by S. Those with gzip name
// the text inside; the bytes come from the Go and the C++ encoder.

const (
	gzToken    = "1f8b08000000000000ffaa562ac9cf4ecd53b2524a4c4a56aa05000000ffff010000ffff72c6aed80f000000"
	gzMessage  = "1f8b08000000000000ffaa56ca4d2d2e4e4c4f55b252cac854aa05000000ffff010000ffff3394d6bd10000000"
	gzReply    = "1f8b08000000000000ffaa562a2e492c292d56b232d0514a492c4954b2aa56ca4d2d2e4e4c4f8dcf4c51b2523254aaad05000000ffff010000ffff5c8a0d7326000000"
	gzPush     = "1f8b08000000000000ffaa56ca53b232ac05000000ffff010000ffff7e3b4bd407000000"
	gzNothing  = "1f8b08000000000000ff000000ffff010000ffff0000000000000000"
	gzData     = "1f8b08000000000000ff72710c7104040000ffffd71e669b04000000"
	cppConnect = "1f8b0800000000000003ab562a51b232ac05005db41bfe07000000"
	cppEmpty   = "1f8b0800000000000003abae050043bfa6a302000000"

	addMessage  = "0f 636861742e4164644d657373616765"
	messageJSON = "7b226d657373616765223a226869227d"
	replyJSON   = "7b22737461747573223a302c2264617461223a7b226d6573736167655f6964223a2231227d7d"
	pushRoute   = "0a 6e6f746963652e4e6577"
	pushJSON    = "7b226e223a317d"
)

type vector struct {
	name string
	wire string
	want any    // a packet struct, or TypePingReq, TypePingResp
	text string // what a gzip payload holds; set with gzip
	data string // what the data is to the application, if not what is on the wire
	gzip bool
	// lossy: encoding what was decoded gives other bytes, as the C++ client's attachment without a field.
	lossy bool
}

var compactVectors = []vector{
	{name: "A1", wire: `10 1a 05 474f534f43 01 00 003c 0f 7b22746f6b656e223a22616263227d`,
		want: Connect{Version: 1, KeepAlive: 60, Payload: []byte(`{"token":"abc"}`)}},
	{name: "A2", wire: `10 37 05 474f534f43 01 80 003c 2c ` + gzToken, gzip: true, text: `{"token":"abc"}`,
		want: Connect{Version: 1, Gzip: true, KeepAlive: 60, Payload: raw(gzToken)}},
	{name: "A3", wire: `20 02 00 00`, want: ConnAck{Code: Accepted}},
	{name: "A4", wire: `20 02 00 06`, want: ConnAck{Code: BadToken}},
	{name: "A5 request", wire: `30 00`, want: TypePingReq},
	{name: "A5 response", wire: `40 00`, want: TypePingResp},
	{name: "A6 normal", wire: `50 01 00`, want: Disconnect{Type: DisconnectNormal}},
	{name: "A6 kick-out", wire: `50 01 01`, want: Disconnect{Type: DisconnectKickOut}},
	{name: "A7", wire: `62 23 0001 ` + addMessage + ` 10 ` + messageJSON,
		want: SendReq{Level: LevelReply, ID: 1, Route: []byte("chat.AddMessage"), Payload: []byte(`{"message":"hi"}`)}},
	{name: "A8", wire: `62 40 0001 ` + addMessage + ` 2d ` + gzMessage, gzip: true, text: `{"message":"hi"}`,
		want: SendReq{Level: LevelReply, ID: 1, Route: []byte("chat.AddMessage"), Payload: raw(gzMessage)}},
	{name: "A9", wire: `60 23 0002 ` + addMessage + ` 10 ` + messageJSON,
		want: SendReq{ID: 2, Route: []byte("chat.AddMessage"), Payload: []byte(`{"message":"hi"}`)}},
	{name: "A10", wire: `6a 28 0102 ` + addMessage + ` 10 ` + messageJSON + ` 04 000102ff`,
		want: SendReq{Level: LevelReply, ID: 258, Route: []byte("chat.AddMessage"), Payload: []byte(`{"message":"hi"}`),
			HasData: true, Data: []byte("\x00\x01\x02\xff")}},
	{name: "A11", wire: `6a 45 0003 ` + addMessage + ` 2d ` + gzMessage + ` 04 000102ff`, gzip: true, text: `{"message":"hi"}`,
		want: SendReq{Level: LevelReply, ID: 3, Route: []byte("chat.AddMessage"), Payload: raw(gzMessage),
			HasData: true, Data: []byte("\x00\x01\x02\xff")}},
	{name: "A12", wire: `6a 40 0004 ` + addMessage + ` 10 ` + messageJSON + ` 1c ` + gzData, data: "DATA",
		want: SendReq{Level: LevelReply, ID: 4, Route: []byte("chat.AddMessage"), Payload: []byte(`{"message":"hi"}`),
			HasData: true, Data: raw(gzData)}},
	{name: "A13", wire: `70 29 0001 26 ` + replyJSON,
		want: SendResp{ID: 1, Payload: []byte(`{"status":0,"data":{"message_id":"1"}}`)}},
	{name: "A14", wire: `70 46 0001 43 ` + gzReply, gzip: true, text: `{"status":0,"data":{"message_id":"1"}}`,
		want: SendResp{ID: 1, Payload: raw(gzReply)}},
	{name: "A15", wire: `60 15 0000 ` + pushRoute + ` 07 ` + pushJSON,
		want: SendReq{Route: []byte("notice.New"), Payload: []byte(`{"n":1}`)}},
	{name: "A16", wire: `60 32 0000 ` + pushRoute + ` 24 ` + gzPush, gzip: true, text: `{"n":1}`,
		want: SendReq{Route: []byte("notice.New"), Payload: raw(gzPush)}},
	{name: "A17", wire: `62 13 ffff ` + addMessage + ` 00`,
		want: SendReq{Level: LevelReply, ID: 65535, Route: []byte("chat.AddMessage")}},
	{name: "A18", wire: `62 2f ffff ` + addMessage + ` 1c ` + gzNothing, gzip: true, text: "",
		want: SendReq{Level: LevelReply, ID: 65535, Route: []byte("chat.AddMessage"), Payload: raw(gzNothing)}},
	{name: "A19", wire: `6a 24 0006 ` + addMessage + ` 10 ` + messageJSON + ` 00`,
		want: SendReq{Level: LevelReply, ID: 6, Route: []byte("chat.AddMessage"), Payload: []byte(`{"message":"hi"}`), HasData: true}},
	{name: "A20", wire: `70 2a 0007 27 7b22737461747573223a342c226d657373616765223a226e6f222c2264617461223a6e756c6c7d`,
		want: SendResp{ID: 7, Payload: []byte(`{"status":4,"message":"no","data":null}`)}},

	{name: "C++ Connect", wire: `10 26 05 474f534f43 01 80 003c 1b ` + cppConnect, gzip: true, text: `{"t":1}`,
		want: Connect{Version: 1, Gzip: true, KeepAlive: 60, Payload: raw(cppConnect)}},
	{name: "C++ request", wire: `62 1d 0001 03 612e62 16 ` + cppEmpty, gzip: true, text: `{}`,
		want: SendReq{Level: LevelReply, ID: 1, Route: []byte("a.b"), Payload: raw(cppEmpty)}},
	{name: "C++ NoReply", wire: `60 1d 0000 03 612e62 16 ` + cppEmpty, gzip: true, text: `{}`,
		want: SendReq{Route: []byte("a.b"), Payload: raw(cppEmpty)}},
	{name: "C++ empty attachment", wire: `6a 25 0001 0b 636861742e55706c6f6164 16 ` + cppEmpty, gzip: true, text: `{}`, lossy: true,
		want: SendReq{Level: LevelReply, ID: 1, Route: []byte("chat.Upload"), Payload: raw(cppEmpty), HasData: true}},

	{name: "two-byte varints", wire: `62 dc01 0005 ` + addMessage + ` c801 ` + strings.Repeat("2a", 200),
		want: SendReq{Level: LevelReply, ID: 5, Route: []byte("chat.AddMessage"), Payload: []byte(strings.Repeat("*", 200))}},
	{name: "long varints", wire: `70 88808000 0001 82808000 6f6b`, lossy: true,
		want: SendResp{ID: 1, Payload: []byte("ok")}},
	{name: "version 0", wire: `10 0b 05 474f534f43 00 00 0000 00`, want: Connect{}},
	{name: "flags on a PingReq", wire: `3e 00`, want: TypePingReq, lossy: true},
	{name: "reply level 3", wire: `66 04 0001 00 00`, want: SendReq{Level: 3, ID: 1}},
}

var fixed6Vectors = []vector{
	{name: "B1", wire: `01 0000001c 00 0005 474f534f43 01 00 003c 000f 7b22746f6b656e223a22616263227d`,
		want: Connect{Version: 1, KeepAlive: 60, Payload: []byte(`{"token":"abc"}`)}},
	{name: "B2", wire: `01 00000039 00 0005 474f534f43 01 80 003c 002c ` + gzToken, gzip: true, text: `{"token":"abc"}`,
		want: Connect{Version: 1, Gzip: true, KeepAlive: 60, Payload: raw(gzToken)}},
	{name: "B3", wire: `02 00000002 00 00 00`, want: ConnAck{Code: Accepted}},
	{name: "B4", wire: `02 00000002 00 00 06`, want: ConnAck{Code: BadToken}},
	{name: "B5 request", wire: `03 00000000 00`, want: TypePingReq},
	{name: "B5 response", wire: `04 00000000 00`, want: TypePingResp},
	{name: "B6 normal", wire: `05 00000001 00 00`, want: Disconnect{Type: DisconnectNormal}},
	{name: "B6 kick-out", wire: `05 00000001 00 01`, want: Disconnect{Type: DisconnectKickOut}},
	{name: "B7", wire: `06 00000025 02 0001 00` + addMessage + ` 0010 ` + messageJSON,
		want: SendReq{Level: LevelReply, ID: 1, Route: []byte("chat.AddMessage"), Payload: []byte(`{"message":"hi"}`)}},
	{name: "B8", wire: `06 00000042 02 0001 00` + addMessage + ` 002d ` + gzMessage, gzip: true, text: `{"message":"hi"}`,
		want: SendReq{Level: LevelReply, ID: 1, Route: []byte("chat.AddMessage"), Payload: raw(gzMessage)}},
	{name: "B9", wire: `06 00000025 00 0002 00` + addMessage + ` 0010 ` + messageJSON,
		want: SendReq{ID: 2, Route: []byte("chat.AddMessage"), Payload: []byte(`{"message":"hi"}`)}},
	{name: "B10", wire: `06 0000002b 0a 0102 00` + addMessage + ` 0010 ` + messageJSON + ` 0004 000102ff`,
		want: SendReq{Level: LevelReply, ID: 258, Route: []byte("chat.AddMessage"), Payload: []byte(`{"message":"hi"}`),
			HasData: true, Data: []byte("\x00\x01\x02\xff")}},
	{name: "B13", wire: `07 0000002a 00 0001 0026 ` + replyJSON,
		want: SendResp{ID: 1, Payload: []byte(`{"status":0,"data":{"message_id":"1"}}`)}},
	{name: "B15", wire: `06 00000017 00 0000 00` + pushRoute + ` 0007 ` + pushJSON,
		want: SendReq{Route: []byte("notice.New"), Payload: []byte(`{"n":1}`)}},
	{name: "B17", wire: `06 00000015 02 ffff 00` + addMessage + ` 0000`,
		want: SendReq{Level: LevelReply, ID: 65535, Route: []byte("chat.AddMessage")}},

	{name: "data flag, no data field", wire: `06 00000006 0a 0001 0000 0000`, lossy: true,
		want: SendReq{Level: LevelReply, ID: 1, HasData: true}},
	{name: "flags on a PingReq", wire: `03 00000000 fe`, want: TypePingReq, lossy: true},
}

func raw(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// forAll runs f for every specimen of both forms.
func forAll(t *testing.T, f func(t *testing.T, form Form, v vector)) {
	for _, form := range []Form{Compact, Fixed6} {
		vectors := compactVectors
		if form == Fixed6 {
			vectors = fixed6Vectors
		}
		for _, v := range vectors {
			t.Run(form.String()+"/"+v.name, func(t *testing.T) { f(t, form, v) })
		}
	}
}

// decode reads the packet at the front of src. n is 0 if src is not all of it.
func decode(f Form, src []byte) (p any, n int, err error) {
	h, err := f.ParseHeader(src)
	if err != nil || h.Size == 0 || h.Len() > len(src) {
		return nil, 0, err
	}
	p, err = decodeBody(f, h, src[h.Size:h.Len()])
	return p, h.Len(), err
}

func decodeBody(f Form, h Header, body []byte) (any, error) {
	switch h.Type {
	case TypeConnect:
		return f.DecodeConnect(h, body)
	case TypeConnAck:
		return f.DecodeConnAck(h, body)
	case TypePingReq, TypePingResp:
		return h.Type, f.DecodePing(h, body)
	case TypeDisconnect:
		return f.DecodeDisconnect(h, body)
	case TypeSendReq:
		return f.DecodeSendReq(h, body)
	case TypeSendResp:
		return f.DecodeSendResp(h, body)
	}
	panic("ParseHeader let " + h.Type.String() + " through")
}

func encode(f Form, dst []byte, p any) ([]byte, error) {
	switch p := p.(type) {
	case Connect:
		return f.AppendConnect(dst, p)
	case ConnAck:
		return f.AppendConnAck(dst, p), nil
	case Type:
		if p == TypePingReq {
			return f.AppendPingReq(dst), nil
		}
		return f.AppendPingResp(dst), nil
	case Disconnect:
		return f.AppendDisconnect(dst, p), nil
	case SendReq:
		return f.AppendSendReq(dst, p)
	case SendResp:
		return f.AppendSendResp(dst, p)
	}
	panic(fmt.Sprintf("no packet: %T", p))
}

// same compares packets by what they print, in which nil and empty slices are one.
func same(a, b any) bool {
	return fmt.Sprintf("%#x", a) == fmt.Sprintf("%#x", b) && fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b)
}

func payload(p any) []byte {
	switch p := p.(type) {
	case Connect:
		return p.Payload
	case SendReq:
		return p.Payload
	case SendResp:
		return p.Payload
	}
	return nil
}

package netsvr

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"google.golang.org/protobuf/proto"
)

// message is what the hand-written messages have in common.
type message interface {
	Append(dst []byte) []byte
	Decode(b []byte) error
}

// A kind pairs a hand-written message with its generated twin.
type kind struct {
	name string
	new  func() message
	pb   func() proto.Message
	toPB func(m message) proto.Message
}

func kindOf[M message, P proto.Message](name string, m func() M, p func() P, toPB func(M) P) kind {
	return kind{
		name: name,
		new:  func() message { return m() },
		pb:   func() proto.Message { return p() },
		toPB: func(x message) proto.Message { return toPB(x.(M)) },
	}
}

func fresh[T any]() *T { return new(T) }

func texts(list [][]byte) (out []string) {
	for _, b := range list {
		out = append(out, string(b))
	}
	return out
}

func pairs(list []Metadata) map[string]string {
	out := make(map[string]string)
	for _, kv := range list {
		out[string(kv.Key)] = string(kv.Value)
	}
	return out
}

var kinds = []kind{
	kindOf("ConnOpen", fresh[ConnOpen], fresh[netsvrpb.ConnOpen], func(m *ConnOpen) *netsvrpb.ConnOpen {
		return &netsvrpb.ConnOpen{UniqId: string(m.UniqID), RawQuery: string(m.RawQuery),
			SubProtocol: texts(m.SubProtocol), XForwardedFor: string(m.XForwardedFor),
			User: string(m.Identity.User), Protocol: string(m.Identity.Protocol), Peer: string(m.Identity.Peer),
			Metadata: pairs(m.Identity.Metadata), Claims: pairs(m.Identity.Claims)}
	}),
	kindOf("ConnClose", fresh[ConnClose], fresh[netsvrpb.ConnClose], func(m *ConnClose) *netsvrpb.ConnClose {
		return &netsvrpb.ConnClose{UniqId: string(m.UniqID), Session: string(m.Session),
			User: string(m.Identity.User), Protocol: string(m.Identity.Protocol), Peer: string(m.Identity.Peer),
			Metadata: pairs(m.Identity.Metadata), Claims: pairs(m.Identity.Claims)}
	}),
	kindOf("Transfer", fresh[Transfer], fresh[netsvrpb.Transfer], func(m *Transfer) *netsvrpb.Transfer {
		return &netsvrpb.Transfer{UniqId: string(m.UniqID), Session: string(m.Session), Data: m.Data,
			User: string(m.Identity.User), Protocol: string(m.Identity.Protocol), Peer: string(m.Identity.Peer),
			Metadata: pairs(m.Identity.Metadata), Claims: pairs(m.Identity.Claims)}
	}),
	kindOf("SingleCast", fresh[SingleCast], fresh[netsvrpb.SingleCast], func(m *SingleCast) *netsvrpb.SingleCast {
		return &netsvrpb.SingleCast{UniqId: string(m.UniqID), Data: m.Data}
	}),
	kindOf("Multicast", fresh[Multicast], fresh[netsvrpb.Multicast], func(m *Multicast) *netsvrpb.Multicast {
		return &netsvrpb.Multicast{UniqIds: texts(m.UniqIDs), Data: m.Data}
	}),
	kindOf("Broadcast", fresh[Broadcast], fresh[netsvrpb.Broadcast], func(m *Broadcast) *netsvrpb.Broadcast {
		return &netsvrpb.Broadcast{Data: m.Data}
	}),
	kindOf("TopicPublish", fresh[TopicPublish], fresh[netsvrpb.TopicPublish], func(m *TopicPublish) *netsvrpb.TopicPublish {
		return &netsvrpb.TopicPublish{Topics: texts(m.Topics), Data: m.Data}
	}),
	kindOf("SingleCastBulk", fresh[SingleCastBulk], fresh[netsvrpb.SingleCastBulk], func(m *SingleCastBulk) *netsvrpb.SingleCastBulk {
		return &netsvrpb.SingleCastBulk{UniqIds: texts(m.UniqIDs), Data: m.Data}
	}),
	kindOf("TopicPublishBulk", fresh[TopicPublishBulk], fresh[netsvrpb.TopicPublishBulk], func(m *TopicPublishBulk) *netsvrpb.TopicPublishBulk {
		return &netsvrpb.TopicPublishBulk{Topics: texts(m.Topics), Data: m.Data}
	}),
	kindOf("Request", fresh[Request], fresh[netsvrpb.Request], func(m *Request) *netsvrpb.Request {
		return &netsvrpb.Request{UniqId: string(m.UniqID), Session: string(m.Session), Protocol: string(m.Protocol),
			Route: string(m.Route), Cmd: m.Cmd, Id: m.ID, WantsReply: m.WantsReply, Payload: m.Payload, Data: m.Data,
			TimeoutMs: m.TimeoutMs, Metadata: pairs(m.Metadata), User: string(m.User), Peer: string(m.Peer),
			LoginMetadata: pairs(m.LoginMetadata), Claims: pairs(m.Claims), Traceparent: string(m.Traceparent)}
	}),
	kindOf("Reply", fresh[Reply], fresh[netsvrpb.Reply], func(m *Reply) *netsvrpb.Reply {
		return &netsvrpb.Reply{UniqId: string(m.UniqID), Id: m.ID, Status: m.Status, Payload: m.Payload, Message: string(m.Message)}
	}),
	kindOf("Push", fresh[Push], fresh[netsvrpb.Push], func(m *Push) *netsvrpb.Push {
		return &netsvrpb.Push{UniqIds: texts(m.UniqIDs), Topics: texts(m.Topics), Route: string(m.Route), Cmd: m.Cmd, Payload: m.Payload, Users: texts(m.Users)}
	}),
}

func kindNamed(t testing.TB, name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	t.Fatalf("no message %q", name)
	return kind{}
}

// unhex reads spaced hex; what follows a # is a comment.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("vector: %v", err)
	}
	return b
}

var (
	id1 = []byte("0065A1B2C300000001")
	id2 = []byte("0065A1B2C300000002")
)

// specimens are frames as they travel, each field spelled out.
var specimens = []struct {
	name string
	cmd  Command
	msg  message
	wire string
}{
	{"ConnOpen", CmdConnOpen, &ConnOpen{UniqID: id1, RawQuery: []byte("a=1"), SubProtocol: [][]byte{[]byte("x"), []byte("yz")}, XForwardedFor: []byte("10.0.0.9")}, `
		0000002e                                     # length 46
		35a4ece9                                     # 900001001
		0a 12 303036354131423243333030303030303031   # 1 uniqId "0065A1B2C300000001"
		12 03 613d31                                 # 2 rawQuery "a=1"
		1a 01 78                                     # 3 subProtocol "x"
		1a 02 797a                                   # 3 subProtocol "yz"
		22 08 31302e302e302e39                       # 4 xForwardedFor "10.0.0.9"`},
	{"ConnOpen of a plain connection", CmdConnOpen, &ConnOpen{UniqID: id1}, `
		00000018                                     # length 24
		35a4ece9                                     # 900001001
		0a 12 303036354131423243333030303030303031   # 1 uniqId; zero fields are left out`},
	{"ConnOpen with identity", CmdConnOpen, &ConnOpen{UniqID: []byte("U"), Identity: Identity{User: []byte("ann"), Protocol: []byte("gosoc"), Peer: []byte("[::1]:9"),
		Metadata: []Metadata{{[]byte("accept-language"), []byte("en")}}, Claims: []Metadata{{[]byte("k"), []byte("v")}}}}, `
		00000040                                     # length 64
		35a4ece9                                     # 900001001
		0a 01 55                                     # 1 uniqId "U"
		aa06 03 616e6e                               # 101 user "ann"
		b206 05 676f736f63                           # 102 protocol "gosoc"
		ba06 07 5b3a3a315d3a39                       # 103 peer "[::1]:9"
		c206 15 0a 0f 6163636570742d6c616e6775616765 # 104 metadata "accept-language"
		        12 02 656e                           #     -> "en"
		ca06 06 0a 01 6b  12 01 76                   # 105 claims "k" -> "v"`},
	{"ConnClose", CmdConnClose, &ConnClose{UniqID: id1, Session: []byte("alice")}, `
		0000001f                                     # length 31
		35a4ecea                                     # 900001002
		0a 12 303036354131423243333030303030303031   # 1 uniqId
		12 05 616c696365                             # 2 session "alice"`},
	{"ConnClose with identity", CmdConnClose, &ConnClose{UniqID: []byte("U"), Session: []byte("s"), Identity: Identity{User: []byte("ann"), Claims: []Metadata{{[]byte("k"), nil}}}}, `
		00000018                                     # length 24
		35a4ecea                                     # 900001002
		0a 01 55                                     # 1 uniqId "U"
		12 01 73                                     # 2 session "s"
		aa06 03 616e6e                               # 101 user "ann"
		ca06 05 0a 01 6b  12 00                      # 105 claims "k" -> ""`},
	{"Transfer", CmdTransfer, &Transfer{UniqID: id1, Session: []byte("alice"), Data: []byte{0xff, 0x00}}, `
		00000023                                     # length 35
		35a4eceb                                     # 900001003
		0a 12 303036354131423243333030303030303031   # 1 uniqId
		12 05 616c696365                             # 2 session "alice"
		1a 02 ff00                                   # 3 data, which need not be UTF-8`},
	{"Transfer with identity", CmdTransfer, &Transfer{UniqID: []byte("U"), Data: []byte("d"), Identity: Identity{User: []byte("ann"), Protocol: []byte("netsvr"), Peer: []byte("1.2.3.4:5")}}, `
		00000025                                     # length 37
		35a4eceb                                     # 900001003
		0a 01 55                                     # 1 uniqId "U"
		1a 01 64                                     # 3 data
		aa06 03 616e6e                               # 101 user "ann"
		b206 06 6e6574737672                         # 102 protocol "netsvr"
		ba06 09 312e322e332e343a35                   # 103 peer "1.2.3.4:5"`},
	{"Transfer of nothing", CmdTransfer, &Transfer{}, `
		00000004                                     # length 4
		35a4eceb                                     # 900001003, and an empty message`},
	{"Broadcast", CmdBroadcast, &Broadcast{Data: []byte("hi")}, `
		00000008                                     # length 8
		35a4f0d3                                     # 900002003
		0a 02 6869                                   # 1 data "hi"`},
	{"Multicast", CmdMulticast, &Multicast{UniqIDs: [][]byte{id1, id2}, Data: []byte("hi")}, `
		00000030                                     # length 48
		35a4f0d4                                     # 900002004
		0a 12 303036354131423243333030303030303031   # 1 uniqIds
		0a 12 303036354131423243333030303030303032   # 1 uniqIds
		12 02 6869                                   # 2 data "hi"`},
	{"SingleCast", CmdSingleCast, &SingleCast{UniqID: []byte("é"), Data: []byte("hi")}, `
		0000000c                                     # length 12
		35a4f0d5                                     # 900002005
		0a 02 c3a9                                   # 1 uniqId "é": a worker may choose it
		12 02 6869                                   # 2 data "hi"`},
	{"SingleCastBulk", CmdSingleCastBulk, &SingleCastBulk{UniqIDs: [][]byte{[]byte("a"), []byte("b")}, Data: [][]byte{[]byte("hi"), {}}}, `
		00000010                                     # length 16
		35a4f0d6                                     # 900002006
		0a 01 61                                     # 1 uniqIds "a"
		0a 01 62                                     # 1 uniqIds "b"
		12 02 6869                                   # 2 data "hi" to "a"
		12 00                                        # 2 data: nothing to "b"; list items are not left out`},
	{"TopicPublish", CmdTopicPublish, &TopicPublish{Topics: [][]byte{[]byte("news"), []byte("")}, Data: []byte("hi")}, `
		00000010                                     # length 16
		35a4f0da                                     # 900002010
		0a 04 6e657773                               # 1 topics "news"
		0a 00                                        # 1 topics ""
		12 02 6869                                   # 2 data "hi"`},
	{"TopicPublishBulk", CmdTopicPublishBulk, &TopicPublishBulk{Topics: [][]byte{[]byte("t")}, Data: [][]byte{[]byte("1"), []byte("2")}}, `
		0000000d                                     # length 13
		35a4f0dd                                     # 900002013
		0a 01 74                                     # 1 topics "t"
		12 01 31                                     # 2 data "1" to "t"
		12 01 32                                     # 2 data "2" to "t" too`},
	{"Request", CmdRequest, &Request{UniqID: []byte("U"), Session: []byte("s"), Protocol: []byte("gosoc"), Route: []byte("chat.Send"), Cmd: 300, ID: 1 << 63,
		WantsReply: true, Payload: []byte("{}"), Data: []byte{0xfe}, TimeoutMs: 5000, Metadata: []Metadata{{[]byte("k"), []byte("v")}, {[]byte(""), []byte("")}}}, `
		00000044                                     # length 68
		35a50c29                                     # 900009001
		0a 01 55                                     # 1 uniqId "U"
		12 01 73                                     # 2 session "s"
		1a 05 676f736f63                             # 3 protocol "gosoc"
		22 09 636861742e53656e64                     # 4 route "chat.Send"
		28 ac02                                      # 5 cmd 300
		30 80808080808080808001                      # 6 id 9223372036854775808
		38 01                                        # 7 wantsReply
		42 02 7b7d                                   # 8 payload "{}"
		4a 01 fe                                     # 9 data
		50 8827                                      # 10 timeoutMs 5000
		5a 06  0a 01 6b  12 01 76                    # 11 metadata "k" -> "v"
		5a 04  0a 00     12 00                       # 11 metadata "" -> "": both parts are always there`},
	{"Request of a user", CmdRequest, &Request{UniqID: []byte("U"), Payload: []byte("{}"), User: []byte("ann"), Peer: []byte("1.2.3.4:5"),
		LoginMetadata: []Metadata{{[]byte("l"), []byte("en")}}, Claims: []Metadata{{[]byte("k"), []byte("v")}}}, `
		0000002c                                     # length 44
		35a50c29                                     # 900009001
		0a 01 55                                     # 1 uniqId "U"
		42 02 7b7d                                   # 8 payload "{}"
		62 03 616e6e                                 # 12 user "ann"
		6a 09 312e322e332e343a35                     # 13 peer "1.2.3.4:5"
		72 07  0a 01 6c  12 02 656e                  # 14 loginMetadata "l" -> "en"
		7a 06  0a 01 6b  12 01 76                    # 15 claims "k" -> "v"`},
	{"Request of a trace", CmdRequest, &Request{UniqID: []byte("U"), Traceparent: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}, `
		00000041                                     # length 65
		35a50c29                                     # 900009001
		0a 01 55                                     # 1 uniqId "U"
		8201 37                                      # 16 traceparent, 55 bytes
		30302d3061663736353139313663643433646438343438656232313163383033313963
		2d623761643662373136393230333333312d3031`},
	{"Reply", CmdReply, &Reply{UniqID: []byte("U"), ID: 7, Status: -1, Payload: []byte("{}")}, `
		00000018                                     # length 24
		35a50c2a                                     # 900009002
		0a 01 55                                     # 1 uniqId "U"
		10 07                                        # 2 id 7
		18 ffffffffffffffffff01                      # 3 status -1, as int32 is: ten bytes
		22 02 7b7d                                   # 4 payload "{}"`},
	{"Reply with a message", CmdReply, &Reply{UniqID: []byte("U"), ID: 7, Status: 3, Message: []byte("no")}, `
		0000000f                                     # length 15
		35a50c2a                                     # 900009002
		0a 01 55                                     # 1 uniqId "U"
		10 07                                        # 2 id 7
		18 03                                        # 3 status 3
		2a 02 6e6f                                   # 5 message "no"`},
	{"Push to topics", CmdPush, &Push{Topics: [][]byte{[]byte("t")}, Route: []byte("r"), Cmd: 100, Payload: []byte("hi")}, `
		00000010                                     # length 16
		35a50c2b                                     # 900009003
		12 01 74                                     # 2 topics "t"
		1a 01 72                                     # 3 route "r"
		20 64                                        # 4 cmd 100
		2a 02 6869                                   # 5 payload "hi"`},
	{"Push to one", CmdPush, &Push{UniqIDs: [][]byte{[]byte("U")}, Payload: []byte("hi")}, `
		0000000b                                     # length 11
		35a50c2b                                     # 900009003
		0a 01 55                                     # 1 uniqIds "U"
		2a 02 6869                                   # 5 payload "hi"`},
	{"Push to users", CmdPush, &Push{Users: [][]byte{[]byte("ann"), []byte("bob")}, Payload: []byte("hi")}, `
		00000012                                     # length 18
		35a50c2b                                     # 900009003
		2a 02 6869                                   # 5 payload "hi"
		32 03 616e6e                                 # 6 users "ann"
		32 03 626f62                                 # 6 users "bob"`},
}

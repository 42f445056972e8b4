package netsvr

import (
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"google.golang.org/protobuf/proto"
)

func noAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	f() // grows what is reused
	if n := testing.AllocsPerRun(200, f); n != 0 && !raceEnabled {
		t.Errorf("%s: %v allocations", name, n)
	}
}

func TestNoAllocs(t *testing.T) {
	for _, s := range specimens {
		m := kindNamed(t, s.cmd.String()).new()
		wire := unhex(t, s.wire)
		noAllocs(t, s.name+", in", func() {
			body, _, err := ParseFrame(wire, 0)
			if err != nil {
				t.Fatal(err)
			}
			cmd, payload := V2.Split(body)
			if cmd.Class() == ClassUnknown || m.Decode(payload) != nil {
				t.Fatal(cmd)
			}
		})
		var buf []byte
		noAllocs(t, s.name+", out", func() {
			var err error
			buf = V2.BeginFrame(buf[:0], s.cmd)
			buf = s.msg.Append(buf)
			if buf, err = EndFrame(buf, 0, 0); err != nil {
				t.Fatal(err)
			}
		})
	}

	// A connection's session is a string: converting it in the literal is free, however long it is.
	session, data := strings.Repeat("session", 50), make([]byte, 1000)
	var buf []byte
	noAllocs(t, "Transfer of a string", func() {
		m := Transfer{UniqID: id1, Session: []byte(session), Data: data}
		buf = m.Append(buf[:0])
	})
	noAllocs(t, "Request of strings", func() {
		m := Request{UniqID: id1, Session: []byte(session), Route: []byte(session), ID: 1, Payload: data}
		buf = m.Append(buf[:0])
	})
	topics := []string{session, session}
	noAllocs(t, "lists of strings", func() {
		buf = AppendTopicPublish(buf[:0], topics, data)
		buf = AppendPush(buf, nil, topics, nil, nil, 1, data)
	})

	targets, many, sum := [][]byte{id1}, [][]byte{id1, id2, id1}, 0
	noAllocs(t, "Bulk", func() {
		for target, datum := range Bulk(targets, many) {
			sum += len(target) + len(datum)
		}
	})
	noAllocs(t, "heartbeats", func() { buf = V2.AppendPong(V2.AppendPing(buf[:0])) })
}

// benchmarkPair runs the hand-written and the generated code over one message.
func benchmarkPair(b *testing.B, m message, pb func() proto.Message) {
	wire := m.Append(nil)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
	buf := make([]byte, 0, len(wire))
	twin := pb()
	if err := proto.Unmarshal(wire, twin); err != nil {
		b.Fatal(err)
	}
	run("append/hand", func() { buf = m.Append(buf[:0]) })
	run("append/generated", func() { buf, _ = proto.MarshalOptions{}.MarshalAppend(buf[:0], twin) })
	run("decode/hand", func() {
		if m.Decode(wire) != nil {
			b.Fatal()
		}
	})
	run("decode/generated", func() {
		if proto.Unmarshal(wire, twin) != nil {
			b.Fatal()
		}
	})
}

func BenchmarkTransfer(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"16", 16}, {"256", 256}, {"64k", 64 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			benchmarkPair(b, &Transfer{UniqID: id1, Session: []byte("user:12345"), Data: make([]byte, size.n)}, kindNamed(b, "Transfer").pb)
		})
	}
}

func BenchmarkTopicPublish(b *testing.B) {
	benchmarkPair(b, &TopicPublish{Topics: [][]byte{[]byte("room:42")}, Data: make([]byte, 100)}, kindNamed(b, "TopicPublish").pb)
}

func BenchmarkMulticast(b *testing.B) {
	ids := make([][]byte, 1000)
	for i := range ids {
		ids[i] = id1
	}
	benchmarkPair(b, &Multicast{UniqIDs: ids, Data: make([]byte, 100)}, kindNamed(b, "Multicast").pb)
}

func BenchmarkRequest(b *testing.B) {
	benchmarkPair(b, &Request{UniqID: id1, Session: []byte("user:12345"), Protocol: []byte("gosoc"), Route: []byte("chat.Send"), ID: 12345,
		WantsReply: true, Payload: make([]byte, 100), TimeoutMs: 5000, Metadata: []Metadata{{[]byte("trace"), []byte("0123456789")}}}, kindNamed(b, "Request").pb)
}

func BenchmarkReply(b *testing.B) {
	benchmarkPair(b, &Reply{UniqID: id1, ID: 12345, Payload: make([]byte, 100)}, kindNamed(b, "Reply").pb)
}

func BenchmarkFrame(b *testing.B) {
	wire, err := V2.AppendFrame(nil, CmdTopicPublish, make([]byte, 100), 0)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		body, _, _ := ParseFrame(wire, 0)
		if cmd, _ := V2.Split(body); cmd.Class() != ClassOneWay {
			b.Fatal(cmd)
		}
	}
}

func BenchmarkUniqIDList(b *testing.B) {
	const n = 100_000
	all := func(yield func([]byte) bool) {
		for range n {
			if !yield(id1) {
				return
			}
		}
	}
	buf := AppendUniqIDListResp(nil, 1, all)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
	run("hand", func() { buf = AppendUniqIDListResp(buf[:0], 1, all) })
	run("generated", func() { // with the list of strings that it needs
		m := &netsvrpb.UniqIdListResp{ServerId: 1}
		for id := range all {
			m.UniqIds = append(m.UniqIds, string(id))
		}
		buf, _ = AppendMessage(buf[:0], m)
	})
}

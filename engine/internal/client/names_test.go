package client_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/session"
)

// A worker is a link without a registration.
type worker struct {
	t *testing.T
	net.Conn
}

func dialWorker(t *testing.T, s *server.Server) *worker {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.WorkerAddr(), "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &worker{t, conn}
}

func (w *worker) send(cmd netsvr.Command, m proto.Message) {
	w.t.Helper()
	var payload []byte
	if m != nil {
		payload, _ = proto.Marshal(m)
	}
	if _, err := io.WriteString(w, workerFrame(uint32(cmd), string(payload))); err != nil {
		w.t.Fatal(err)
	}
}

// ask sends a query and decodes the answer.
func (w *worker) ask(cmd netsvr.Command, m, answer proto.Message) {
	w.t.Helper()
	w.send(cmd, m)
	w.read(answer)
}

// read decodes the message of the next frame.
func (w *worker) read(m proto.Message) {
	w.t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(w, head[:]); err != nil {
		w.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(w, body); err != nil {
		w.t.Fatal(err)
	}
	if err := proto.Unmarshal(body[4:], m); err != nil {
		w.t.Fatal(err)
	}
}

func idOf(s *server.Server) (id string) {
	s.Gateway().Clients().Range(func(b []byte, _ session.Ref) bool { id = string(b); return false })
	return id
}

// What a worker's command wants beyond the bounds of names and topics is refused and counted, the
// rest of it holds, and its data is not pushed.
func TestNamesOfWorkers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 33)
	for _, tt := range []struct {
		name    string
		cmd     netsvr.Command
		m       func(id string) proto.Message
		pushed  bool
		topics  []string
		refused string // a key of TopicsRefused or RenamesRefused
	}{
		{"as many as may be", netsvr.CmdTopicSubscribe, func(id string) proto.Message {
			return &netsvrpb.TopicSubscribe{UniqId: id, Topics: []string{"a", "b"}, Data: []byte("done")}
		}, true, []string{"a", "b"}, ""},
		{"twice the same and nothing", netsvr.CmdTopicSubscribe, func(id string) proto.Message {
			return &netsvrpb.TopicSubscribe{UniqId: id, Topics: []string{"a", "b", "a", "", "b"}, Data: []byte("done")}
		}, true, []string{"a", "b"}, ""},
		{"one too many", netsvr.CmdTopicSubscribe, func(id string) proto.Message {
			return &netsvrpb.TopicSubscribe{UniqId: id, Topics: []string{"a", "b", "c"}, Data: []byte("done")}
		}, false, []string{"a", "b"}, "too-many"},
		{"one too long", netsvr.CmdTopicSubscribe, func(id string) proto.Message {
			return &netsvrpb.TopicSubscribe{UniqId: id, Topics: []string{long, "b"}, Data: []byte("done")}
		}, false, []string{"b"}, "name-too-long"},
		{"as long as may be", netsvr.CmdTopicSubscribe, func(id string) proto.Message {
			return &netsvrpb.TopicSubscribe{UniqId: id, Topics: []string{long[1:]}, Data: []byte("done")}
		}, true, []string{long[1:]}, ""},
		{"a new set with one too many", netsvr.CmdConnInfoUpdate, func(id string) proto.Message {
			return &netsvrpb.ConnInfoUpdate{UniqId: id, NewTopics: []string{"a", "b", "c"}, NewSession: "s", Data: []byte("done")}
		}, false, []string{"a", "b"}, "too-many"},
		{"a uniqId too long", netsvr.CmdConnInfoUpdate, func(id string) proto.Message {
			return &netsvrpb.ConnInfoUpdate{UniqId: id, NewUniqId: strings.Repeat("i", 129), NewTopics: []string{"a"}, Data: []byte("done")}
		}, false, []string{"a"}, "id-length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) {
				c.WorkerListen = "tcp://127.0.0.1:0"
				c.Gateway.MaxTopics, c.Gateway.MaxTopicName = 2, 32
			})
			w := gosocWire("gosoc", gosoc.Compact, false)
			c := online(t, s, &w)
			id := idOf(s)
			l := dialWorker(t, s)
			l.send(tt.cmd, tt.m(id))
			info := new(netsvrpb.ConnInfoResp)
			l.ask(netsvr.CmdConnInfo, &netsvrpb.ConnInfoReq{UniqIds: []string{id}}, info)
			got := info.Items[id].GetTopics()
			slices.Sort(got)
			if !slices.Equal(got, tt.topics) {
				t.Errorf("topics %q, want %q", got, tt.topics)
			}
			l.send(netsvr.CmdSingleCast, &netsvrpb.SingleCast{UniqId: id, Data: []byte("last")})
			want := []string{"last"}
			if tt.pushed {
				want = []string{"done", "last"}
			}
			for _, text := range want {
				if p, err := c.next(); err != nil || !strings.Contains(string(p), text) {
					t.Fatalf("%q, %v, want %s", p, err, text)
				}
			}
			st := s.Gateway().Stats()
			for _, m := range []map[string]uint64{st.TopicsRefused, st.RenamesRefused} {
				for reason, n := range m {
					if n > 0 != (reason == tt.refused) {
						t.Errorf("%d refused for %s, want some for %q", n, reason, tt.refused)
					}
				}
			}
		})
	}
}

// A name that is not UTF-8 comes in by no door, and workers' queries about everybody are answered.
func TestNamesNotUTF8(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.WorkerListen = "tcp://127.0.0.1:0" })
	errs := make(chan error, 2)
	if err := s.Handle("sub", func(r *server.Request) {
		errs <- r.TrySubscribe(r.Payload)
		r.Publish([]byte("\xff"), nil)
		r.Reply(nil)
	}); err != nil {
		t.Fatal(err)
	}
	w := gosocWire("gosoc", gosoc.Compact, false)
	c := online(t, s, &w)
	c.write(gosocRequest("sub", "bad \xff"))
	if err := <-errs; !errors.Is(err, server.NameError(0)) || err.Error() != "the topic's name is not UTF-8" {
		t.Errorf("a handler's subscription: %v", err)
	}
	if _, err := c.next(); err != nil {
		t.Fatal(err)
	}
	c.write(w.ask(subscribe("also \xff"), 2))
	if p, err := c.next(); err != nil || strings.Contains(string(p), `"status":0`) {
		t.Errorf("a client's subscription is answered %q, %v", p, err)
	}
	if err := s.Publish(t.Context(), "\xff", []byte("x")); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a publish: %v", err)
	}
	l := dialWorker(t, s)
	bad := "\x0a\x01\xff\x12\x01t"
	for _, cmd := range []netsvr.Command{netsvr.CmdTopicSubscribe, netsvr.CmdConnInfoUpdate, netsvr.CmdTopicPublish, netsvr.CmdSingleCast} {
		if _, err := io.WriteString(l, workerFrame(uint32(cmd), bad)); err != nil {
			t.Fatal(err)
		}
	}
	count := new(netsvrpb.TopicUniqIdCountResp)
	l.ask(netsvr.CmdTopicUniqIDCount, &netsvrpb.TopicUniqIdCountReq{CountAll: true}, count)
	if len(count.Items) != 0 {
		t.Errorf("topics %v", count.Items)
	}
	if n := s.Hub().Stats().Malformed; n != 4 {
		t.Errorf("%d commands malformed, want 4", n)
	}
	if n := s.Gateway().Stats().TopicsRefused["not-utf8"]; n < 2 {
		t.Errorf("%d refused, want the handler's two", n)
	}
}

// gosocRequest is a request of any route.
func gosocRequest(route, payload string) []byte {
	b, err := gosoc.Compact.AppendSendReq(nil, gosoc.SendReq{
		Level: gosoc.LevelReply, ID: 1, Route: []byte(route), Payload: []byte(payload),
	})
	if err != nil {
		panic(err)
	}
	return b
}

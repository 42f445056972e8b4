package client_test

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/session"
)

// workerFrame is a frame of a worker; n 0: the message is the whole body.
func workerFrame(n uint32, message string) string {
	var body []byte
	if n > 0 {
		body = binary.BigEndian.AppendUint32(nil, n)
	}
	body = append(body, message...)
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + string(body)
}

// What is TopicUnsubscribe in netsvr protocols 3 to 6 has the number of ForceOffline. It closes no
// client, and the process that sends it is refused by name; a worker of 2.0.2 is served.
func TestForeignOffline(t *testing.T) {
	t.Parallel()
	register := func(message string) string { return workerFrame(900003001, message) }
	about := func(n uint32, id, text string) string {
		return workerFrame(n, "\x0a"+string(rune(len(id)))+id+"\x12"+string(rune(len(text)))+text)
	}
	for _, tt := range []struct {
		name    string
		frames  func(id string) string
		refused bool
	}{
		{"a topic that there is", func(id string) string { return about(900002011, id, "news") }, true},
		{"data", func(id string) string { return about(900002011, id, "bye") }, false},
		{"a topic that there is, as data of a worker of 2.0.2", func(id string) string {
			return workerFrame(0, "~3yPvmnz~") + about(900002011, id, "news")
		}, false},
		{"behind an events mask", func(id string) string { return register("\x08\x07") + about(900002011, id, "old") }, true},
		{"behind the Register of an SDK of 2.0.2", func(id string) string {
			return register("\x08\x07\x10\x19") + about(900002011, id, "old")
		}, false},
		{"behind Register and TopicSubscribe", func(id string) string {
			return register("\x08\x02") + about(900002010, id, "old") + about(900002011, id, "old")
		}, true},
		{"behind Register and a publish", func(id string) string {
			return register("\x08\x02") + about(900002010, "news", "old") + about(900002011, id, "old")
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) { c.WorkerListen = "tcp://127.0.0.1:0" })
			w := gosocWire("gosoc", gosoc.Compact, false)
			c := online(t, s, &w)
			c.write(w.ask(subscribe("news"), 1))
			if _, err := c.next(); err != nil {
				t.Fatal(err)
			}
			var id string
			s.Gateway().Clients().Range(func(b []byte, _ session.Ref) bool { id = string(b); return false })

			conn, err := net.Dial("tcp", strings.TrimPrefix(s.WorkerAddr(), "tcp://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go io.Copy(io.Discard, conn)
			if _, err := io.WriteString(conn, tt.frames(id)); err != nil {
				t.Fatal(err)
			}
			done := func() bool { return s.Engine().Stats().Closed[engine.ReasonForcedOffline] == 1 }
			if tt.refused {
				done = func() bool { return s.Hub().Stats().Ended["netsvr-3-to-6"] == 1 }
			}
			for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("links ended %v, clients %v", s.Hub().Stats().Ended, s.Engine().Stats().Closed)
				}
			}
			if tt.refused && s.Engine().Connections() != 1 {
				t.Error("the client is gone")
			}
		})
	}
}

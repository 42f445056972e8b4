package e2e

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"
)

// netsvrSeed makes the random tests the same every time.
const netsvrSeed = 20260118

// netsvrNoise is a healthy customer among the mad: casts may reach it, but it must be served.
func netsvrNoise(t *testing.T, c *netsvrCustomer) {
	t.Helper()
	c.say(workerPing)
	for {
		_, got, err := c.next(patience)
		if err != nil {
			t.Fatalf("the healthy customer: %v", err)
		}
		if string(got) == workerPong {
			return
		}
	}
}

// workerRandom is a command that is right more often than not.
func workerRandom(rnd *rand.Rand, ids, topics []string) []byte {
	commands := []uint32{
		workerConnInfoUpdate, workerConnInfoDelete, workerMulticast, workerSingleCast, workerSingleCastBulk, workerTopicSubscribe,
		workerTopicUnsubscribe, workerTopicDelete, workerTopicPublish, workerForceOfflineGuest, workerTopicPublishBulk, workerBroadcast,
		workerRegister, workerUnregister, workerCheckOnline, workerUniqIDList, workerUniqIDCount, workerTopicCount, workerTopicList,
		workerTopicUniqIDList, workerTopicUniqIDCount, workerConnInfo, workerMetrics, workerLimit, workerCustomToken, workerReply, workerPush,
	}
	var m workerMsg
	for range rnd.IntN(6) {
		field := 1 + rnd.IntN(6)
		switch rnd.IntN(5) {
		case 0:
			m = m.text(field, ids[rnd.IntN(len(ids))])
		case 1:
			m = m.text(field, topics[rnd.IntN(len(topics))])
		case 2:
			m = m.num(field, int64(rnd.Uint64()>>rnd.IntN(64)))
		case 3:
			m = m.bytes(field, workerMsg(nil).text(1, "a").num(2, int64(rnd.IntN(100))))
		case 4:
			m = m.bytes(field, make([]byte, rnd.IntN(300)))
		}
	}
	if len(m) > 0 && rnd.IntN(3) == 0 {
		m[rnd.IntN(len(m))] ^= 1 << rnd.IntN(8)
	}
	if len(m) > 0 && rnd.IntN(5) == 0 {
		m = m[:rnd.IntN(len(m))]
	}
	return workerCommand(commands[rnd.IntN(len(commands))], m)
}

// 10,000 frames of all sorts on worker links.
func TestNetsvrRandomFrames(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--limit", "a=5@5")
	healthy, _ := s.open()
	rnd := rand.New(rand.NewPCG(netsvrSeed, 1))
	var ids []string
	for range 20 {
		_, id := s.open()
		ids = append(ids, id)
	}
	ids = append(ids, "", "nobody")
	topics := []string{"a", "b", "c", "", "\xFF"}
	var conn net.Conn
	var ended chan struct{} // closed when the gateway has ended the link
	links := 0
	dial := func() {
		if conn != nil {
			conn.Close()
			<-ended
		}
		links++
		conn = s.p.workerConn(t)
		ended = make(chan struct{})
		go func(conn net.Conn, ended chan struct{}) {
			defer close(ended)
			_, _ = io.Copy(io.Discard, conn)
		}(conn, ended)
	}
	dial()
	for i := range 10_000 {
		frame := workerRandom(rnd, ids, topics)
		switch rnd.IntN(100) {
		case 0: // rubbish
			frame = make([]byte, rnd.IntN(100))
			for i := range frame {
				frame[i] = byte(rnd.Uint32())
			}
		case 1: // another length
			binary.BigEndian.PutUint32(frame, rnd.Uint32()>>rnd.IntN(32))
		case 2: // another command
			binary.BigEndian.PutUint32(frame[4:], 900000000+uint32(rnd.IntN(10_000)))
		case 3: // gone in the middle
			_, _ = conn.Write(frame[:rnd.IntN(len(frame))])
			dial()
		}
		_ = conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err := conn.Write(frame); err != nil {
			dial()
		}
		wait := time.Duration(0)
		if i%100 == 0 {
			wait = 5 * time.Millisecond // what ends a link does so soon, and the rest would be wasted
		}
		select {
		case <-ended:
			dial()
		case <-time.After(wait):
		}
		if i%500 == 0 {
			netsvrNoise(t, healthy)
			s.l.wantAlive()
		}
	}
	conn.Close()
	<-ended
	s.l.sync()
	netsvrNoise(t, healthy)
	g := s.p.login(t, modes[0], "")
	g.write(g.mode.ping())
	g.wantPong()
	t.Logf("%d links", links)
	if links < 100 {
		t.Error("hardly any link was ended")
	}
	s.p.wantPeakBelow(150 << 20)
}

// 10,000 frames and heads of all sorts from customers.
func TestNetsvrRandomCustomers(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--client-max-message", "1KiB")
	healthy, id := s.open()
	rnd := rand.New(rand.NewPCG(netsvrSeed, 2))
	mutate := func(b []byte) []byte {
		for range 1 + rnd.IntN(3) {
			switch rnd.IntN(4) {
			case 0:
				b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
			case 1:
				b[rnd.IntN(len(b))] = byte(rnd.Uint32())
			case 2:
				b = b[:1+rnd.IntN(len(b))]
			case 3:
				i := rnd.IntN(len(b))
				b = slices.Insert(b, i, byte(rnd.Uint32()))
			}
		}
		return b
	}
	dial := func() *net.TCPConn {
		conn, err := net.DialTimeout("tcp", s.p.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0) // or the test would run out of ports
		_ = conn.SetDeadline(time.Now().Add(patience))
		return conn.(*net.TCPConn)
	}
	ops := []byte{0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0x00, 0x01, 0x02, 0xC1}
	room := make([]byte, 4096)
	for frames, round := 0, 0; frames < 10_000; round++ {
		conn := dial()
		head := netsvrHead("GET", "/netsvr?a=b", "Origin: http://x", "Sec-WebSocket-Protocol: a, b", "X-Forwarded-For: y")
		if round%4 == 0 {
			_, _ = conn.Write(mutate(head))
			frames++
		} else {
			_, _ = conn.Write(head)
			_, _ = conn.Read(room)
		}
		for range 1 + rnd.IntN(10) {
			payload := append([]byte("001"), make([]byte, rnd.IntN(200))...)
			if rnd.IntN(10) == 0 {
				payload = make([]byte, rnd.IntN(3000))
			}
			frame := netsvrFrame(ops[rnd.IntN(len(ops))], payload)
			if rnd.IntN(3) > 0 {
				frame = mutate(frame)
			}
			frames++
			if _, err := conn.Write(frame); err != nil {
				break
			}
		}
		conn.Close()
		if round%200 == 0 {
			healthy.wantAlive()
		}
	}
	healthy.wantAlive()
	s.p.await(func() bool { return s.l.ask(workerUniqIDCount, nil).num(2) == 1 }, "all others to be gone")
	if got := s.l.online(id); len(got) != 1 {
		t.Errorf("online: %q", got)
	}
	s.p.wantPeakBelow(150 << 20)
}

// Customers come and go while two links give names to each other's clients: in the end nothing is
// left, and each beginning had its end.
func TestNetsvrRenameStorm(t *testing.T) {
	s := startScene(t)
	rnd := rand.New(rand.NewPCG(netsvrSeed, 3))
	names := []string{"a", "b", "c", "d", "e"}
	links := []*workerLink{s.p.workerLink(t), s.p.workerLink(t)}
	type live struct {
		c  *netsvrCustomer
		id string
	}
	var clients []live
	opens, closes := 0, 0
	seen := func(a workerArrival) {
		switch a.cmd {
		case workerConnOpen:
			opens++
		case workerConnClose:
			closes++
		}
	}
	for range 1500 {
		switch n := rnd.IntN(10); {
		case len(clients) < 5 || n == 0 && len(clients) < 40:
			c := s.p.netsvrOpen(t, "/netsvr")
			id := ""
			for id == "" {
				a, ok := s.l.take(&s.l.events, patience)
				if !ok {
					t.Fatal("no ConnOpen")
				}
				seen(a)
				if a.cmd == workerConnOpen {
					id = a.fields.text(1)
				}
			}
			clients = append(clients, live{c, id})
		case n == 1:
			i := rnd.IntN(len(clients))
			clients[i].c.hangUp()
			clients = slices.Delete(clients, i, i+1)
		default:
			from, to := clients[rnd.IntN(len(clients))].id, names[rnd.IntN(len(names))]
			if n > 5 {
				from = names[rnd.IntN(len(names))]
			}
			data := ""
			if n%2 == 0 {
				data = "not yours any more"
			}
			m := workerMsg(nil).text(1, from).text(2, to).text(3, data).text(5, to)
			links[rnd.IntN(2)].send(workerConnInfoUpdate, m)
		}
	}
	for _, l := range links {
		l.sync()
	}
	// Every id that is listed belongs to somebody.
	for _, id := range s.l.uniqIDs() {
		if _, _, ok := s.l.info(id); !ok && len(s.l.online(id)) > 0 {
			t.Errorf("%s points at nobody", id)
		}
	}
	for _, c := range clients {
		c.c.hangUp()
	}
	s.p.await(func() bool { return s.l.ask(workerUniqIDCount, nil).num(2) == 0 }, "everybody to be gone")
	s.l.wantTopics()
	for {
		a, ok := s.l.take(&s.l.events, 20*time.Millisecond)
		if !ok {
			break
		}
		seen(a)
	}
	if opens != closes || opens < 50 {
		t.Errorf("%d opened, %d closed", opens, closes)
	}
}

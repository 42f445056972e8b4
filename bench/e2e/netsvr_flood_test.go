package e2e

import (
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// One link sends as fast as it can to up to 1,000 GOSOC and as many WebSocket clients: it is slowed down by
// TCP, nobody is closed, and everybody gets everything once and in order.
func TestNetsvrFlood(t *testing.T) {
	before := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for _, f := range []netsvrFlood{
		{name: "100 B", size: 100, topics: 1, each: 1000, slowed: true, always: true},
		{name: "16 B", size: 16, topics: 1, each: 200, count: 60_000},
		{name: "64 KiB", size: 64 << 10, topics: 1, each: 200, count: 60, always: true},
		{name: "bulk", size: 100, topics: 1, bulk: 64, each: 200, count: 30_000},
		{name: "four topics, customers with heartbeats", size: 100, topics: 4, pings: 500 * time.Millisecond, each: 200, count: 2_000},
		{name: "bulk of four topics", size: 300, topics: 4, bulk: 64, pings: time.Second, each: 200, count: 2_000},
		// A program that needs a second for a turn over its connections is slow, not stalled.
		{name: "slow program", size: 100, topics: 1, each: 100, pause: 8 * time.Millisecond, count: 10_000},
		{name: "slow program, 64 KiB", size: 64 << 10, topics: 1, each: 100, pause: 8 * time.Millisecond, count: 20, always: true},
		{name: "broadcast", size: 100, topics: 1, to: workerBroadcast, each: 200, count: 10_000},
		{name: "broadcast, slow program", size: 64 << 10, topics: 1, to: workerBroadcast, each: 100, pause: 8 * time.Millisecond, count: 20},
		{name: "multicast", size: 100, topics: 1, to: workerMulticast, each: 200, count: 700},
		{name: "multicast, 64 KiB", size: 64 << 10, topics: 1, to: workerMulticast, each: 200, count: 40},
	} {
		if f.always || !unpaused {
			t.Run(f.name, func(t *testing.T) {
				if f.pause > 0 { // these wait most of the time
					t.Parallel()
				}
				f.run(t)
			})
		}
	}
}

type netsvrFlood struct {
	name   string
	size   int           // of a payload, in bytes
	topics int           // everybody hears all; 1 unless topics are published to
	to     uint32        // what is sent, 0: TopicPublish
	bulk   int           // messages in a TopicPublishBulk, which it is then
	pings  time.Duration // between signs of life of each subscriber, 0: none
	count  uint32        // of publishes to each topic
	slowed bool          // until TCP has had the link wait, instead
	each   int           // subscribers of each kind
	always bool          // with the tag portable, too, which changes how full sockets are waited for
	pause  time.Duration // of the readers behind each read
}

// run floods. Readers that stand still for long are stalled for the gateway, which closes some: when
// the machine has made them so, a run says nothing, and another one is needed.
func (f netsvrFlood) run(t *testing.T) {
	tolerable := 2*time.Second + time.Duration(f.each)*f.pause
	for tries := 1; ; tries++ {
		var problems []string
		var turn time.Duration
		t.Run(fmt.Sprint("try ", tries), func(t *testing.T) { problems, turn = f.once(t) })
		if len(problems) == 0 || t.Failed() {
			return
		}
		if turn <= tolerable || tries == 5 {
			t.Error(strings.Join(problems, "\n"))
			return
		}
		t.Logf("readers stood still for up to %v: once more, for\n%s", turn, strings.Join(problems, "\n"))
	}
}

// once is one run. It returns what was wrong, and the longest turn of the readers over their sockets.
func (f netsvrFlood) once(t *testing.T) (problems []string, turn time.Duration) {
	each := f.each
	s := startScene(t)
	set := newStreamSet(t, f.size)
	set.pause = f.pause
	var topics, everybody []string
	for i := range f.topics {
		topics = append(topics, fmt.Sprint("flood", i))
	}
	join := func(id string) {
		everybody = append(everybody, id)
		if f.to != 0 {
			return
		}
		s.l.send(workerTopicSubscribe, workerMsg(nil).text(1, id).text(2, topics...))
	}
	for i := range each {
		c, id := s.open()
		join(id)
		set.addCustomer(t, c, f.topics)
		m := plainModes[i%2]
		if f.size > 60_000 {
			m = plainModes[0] // the other's fields are shorter
		}
		g := s.p.login(t, m, "")
		join(s.l.event(workerConnOpen).text(1))
		set.addClient(t, g, f.topics)
	}
	s.l.sync()
	set.start(f.pings)
	sent := make([]uint32, f.topics)
	next := 0
	var batch, payload []byte
	publish := func() {
		if f.bulk == 0 {
			payload = streamPayload(payload[:0], next, sent[next], f.size)
			switch f.to {
			case workerBroadcast:
				batch = append(batch, workerCommand(f.to, workerMsg(nil).bytes(1, payload))...)
			case workerMulticast:
				batch = append(batch, workerCommand(f.to, workerMsg(nil).text(1, everybody...).bytes(2, payload))...)
			default:
				batch = append(batch, workerCommand(workerTopicPublish, workerMsg(nil).text(1, topics[next]).bytes(2, payload))...)
			}
			sent[next]++
			next = (next + 1) % f.topics
			return
		}
		// Pairwise when there are several topics, all to the one otherwise.
		var m workerMsg
		names := f.bulk
		if f.topics == 1 {
			names = 1
		}
		for i := range names {
			m = m.text(1, topics[(next+i)%f.topics])
		}
		for range f.bulk {
			payload = streamPayload(payload[:0], next, sent[next], f.size)
			m = m.bytes(2, payload)
			sent[next]++
			next = (next + 1) % f.topics
		}
		batch = append(batch, workerCommand(workerTopicPublishBulk, m)...)
	}
	_ = s.l.conn.SetWriteBuffer(64 << 10) // to wait for the gateway, not for our own kernel
	start := time.Now()
	longest := time.Duration(0)
	going := func() bool {
		if f.slowed {
			return (longest < 50*time.Millisecond || sent[0] < 5000) && time.Since(start) < patience
		}
		return sent[0] < f.count
	}
	for going() {
		batch = batch[:0]
		for len(batch) < 16<<10 && (f.count == 0 || sent[0] < f.count) {
			publish()
		}
		before := time.Now()
		_ = s.l.conn.SetWriteDeadline(before.Add(2 * patience))
		if _, err := s.l.conn.Write(batch); err != nil {
			t.Fatalf("publish %v: %v", sent, err)
		}
		longest = max(longest, time.Since(before))
	}
	// The sockets hold some megabytes more, which take as long as they take.
	s.l.send(workerUniqIDCount, nil)
	if a, ok := s.l.take(&s.l.answers, time.Minute); !ok || a.cmd != workerUniqIDCount || a.fields.num(2) != int64(2*each) {
		problems = append(problems, fmt.Sprintf("behind the publishes: %d, %d clients, %v, want %d", a.cmd, a.fields.num(2), ok, 2*each))
	}
	published := time.Since(start)
	if f.slowed && longest < 50*time.Millisecond {
		problems = append(problems, fmt.Sprintf("%d publishes never waited for TCP", sent[0]))
	}
	problems = append(problems, set.finish(sent)...)
	n := uint32(0)
	for _, k := range sent {
		n += k
	}
	turn = max(set.loops[0].turn, set.loops[1].turn)
	t.Logf("%d publishes in %v, %.1f million deliveries/s; the longest wait for TCP took %v, the longest turn of readers %v",
		n, published.Round(time.Millisecond), float64(n)*float64(2*each)/1e6/published.Seconds(), longest.Round(time.Millisecond), turn.Round(time.Millisecond))
	if a, ok := s.l.take(&s.l.events, 0); ok {
		problems = append(problems, fmt.Sprintf("got %d %q", a.cmd, a.body))
	}
	s.p.wantPeakBelow(400 << 20)
	if n < 20 {
		t.Errorf("only %d publishes", n)
	}
	if len(problems) > 0 {
		t.Logf("the gateway says:\n%s", tail(s.p.stderr.String()))
	}
	return problems, turn
}

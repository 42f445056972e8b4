package cluster

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sluicenet/sluice/topic"
)

// A loopBus keeps what is published, or throws it away.
type loopBus struct {
	messages chan *nats.Msg
	sent     func(subject string, data []byte)
}

func (b *loopBus) Publish(subject string, data []byte) error {
	if b.sent != nil {
		b.sent(subject, data)
	}
	return nil
}
func (b *loopBus) Flush() error               { return nil }
func (b *loopBus) Subscribe(string) error     { return nil }
func (b *loopBus) Unsubscribe(string) error   { return nil }
func (b *loopBus) Messages() <-chan *nats.Msg { return b.messages }
func (b *loopBus) Connected() bool            { return true }
func (b *loopBus) Dropped() uint64            { return 0 }
func (b *loopBus) MaxPayload() int            { return 1 << 20 }
func (b *loopBus) OnChange(func(bool))        {}
func (b *loopBus) Close()                     {}

type nobody struct{}

func (nobody) Publish(_, _ []byte) error { return nil }

// still makes a node whose goroutines do not run, and which knows another one. Of its topics nobody
// wants t0 to t999 but t500.
func still() (*topics, Member) {
	n, other := new(nodes), Member{ID: 2, Incarnation: 5}
	n.put(other)
	t := assemble(&Config{Name: "c", Self: 1, Incarnation: 9}, &loopBus{messages: make(chan *nats.Msg)}, n)
	t.injector = nobody{}
	t.connected.Store(true)
	t.ours.change(true)
	var some, none []string
	for i := range 1000 {
		name := fmt.Sprintf("t%d", i)
		t.interest.get([]byte(name))
		if i == 500 {
			some = append(some, name)
		} else {
			none = append(none, name)
		}
	}
	_, _, yes, no, _ := readInterest(appendInterest(nil, origin{2, 5}, 9, 1, some, none)[headerLen:])
	t.interest.note(2, yes, true, nil)
	t.interest.note(2, no, false, nil)
	return t, other
}

// TestReaches: only what somebody wants, or may want, is sent.
func TestReaches(t *testing.T) {
	p, other := still()
	for _, c := range []struct {
		name string
		want bool
	}{{"t0", false}, {"t999", false}, {"t500", true}, {"t1000", true}, {"", false}} {
		if got := p.Reaches([]byte(c.name), 0); got != c.want {
			t.Errorf("Reaches(%q) is %v", c.name, got)
		}
	}
	before := p.Changes()
	p.nodes.put(Member{ID: 3, Incarnation: 1})
	if !p.Reaches([]byte("t0"), 0) || p.Changes() == before {
		t.Error("a node that has just come may want anything")
	}
	p.nodes.remove(3)
	p.nodes.remove(2)
	p.nodeGone(other)
	if p.Reaches([]byte("t500"), 0) || p.Reaches([]byte("t1000"), 0) {
		t.Error("there is nobody")
	}
}

// TestAllocations: what loops call allocates nothing.
func TestAllocations(t *testing.T) {
	p, _ := still()
	nobody, somebody := []byte("t7"), []byte("t500")
	record := topic.AppendRecord(nil, "", 0, make([]byte, 100))
	p.Publish(somebody, record, 1)
	for what, f := range map[string]func(){
		"Reaches, nobody":   func() { p.Reaches(nobody, 0) },
		"Reaches, somebody": func() { p.Reaches(somebody, 0) },
		"Changes":           func() { p.Changes() },
		"Congested":         func() { p.Congested(somebody) },
		"Settle":            func() { p.Settle(nobody, nil) },
		"Publish": func() {
			p.Publish(somebody, record, 1)
			p.sender.turn(p.sender.barrierAt)
		},
	} {
		if n := testing.AllocsPerRun(1000, f); n >= 1 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// BenchmarkReaches is what each run of messages costs where nobody else wants it.
func BenchmarkReaches(b *testing.B) {
	p, _ := still()
	b.Run("nobody", func(b *testing.B) {
		name := []byte("t7")
		for b.Loop() {
			_ = p.Reaches(name, 0)
			_ = p.Changes()
		}
	})
	b.Run("somebody", func(b *testing.B) {
		name := []byte("t500")
		for b.Loop() {
			_ = p.Reaches(name, 0)
			_ = p.Changes()
			_ = p.Congested(name)
		}
	})
}

// BenchmarkMessages is what a message of 100 bytes costs, sent and received, in runs of some sizes.
// What the bus and the loops cost is not in it.
func BenchmarkMessages(b *testing.B) {
	for _, count := range []int{1, 50, 500} {
		var records []byte
		for range count {
			records = topic.AppendRecord(records, "", 0, make([]byte, 100))
		}
		name := []byte("t500")
		b.Run(fmt.Sprintf("send/%d", count), func(b *testing.B) {
			p, _ := still()
			b.ReportAllocs()
			for b.Loop() {
				p.Publish(name, records, count)
				p.sender.turn(p.sender.barrierAt)
				p.barriers.forget()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/message")
		})
		b.Run(fmt.Sprintf("receive/%d", count), func(b *testing.B) {
			p, _ := still()
			p.Subscribed("t500")
			frame := append(appendRunHead(nil, origin{2, 5}, name), records...)
			m := &nats.Msg{Subject: p.subs.topic("t500")}
			first := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				putRun(frame, len(name), false, 1, first, 0, uint32(count))
				first += uint64(count)
				m.Data = seal(frame)
				if err := p.receiver.take(m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/message")
		})
	}
}

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/nats-io/nats.go"
)

// A wire connects the buses of a test: what is published on one arrives on all that have subscribed.
type wire struct {
	mu    sync.Mutex
	buses []*wireBus
	lose  func(subject string, data []byte) bool // nil: nothing is lost
}

type wireBus struct {
	wire     *wire
	messages chan *nats.Msg
	subs     map[string]bool // guarded by wire.mu
	away     atomic.Bool
	fails    atomic.Bool // Publish, though it says that it is connected
	payload  int
}

func (w *wire) bus() *wireBus {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &wireBus{wire: w, messages: make(chan *nats.Msg, busRoom), subs: make(map[string]bool), payload: 1 << 20}
	w.buses = append(w.buses, b)
	return b
}

func (b *wireBus) Publish(subject string, data []byte) error {
	if b.away.Load() || b.fails.Load() {
		return errors.New("away")
	}
	b.wire.mu.Lock()
	defer b.wire.mu.Unlock()
	if b.wire.lose != nil && b.wire.lose(subject, data) {
		return nil
	}
	for _, other := range b.wire.buses {
		if other.subs[subject] && !other.away.Load() {
			other.messages <- &nats.Msg{Subject: subject, Data: bytes.Clone(data)}
		}
	}
	return nil
}

func (b *wireBus) Subscribe(subject string) error {
	b.wire.mu.Lock()
	defer b.wire.mu.Unlock()
	b.subs[subject] = true
	return nil
}

func (b *wireBus) Unsubscribe(subject string) error { return nil }
func (b *wireBus) Flush() error                     { return nil }
func (b *wireBus) Messages() <-chan *nats.Msg       { return b.messages }
func (b *wireBus) Connected() bool                  { return !b.away.Load() }
func (b *wireBus) Dropped() uint64                  { return 0 }
func (b *wireBus) MaxPayload() int                  { return b.payload }
func (b *wireBus) OnChange(func(bool))              {}
func (b *wireBus) Close()                           {}

// A talker is an rpc of a test with its bus and its table.
type talker struct {
	*rpc
	bus   *wireBus
	table nodes
}

// talkers starts n nodes that know each other.
func talkers(t *testing.T, n int, change func(*talker)) []*talker {
	t.Helper()
	w := new(wire)
	var list []*talker
	for i := range n {
		k := &talker{bus: w.bus()}
		k.rpc = newRPC(&Config{Name: "test", Self: uint8(i), Incarnation: 100 + uint64(i)}, k.bus, &k.table)
		for j := range n {
			if i != j {
				k.table.put(Member{ID: uint8(j), Incarnation: 100 + uint64(j)})
			}
		}
		k.serve(func(from uint8, payload []byte, answer func([]byte)) {
			if answer != nil {
				answer(fmt.Appendf(nil, "%d>%d:%s", from, i, payload))
			}
		})
		if change != nil {
			change(k)
		}
		list = append(list, k)
	}
	for _, k := range list {
		k.start()
	}
	t.Cleanup(func() {
		for _, k := range list {
			k.close()
			if k.out.size() != 0 {
				t.Errorf("node %d: %d bytes are still charged", k.self.id, k.out.size())
			}
		}
	})
	return list
}

// answers are those of an ask, sorted; an error stands for an answer.
func (k *talker) answers(nodes []uint8, payload string, wait time.Duration) []string {
	var mu sync.Mutex
	var list []string
	over := make(chan struct{})
	k.ask(nodes, []byte(payload), wait, func(node uint8, answer []byte, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			answer = []byte(err.Error())
		}
		list = append(list, fmt.Sprintf("%d %s", node, answer))
	}, func() { close(over) })
	<-over
	slices.Sort(list)
	return list
}

func wantAnswers(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %.200q, want %.200q", got, want)
	}
}

func TestAsk(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := talkers(t, 3, nil)
		wantAnswers(t, k[0].answers(nil, "x", 0), "1 0>1:x", "2 0>2:x")
		wantAnswers(t, k[1].answers([]uint8{2}, "y", 0), "2 1>2:y")
		wantAnswers(t, k[1].answers([]uint8{}, "y", 0))
		wantAnswers(t, k[1].answers([]uint8{7, 0}, "z", 0), "0 1>0:z", "7 "+ErrGone.Error())
		if s := k[0].counts(); s.Asked != 1 || s.Answered != 2 || s.Waiting != 0 || s.Ignored["own"] != 1 {
			t.Errorf("counters %+v", s)
		}
	})
}

// What does not answer is told apart, within its time.
func TestAskFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(k []*talker)
		nodes []uint8
		want  []string
		takes time.Duration
	}{
		{"silent", func(k []*talker) { k[1].bus.away.Store(true) }, nil,
			[]string{"1 " + ErrSilent.Error(), "2 0>2:x"}, time.Second},
		{"away", func(k []*talker) { k[0].bus.away.Store(true) }, nil,
			[]string{"1 " + ErrAway.Error(), "2 " + ErrAway.Error()}, 0},
		{"unsent", func(k []*talker) { k[0].bus.fails.Store(true) }, []uint8{1},
			[]string{"1 " + ErrAway.Error()}, 0},
		{"suspect", func(k []*talker) { k[0].table.put(Member{ID: 1, Incarnation: 101, Suspect: true}) }, nil,
			[]string{"1 " + ErrSuspect.Error(), "2 0>2:x"}, 0},
		{"another process has the id", func(k []*talker) { k[0].table.put(Member{ID: 1, Incarnation: 7}) }, nil,
			[]string{"1 " + ErrSilent.Error(), "2 0>2:x"}, time.Second},
		{"unknown there", func(k []*talker) { k[1].table.remove(0) }, nil,
			[]string{"1 " + ErrSilent.Error(), "2 0>2:x"}, time.Second},
		{"leaves meanwhile", func(k []*talker) {
			k[1].bus.away.Store(true)
			time.AfterFunc(50*time.Millisecond, func() { k[0].nodeGone(Member{ID: 1, Incarnation: 101}) })
		}, nil, []string{"1 " + ErrGone.Error(), "2 0>2:x"}, 50 * time.Millisecond},
		{"panics", func(k []*talker) {
			k[1].serve(func(uint8, []byte, func([]byte)) { panic("no") })
		}, nil, []string{"1 " + ErrFailed.Error(), "2 0>2:x"}, 0},
		{"stops meanwhile", func(k []*talker) {
			k[1].bus.away.Store(true)
			time.AfterFunc(50*time.Millisecond, k[0].close)
		}, []uint8{1}, []string{"1 " + ErrStopped.Error()}, 50 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				k := talkers(t, 3, nil)
				tt.do(k)
				begun := time.Now()
				wantAnswers(t, k[0].answers(tt.nodes, "x", 0), tt.want...)
				if d := time.Since(begun); d != tt.takes {
					t.Errorf("took %v, want %v", d, tt.takes)
				}
			})
		})
	}
}

// An answer behind the end of its wait is counted, and nobody hears of it.
func TestAnswerLate(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := talkers(t, 2, nil)
		k[1].serve(func(_ uint8, b []byte, answer func([]byte)) {
			time.AfterFunc(300*time.Millisecond, func() { answer(b); answer(b) })
		})
		wantAnswers(t, k[0].answers(nil, "x", 200*time.Millisecond), "1 "+ErrSilent.Error())
		time.Sleep(time.Second)
		synctest.Wait()
		if s := k[0].counts(); s.Late != 1 || s.Silent != 1 || s.Answered != 0 {
			t.Errorf("counters %+v", s)
		}
		wantAnswers(t, k[0].answers(nil, "y", time.Second), "1 y")
	})
}

// Commands of a node are carried out in their order, whether they are for one node or for all, and
// however many frames they have.
func TestTellInOrder(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []int
		k := talkers(t, 2, func(k *talker) {
			k.bus.payload = 4096
			k.serve(func(_ uint8, b []byte, _ func([]byte)) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, len(b))
			})
		})
		var want []int
		for i := range 500 {
			n := i * i % 10_000
			var nodes []uint8
			if i%3 > 0 {
				nodes = []uint8{1}
			}
			if err := k[0].await(time.Second); err != nil {
				t.Fatal(err)
			}
			if err := k[0].tell(nodes, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			want = append(want, n)
		}
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	})
}

// Answers of many frames come whole, or the asker is told that they do not.
func TestLongAnswers(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		long := strings.Repeat("0123456789", 2000)
		var parts int
		k := talkers(t, 3, func(k *talker) {
			k.bus.payload = 4096
			k.serve(func(_ uint8, b []byte, answer func([]byte)) { answer([]byte(long + string(b))) })
		})
		wantAnswers(t, k[0].answers(nil, "x", 0), "1 "+long+"x", "2 "+long+"x")
		wantAnswers(t, k[0].answers(nil, long, 0), "1 "+long+long, "2 "+long+long)
		k[0].bus.wire.lose = func(subject string, data []byte) bool {
			if Kind(data[2]) != KindAnswer || data[3] != 1 {
				return false
			}
			parts++
			return parts == 3
		}
		wantAnswers(t, k[0].answers(nil, "x", 0), "1 "+ErrFailed.Error(), "2 "+long+"x")
		if s := k[0].counts(); s.Ignored["short"] == 0 {
			t.Errorf("counters %+v", s)
		}
	})
}

// A part of a command that is lost takes its command with it, and no other.
func TestPartLost(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var got []string
		k := talkers(t, 2, func(k *talker) {
			k.bus.payload = 2048
			k.serve(func(_ uint8, b []byte, _ func([]byte)) { got = append(got, fmt.Sprint(len(b), string(b[:1]))) })
		})
		n := 0
		k[0].bus.wire.lose = func(string, []byte) bool { n++; return n == 2 }
		for _, c := range []string{"a", "b"} {
			_ = k[0].tell(nil, []byte(strings.Repeat(c, 3000)))
		}
		synctest.Wait()
		if want := []string{"3000b"}; !slices.Equal(got, want) {
			t.Errorf("carried out %q, want %q", got, want)
		}
	})
}

// Who does not keep up with a node's commands says so, and goes on receiving: others are served.
func TestBusy(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := talkers(t, 3, nil)
		hold := make(chan struct{})
		k[1].serve(func(from uint8, b []byte, answer func([]byte)) {
			if from == 0 {
				<-hold
			}
			if answer != nil {
				answer(b)
			}
		})
		for range maxServing + 1 { // one is being carried out
			if err := k[0].await(time.Second); err != nil {
				t.Fatal(err)
			}
			if err := k[0].tell([]uint8{1}, []byte("t")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		wantAnswers(t, k[0].answers([]uint8{1}, "x", 0), "1 "+ErrBusy.Error())
		wantAnswers(t, k[2].answers([]uint8{1}, "x", 0), "1 x")
		if s := k[1].counts(); s.Busy != 1 {
			t.Errorf("counters %+v", s)
		}
		close(hold)
		synctest.Wait()
		wantAnswers(t, k[0].answers([]uint8{1}, "x", 0), "1 x")
	})
}

// The queue is bounded: who waits is told, and nothing that returns at once waits.
func TestQueueFull(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := &talker{bus: new(wire).bus()}
		k.rpc = newRPC(&Config{Name: "test", Incarnation: 1, Queue: 1000}, k.bus, &k.table)
		k.table.put(Member{ID: 1, Incarnation: 2})
		k.part = 1024
		if err := k.tell(nil, make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
		if err := k.tell(nil, nil); !errors.Is(err, ErrFull) {
			t.Errorf("tell: %v", err)
		}
		wantAnswers(t, k.answers(nil, "x", 0), "1 "+ErrFull.Error())
		begun := time.Now()
		if err := k.await(100 * time.Millisecond); !errors.Is(err, ErrFull) || time.Since(begun) != 100*time.Millisecond {
			t.Errorf("await: %v after %v", err, time.Since(begun))
		}
		k.start()
		if err := k.await(time.Second); err != nil {
			t.Error(err)
		}
		k.bus.away.Store(true)
		if err := k.await(time.Second); !errors.Is(err, ErrAway) {
			t.Errorf("await: %v", err)
		}
		if err := k.tell(nil, nil); !errors.Is(err, ErrAway) {
			t.Errorf("tell: %v", err)
		}
		if err := k.tell(nil, make([]byte, maxWhole+1)); !errors.Is(err, ErrTooLong) {
			t.Errorf("tell: %v", err)
		}
		k.close()
		k.close()
		if k.out.size() != 0 || k.counts().Waiting != 0 {
			t.Errorf("still charged: %d bytes", k.out.size())
		}
	})
}

// What others put on the bus is counted and ignored.
func TestForeignFrames(t *testing.T) {
	from := origin{1, 101}
	command := func(f commandFrame) []byte { return f.append(appendHeader(nil, KindCommand, from)) }
	for _, tt := range []struct {
		name  string
		frame []byte
		why   string
	}{
		{"nothing", nil, "foreign"},
		{"text", []byte("hello"), "foreign"},
		{"another version", append([]byte{magic, 2}, make([]byte, 30)...), "version"},
		{"the head alone", appendHeader(nil, KindCommand, from), "short"},
		{"half a head", []byte{magic, version}, "short"},
		{"an unknown sender", appendHeader(nil, KindCommand, origin{1, 55}), "sender"},
		{"its own", appendHeader(nil, KindCommand, origin{0, 100}), "own"},
		{"another kind", appendHeader(nil, KindCredit, from), "foreign"},
		{"unknown flags", command(commandFrame{to: 100, flags: 4}), "foreign"},
		{"for another process", command(commandFrame{to: 99}), "sender"},
		{"for all, to one", command(commandFrame{}), "sender"},
		{"the end of something", command(commandFrame{to: 100, part: 1}), "short"},
		{"an answer for another", (&answerFrame{to: 5}).append(appendHeader(nil, KindAnswer, from)), "sender"},
		{"an answer of an unknown status", (&answerFrame{to: 100, status: 9}).append(appendHeader(nil, KindAnswer, from)), "foreign"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				k := talkers(t, 2, func(k *talker) {
					k.serve(func(uint8, []byte, func([]byte)) { t.Error("carried out") })
				})
				frame := tt.frame
				if _, err := unseal(frame); errors.Is(err, errShort) || errors.Is(err, errSum) {
					frame = seal(frame)
				}
				_ = k[1].bus.Publish("sluice.test.c.00", frame)
				synctest.Wait()
				if s := k[0].counts(); s.Ignored[tt.why] != 1 || s.Served != 0 {
					t.Errorf("counters %+v, want one %s", s, tt.why)
				}
			})
		})
	}
}

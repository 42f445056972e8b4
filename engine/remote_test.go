package engine

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// A fakeRemote is the others, who want some topics.
type fakeRemote struct {
	mu        sync.Mutex
	wanted    map[string]bool
	congested map[string]bool
	got       []string // topic:payload of each message
	calls     []int    // messages of each Publish
	edges     []string
	changes   atomic.Uint64
	asked     atomic.Int64 // Congested
	unsettled map[string]bool
	waiting   []func() // of Settle
}

func newFakeRemote() *fakeRemote {
	return &fakeRemote{wanted: make(map[string]bool), congested: make(map[string]bool)}
}

func (r *fakeRemote) want(name string) {
	r.mu.Lock()
	r.wanted[name] = true
	r.mu.Unlock()
	r.changes.Add(1)
}

func (r *fakeRemote) congest(name string, is bool) {
	r.mu.Lock()
	r.congested[name] = is
	r.mu.Unlock()
}

func (r *fakeRemote) Changes() uint64 { return r.changes.Load() }

func (r *fakeRemote) Reaches(name []byte, _ int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wanted[string(name)]
}

func (r *fakeRemote) Congested(name []byte) bool {
	r.asked.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.congested[string(name)]
}

func (r *fakeRemote) Publish(name, records []byte, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, n)
	for len(records) > 0 {
		var m topic.Message
		size, err := m.Read(records)
		if err != nil {
			r.got = append(r.got, err.Error())
			return
		}
		records = records[size:]
		r.got = append(r.got, fmt.Sprintf("%s:%s%s", name, m.Route, m.Payload))
	}
}

func (r *fakeRemote) Subscribed(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edges = append(r.edges, "+"+name)
}

func (r *fakeRemote) Unsubscribed(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edges = append(r.edges, "-"+name)
}

func (r *fakeRemote) Expect(name []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edges = append(r.edges, "?"+string(name))
}

func (r *fakeRemote) Settle(name []byte, f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.unsettled[string(name)] {
		return false
	}
	r.waiting = append(r.waiting, f)
	return true
}

func (r *fakeRemote) await(t *testing.T, of func() []string, want ...string) {
	t.Helper()
	var got []string
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		got = slices.Clone(of())
		r.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("got %q, want %q", got, want)
}

func (r *fakeRemote) wantRuns(t *testing.T, messages ...int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.calls, messages) {
		t.Errorf("runs of %v messages, want %v", r.calls, messages)
	}
}

func (r *fakeRemote) messages() []string { return r.got }
func (r *fakeRemote) tells() []string    { return r.edges }

// startRemote runs an engine with somebody elsewhere.
func startRemote(t testing.TB) (*Engine, string, *fakeRemote) {
	r := newFakeRemote()
	e, addr, _ := startKeeper(t, Config{Loops: 2, Remote: r}, ListenConfig{})
	return e, addr, r
}

// TestRemoteGetsWhatItWants: messages to topics that somebody elsewhere wants go there, whoever
// publishes here, in order and in runs, and those of local Publishers and to everybody do not.
func TestRemoteGetsWhatItWants(t *testing.T) {
	t.Parallel()
	e, addr, r := startRemote(t)
	r.want("both")
	r.want("there")
	k := dialKeeper(t, addr, "SUB both", "SUB here")
	k.want("SUBSCRIBED true", "SUBSCRIBED true")
	pb := e.NewPublisher()
	say := func(pb *Publisher, topic, text string) {
		t.Helper()
		if err := pb.Publish([]byte(topic), Push{Payload: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	say(pb, "both", "one")
	say(pb, "both", "two")
	say(pb, "there", "three")
	say(pb, "here", "four")
	say(pb, "nowhere", "five")
	pb.Flush()
	_ = pb.Broadcast(Push{Payload: []byte("six")})
	pb.Flush()
	local := e.NewLocalPublisher()
	say(local, "both", "seven")
	say(local, "there", "eight")
	local.Flush()
	k.want("one", "two", "four", "six", "seven")
	r.await(t, r.messages, "both:one", "both:two", "there:three")
	r.wantRuns(t, 2, 1)
	dialKeeper(t, addr, "PUB both nine")
	k.want("nine")
	r.await(t, r.messages, "both:one", "both:two", "there:three", "both:nine")
	if got := e.Stats().Accounts[KindShared]; got > 64<<10 {
		t.Errorf("%d bytes of runs are left", got)
	}
}

// TestRemoteJoinsARun: a run under way does not hide that somebody has come, elsewhere or here.
func TestRemoteJoinsARun(t *testing.T) {
	t.Parallel()
	e, addr, r := startRemote(t)
	k := dialKeeper(t, addr, "SUB a")
	k.want("SUBSCRIBED true")
	pb := e.NewPublisher()
	for i, text := range []string{"0", "1", "2"} {
		if i == 1 {
			r.want("a")
		}
		_ = pb.Publish([]byte("a"), Push{Payload: []byte(text)})
	}
	pb.Flush()
	k.want("0", "1", "2")
	r.await(t, r.messages, "a:1", "a:2")

	r.want("b")
	_ = pb.Publish([]byte("b"), Push{Payload: []byte("3")})
	_ = pb.Publish([]byte("b"), Push{Payload: []byte("4")})
	k.send("SUB b")
	k.want("SUBSCRIBED true")
	_ = pb.Publish([]byte("b"), Push{Payload: []byte("5")})
	pb.Flush()
	k.want("5")
	r.await(t, r.messages, "a:1", "a:2", "b:3", "b:4", "b:5")
	r.wantRuns(t, 2, 2, 1) // what goes elsewhere alone is in one, too
}

// TestRemoteSetsThePace: while those elsewhere are congested, who publishes to that topic waits, on a
// goroutine and as a client, and nobody else does.
func TestRemoteSetsThePace(t *testing.T) {
	t.Parallel()
	e, addr, r := startRemote(t)
	r.want("slow")
	r.want("quick")
	r.congest("slow", true)
	done := make(chan error, 1)
	go func() {
		pb := e.NewPublisher()
		done <- pb.Publish([]byte("slow"), Push{Payload: []byte("goroutine")})
		pb.Flush()
	}()
	client := dialKeeper(t, addr, "PUB slow client", "SUB then")
	other := dialKeeper(t, addr, "PUB quick other")
	r.await(t, r.messages, "quick:other")
	other.send("SUB x")
	other.want("SUBSCRIBED true")
	for begun := time.Now(); r.asked.Load() < 20; time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("who waits does not ask again")
		}
	}
	r.await(t, r.messages, "quick:other")
	select {
	case err := <-done:
		t.Fatalf("Publish returned %v while those elsewhere were congested", err)
	default:
	}
	r.congest("slow", false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	client.want("SUBSCRIBED true")
	r.await(t, func() []string {
		got := slices.Clone(r.got)
		slices.Sort(got)
		return got
	}, "quick:other", "slow:client", "slow:goroutine")
}

// TestRemoteHearsOfSubscribers: the first one of a topic, the last one, and no others.
func TestRemoteHearsOfSubscribers(t *testing.T) {
	t.Parallel()
	_, addr, r := startRemote(t)
	a, b := dialKeeper(t, addr, "SUB x"), dialKeeper(t, addr)
	a.want("SUBSCRIBED true")
	b.send("SUB x", "SUB y")
	b.want("SUBSCRIBED true", "SUBSCRIBED true")
	a.c.Close()
	b.send("UNSUB y")
	r.await(t, r.tells, "+x", "+y", "-y")
	b.c.Close()
	r.await(t, r.tells, "+x", "+y", "-y", "-x")
}

// TestInjector: what comes from elsewhere goes to subscribers here, and not back.
func TestInjector(t *testing.T) {
	t.Parallel()
	e, addr, r := startRemote(t)
	r.want("a")
	k := dialKeeper(t, addr, "SUB a")
	k.want("SUBSCRIBED true")
	in := e.NewInjector()
	records := topic.AppendRecord(nil, "", 0, []byte("one"))
	records = topic.AppendRecord(records, "", 0, []byte("two"))
	if err := in.Publish([]byte("a"), records); err != nil {
		t.Fatal(err)
	}
	if err := in.Publish([]byte("nowhere"), records); err != nil {
		t.Fatal(err)
	}
	k.want("one", "two")
	third := topic.AppendRecord(nil, "", 0, []byte("three"))
	for cut := 1; cut < len(third); cut++ {
		bad := append(slices.Clone(third), third[:cut]...)
		if err := in.Publish([]byte("a"), bad); !errors.Is(err, topic.ErrRecord) {
			t.Fatalf("a record cut to %d bytes: %v", cut, err)
		}
		k.want("three")
	}
	r.await(t, r.messages)
}

// TestCrowd: it says what a publisher here would do.
func TestCrowd(t *testing.T) {
	t.Parallel()
	e, addr, _ := startRemote(t)
	crowd := e.NewCrowd("a")
	if !crowd.MayGo() {
		t.Error("nobody is there, and a publisher would wait")
	}
	k := dialKeeper(t, addr, "SUB a")
	k.want("SUBSCRIBED true")
	if !crowd.MayGo() {
		t.Error("nobody is congested, and a publisher would wait")
	}
	in, record := e.NewInjector(), topic.AppendRecord(nil, "", 0, make([]byte, 32<<10))
	held := false
	for range 1000 { // of 32 MiB the first one that the client's socket does not take
		if err := in.Publish([]byte("a"), record); err != nil {
			t.Fatal(err)
		}
		if held = !crowd.MayGo(); held {
			break
		}
	}
	if !held {
		t.Fatal("the only subscriber takes nothing, and a publisher would go on")
	}
	for begun := time.Now(); !crowd.MayGo(); time.Sleep(CrowdPause) {
		if time.Since(begun) > patience {
			t.Fatal("a publisher would wait for ever for who has stalled")
		}
	}
}

// TestWhenSettled: it is once, and behind the last of the topics.
func TestWhenSettled(t *testing.T) {
	t.Parallel()
	e, _, r := startRemote(t)
	names := func(list ...string) iter.Seq[[]byte] {
		return func(yield func([]byte) bool) {
			for _, name := range list {
				if !yield([]byte(name)) {
					return
				}
			}
		}
	}
	calls := 0
	count := func() { calls++ }
	if e.WhenSettled(names("a", "b"), count) {
		t.Error("all is settled, and it says it is not")
	}
	r.unsettled = map[string]bool{"b": true, "c": true}
	if !e.WhenSettled(names("a", "b", "c"), count) {
		t.Error("two are not settled, and it says they are")
	}
	if len(r.waiting) != 2 || calls != 0 {
		t.Fatalf("%d wait and %d calls, want 2 and 0", len(r.waiting), calls)
	}
	r.waiting[1]()
	if calls != 0 {
		t.Error("it is called before the last has settled")
	}
	r.waiting[0]()
	if calls != 1 {
		t.Errorf("called %d times, want once", calls)
	}
	alone, _, _ := startKeeper(t, Config{}, ListenConfig{})
	if alone.WhenSettled(names("b"), count) {
		t.Error("there is nobody elsewhere")
	}
}

// BenchmarkRemote is what it costs a publish to a topic with ten subscribers that there might be
// others elsewhere, and that there are.
func BenchmarkRemote(b *testing.B) {
	for _, arm := range []string{"alone", "nobody", "somebody"} {
		b.Run(arm, func(b *testing.B) {
			config := Config{Loops: 2}
			if arm != "alone" {
				r := newFakeRemote()
				r.wanted["t"] = arm == "somebody"
				config.Remote = &quietRemote{fakeRemote: r, reaches: arm == "somebody"}
			}
			benchmarkPublisher(b, config, "t", 64)
		})
	}
}

// A quietRemote keeps nothing.
type quietRemote struct {
	*fakeRemote
	reaches bool
}

func (r *quietRemote) Reaches([]byte, int64) bool { return r.reaches }
func (r *quietRemote) Congested([]byte) bool      { return false }
func (r *quietRemote) Publish(_, _ []byte, _ int) {}

// Command entries fills the maps of sessions and topics with connections that have no sockets, and says what one of them
// takes and how long the garbage collector stops the world while they come and go. It prints one JSON object.
//
// An entry is what a logged-in connection has there: its uniqId in the directory, its user in the index of users, name included, and a
// subscription, member list included; with -sessions the record of a session that can be resumed, too.
//
// # Goroutines
//
// One per loop for its share of the entries, as in the gateway. None touches what another owns.
package main

import (
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// report is what it prints. Times are nanoseconds, sizes bytes.
type report struct {
	Entries  int     `json:"entries"`
	Entry    float64 `json:"entry"`   // live heap per entry
	RSS      float64 `json:"rss"`     // the process's, at its peak
	Churned  float64 `json:"churned"` // entries replaced per second
	Cycles   float64 `json:"cycles"`  // of the garbage collector, while they were
	PauseP50 float64 `json:"pause50"`
	PauseP99 float64 `json:"pause99"`
	PauseMax float64 `json:"pausemax"`
	Stop99   float64 `json:"stop99"` // until all threads had stopped, which is the first part of a pause
	GCCPU    float64 `json:"gccpu"`  // CPU time of a cycle
}

const loops = 2

// gcPercent is what the gateway's command sets.
const gcPercent = 50

func main() {
	n := flag.Int("n", 1_000_000, "entries")
	topics := flag.Int("topics", 1000, "topics they share")
	sessions := flag.Bool("sessions", false, "remember a session of each")
	rate := flag.Int("rate", 50_000, "entries replaced per second")
	cycles := flag.Uint64("cycles", 50, "garbage collections to watch")
	limit := flag.Duration("limit", 30*time.Second, "longest time to watch")
	flag.Parse()
	if *n < loops || *topics < 1 || *rate < 1 {
		fmt.Fprintln(os.Stderr, "entries: numbers must be above 0")
		os.Exit(2)
	}
	debug.SetGCPercent(gcPercent)
	w := newWorld(*n, *topics, *sessions)
	before := live()
	w.each((*loop).fill)
	r := report{Entries: *n, Entry: float64(live()-before) / float64(*n)}
	w.churn(&r, *rate, *cycles, *limit)
	runtime.KeepAlive(w)
	r.RSS = float64(peak())
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "entries:", err)
		os.Exit(1)
	}
}

// world is what loops share.
type world struct {
	ids     *session.Generator
	conns   *session.Directory
	users   *session.Users
	store   *session.Store // nil: no sessions
	topics  *topic.Directory
	nTopics int
	loops   []*loop
	start   time.Time
	stop    atomic.Bool
	done    atomic.Int64
}

// A loop owns connections, and a place for each that the gateway's slots have anyway: made before anything is measured.
type loop struct {
	*world
	index   int
	shard   *topic.Shard
	members []topic.Member
	keys    []session.Key
	gens    []uint32
	tickets []session.SessionID
	random  *mathrand.Rand
	name    []byte
	waste   []byte // keeps the compiler from seeing that nobody needs it
}

func newWorld(n, topics int, sessions bool) *world {
	w := &world{
		ids: session.NewGenerator(1), conns: session.NewDirectory(0), users: session.NewUsers(),
		topics: topic.NewDirectory(loops), nTopics: topics, start: time.Now(),
	}
	if sessions {
		store, err := session.NewStore(session.StoreConfig{Rand: rand.Reader, MaxRecords: 2 * n})
		if err != nil {
			panic(err) // only without a source of randomness
		}
		w.store = store
	}
	for i := range loops {
		share := (n + loops - 1 - i) / loops
		l := &loop{
			world: w, index: i, keys: make([]session.Key, share), gens: make([]uint32, share),
			random: mathrand.New(mathrand.NewPCG(1, uint64(i))),
		}
		if sessions {
			l.tickets = make([]session.SessionID, share)
		}
		l.members = make([]topic.Member, share)
		l.shard = topic.NewShard(w.topics, i, func(slot uint32) *topic.Member { return &l.members[slot] })
		w.loops = append(w.loops, l)
	}
	return w
}

func (w *world) each(f func(*loop)) {
	var running sync.WaitGroup
	for _, l := range w.loops {
		running.Go(func() { f(l) })
	}
	running.Wait()
}

func (l *loop) fill() {
	for i := range l.members {
		l.open(i)
	}
}

func (l *loop) ref(i int) session.Ref {
	return uint64(l.index)<<56 | uint64(l.gens[i])<<32 | uint64(i+1)
}

func (l *loop) user(i int) string {
	return "user-" + strconv.Itoa(i*loops+l.index)
}

func (l *loop) topic(i int) []byte {
	l.name = strconv.AppendInt(append(l.name[:0], "room-"...), int64((i*loops+l.index)%l.nTopics), 10)
	return l.name
}

func (l *loop) open(i int) {
	ref, user := l.ref(i), l.user(i)
	l.keys[i] = l.ids.Next(l.start)
	l.conns.PutKey(l.keys[i], ref)
	if _, ok := l.users.Claim(user, ref, 0); !ok || !l.users.Commit(user, ref) {
		panic("a user of two loops")
	}
	l.shard.Subscribe(&l.members[i], uint32(i), l.topic(i), 0, topic.Flowing, false)
	if l.store != nil {
		issued, err := l.store.Begin(l.start, ref, session.Login{User: user})
		if err != nil {
			panic(err)
		}
		l.tickets[i] = issued.ID
	}
}

func (l *loop) close(i int) {
	ref := l.ref(i)
	if l.store != nil {
		l.store.End(l.start, l.tickets[i])
	}
	l.shard.Leave(&l.members[i], topic.Flowing)
	l.users.Release(l.user(i), ref)
	l.conns.DeleteKey(l.keys[i], ref)
	l.gens[i]++
}

// garbage is what each replacement leaves behind beside its own, as a login and its handlers do.
const garbage = 4 << 10

// tick is how often a loop replaces what is due.
const tick = 5 * time.Millisecond

// churn replaces entries at random until the collector has run so many times, and fills in what that says.
func (w *world) churn(r *report, rate int, cycles uint64, limit time.Duration) {
	runtime.GC()
	before, begun := read(), time.Now()
	time.AfterFunc(limit, func() { w.stop.Store(true) })
	w.each(func(l *loop) {
		for done := 0; !w.stop.Load(); time.Sleep(tick) {
			for due := int(time.Since(begun).Seconds() * float64(rate) / loops); done < due; done++ {
				i := l.random.IntN(len(l.members))
				l.close(i)
				l.open(i)
				l.waste = make([]byte, garbage)
				w.done.Add(1)
			}
			if l.index == 0 && read().cycles-before.cycles >= cycles {
				w.stop.Store(true)
			}
		}
	})
	after := read()
	r.Churned = float64(w.done.Load()) / time.Since(begun).Seconds()
	r.Cycles = float64(after.cycles - before.cycles)
	r.GCCPU = (after.cpu - before.cpu) * 1e9 / max(r.Cycles, 1)
	r.PauseP50 = quantile(before.pauses, after.pauses, 0.5)
	r.PauseP99 = quantile(before.pauses, after.pauses, 0.99)
	r.PauseMax = quantile(before.pauses, after.pauses, 1)
	r.Stop99 = quantile(before.stops, after.stops, 0.99)
}

// quantile is the upper end, in nanoseconds, of the bucket that a share of all counts lies below
// which have come between two samples.
func quantile(before, after *metrics.Float64Histogram, share float64) float64 {
	buckets := after.Buckets
	counts := make([]uint64, len(after.Counts))
	for i := range counts {
		counts[i] = after.Counts[i] - before.Counts[i]
	}
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return 0
	}
	want, sum := uint64(math.Ceil(share*float64(total))), uint64(0)
	for i, n := range counts {
		if sum += n; sum >= want {
			if end := buckets[i+1]; !math.IsInf(end, 1) {
				return end * 1e9
			}
			return buckets[i] * 1e9
		}
	}
	return 0
}

type sample struct {
	cycles uint64
	cpu    float64                   // seconds
	pauses *metrics.Float64Histogram // stop, work, start
	stops  *metrics.Float64Histogram // the first of these
}

func read() sample {
	m := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/sched/pauses/total/gc:seconds"},
		{Name: "/sched/pauses/stopping/gc:seconds"},
	}
	metrics.Read(m)
	return sample{m[0].Value.Uint64(), m[1].Value.Float64(), m[2].Value.Float64Histogram(), m[3].Value.Float64Histogram()}
}

// live is what is left of the heap after a collection.
func live() uint64 {
	runtime.GC()
	runtime.GC() // what the first one found is swept, and pools are empty
	m := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64()
}

package topic

import (
	"fmt"
	"runtime"
	"testing"
)

// crowd makes a member (slot 0) of n topics, each of which has another subscriber (slot 1).
func crowd(n int) (shard *Shard, members []Member, names [][]byte) {
	members = make([]Member, 2)
	shard = NewShard(NewDirectory(2), 0, func(slot uint32) *Member { return &members[slot] })
	names = make([][]byte, n)
	for i := range names {
		names[i] = fmt.Appendf(nil, "topic/%d", i)
		shard.Subscribe(&members[1], 1, names[i], 0, Flowing, false)
		shard.Subscribe(&members[0], 0, names[i], 0, Flowing, false)
	}
	return shard, members, names
}

var sizes = []int{1, 100, 10_000}

func TestSubscribeAllocatesNothing(t *testing.T) {
	for _, n := range sizes {
		shard, members, names := crowd(n)
		i := 0
		got := testing.AllocsPerRun(2000, func() {
			name := names[i%n]
			i++
			if !shard.Unsubscribe(&members[0], name, Flowing) {
				t.Fatal("not subscribed")
			}
			if _, ok := shard.Subscribe(&members[0], 0, name, 0, Flowing, i%2 == 0); !ok {
				t.Fatal("subscribed already")
			}
		})
		if got != 0 {
			t.Errorf("%d topics: %v allocations per unsubscribe and subscribe", n, got)
		}
	}
}

func BenchmarkUnsubscribeSubscribe(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint("topics=", n), func(b *testing.B) {
			shard, members, names := crowd(n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				name := names[i%n]
				i++
				shard.Unsubscribe(&members[0], name, Flowing)
				shard.Subscribe(&members[0], 0, name, 0, Flowing, false)
			}
		})
	}
}

// BenchmarkLeave reports the time per subscription.
func BenchmarkLeave(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint("topics=", n), func(b *testing.B) {
			shard, members, names := crowd(n)
			b.ReportAllocs()
			for b.Loop() {
				shard.Leave(&members[0], Flowing)
				b.StopTimer()
				for _, name := range names {
					shard.Subscribe(&members[0], 0, name, 0, Flowing, false)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/subscription")
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	shard, _, names := crowd(10_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok := shard.dir.Lookup(names[i%len(names)]); !ok {
			b.Fatal("no such topic")
		}
		i++
	}
}

// BenchmarkWalk walks the subscribers of one topic, as a delivery does.
func BenchmarkWalk(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint("subscribers=", n), func(b *testing.B) {
			members := make([]Member, n)
			shard := NewShard(NewDirectory(1), 0, func(slot uint32) *Member { return &members[slot] })
			for slot := range members {
				shard.Subscribe(&members[slot], uint32(slot), []byte("t"), 0, Flowing, false)
			}
			k, _ := shard.dir.Lookup([]byte("t"))
			b.ReportAllocs()
			sum := uint32(0)
			for b.Loop() {
				for _, s := range shard.Subscribers(k) {
					sum += s.Slot
				}
			}
			_ = sum
		})
	}
}

// BenchmarkMemory reports what is alive after 100,000 subscriptions: each member its own topic,
// all members one topic, and each member ten of a thousand topics.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for _, bc := range []struct {
		what      string
		per       string
		perMember int
		name      func(dst []byte, member, i int) []byte
	}{
		{"own topic", "B/topic", 1, func(dst []byte, m, _ int) []byte { return fmt.Appendf(dst, "user/%09d", m) }},
		{"one topic", "B/subscription", 1, func(dst []byte, _, _ int) []byte { return append(dst, "news"...) }},
		{"ten topics each", "B/subscription", 10, func(dst []byte, m, i int) []byte { return fmt.Appendf(dst, "room/%d", (m*7+i*101)%1000) }},
	} {
		b.Run(bc.what, func(b *testing.B) {
			for b.Loop() {
				members := make([]Member, n/bc.perMember)
				var name []byte
				before := liveHeap()
				shard := NewShard(NewDirectory(2), 0, func(slot uint32) *Member { return &members[slot] })
				subscriptions := 0
				for m := range members {
					for i := range bc.perMember {
						name = bc.name(name[:0], m, i)
						if _, ok := shard.Subscribe(&members[m], uint32(m), name, 0, Flowing, false); ok {
							subscriptions++
						}
					}
				}
				after := liveHeap()
				if subscriptions != n {
					b.Fatalf("%d subscriptions, want %d", subscriptions, n)
				}
				b.ReportMetric(float64(after-before)/float64(subscriptions), bc.per)
				runtime.KeepAlive(shard)
				runtime.KeepAlive(members)
			}
		})
	}
}

func liveHeap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

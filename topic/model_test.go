package topic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A world is a directory and its shards beside the plain maps they must agree with.
type world struct {
	t       *testing.T
	dir     *Directory
	shards  []*Shard
	members [][]Member // by loop and slot

	subs     map[string]map[place]bool
	dialects map[string]uint32 // since the topic came to be
	count    int
	pressure map[place]Pressure
	fresh    map[place]map[string]bool // marked fresh, by topic
	dead     []Key                     // of topics that have gone
}

type place struct {
	loop int
	slot uint32
}

func newWorld(t *testing.T, loops, slots int) *world {
	w := &world{
		t:        t,
		dir:      NewDirectory(loops),
		members:  make([][]Member, loops),
		subs:     make(map[string]map[place]bool),
		dialects: make(map[string]uint32),
		pressure: make(map[place]Pressure),
		fresh:    make(map[place]map[string]bool),
	}
	for i := range loops {
		w.members[i] = make([]Member, slots)
		w.shards = append(w.shards, NewShard(w.dir, i, func(slot uint32) *Member { return &w.members[i][slot] }))
	}
	return w
}

func (w *world) member(p place) *Member { return &w.members[p.loop][p.slot] }

func (w *world) subscribe(p place, name string, dialect uint8) {
	w.t.Helper()
	want := !w.subs[name][p]
	w.count++
	fresh := w.count%3 == 0
	k, got := w.shards[p.loop].Subscribe(w.member(p), p.slot, []byte(name), dialect, w.pressure[p], fresh)
	if again, ok := w.dir.Lookup([]byte(name)); got != want || !ok || k != again {
		w.t.Fatalf("Subscribe %v %q = %v, %v, want %v, %v", p, name, k, got, again, want)
	}
	if !want {
		return
	}
	if w.subs[name] == nil {
		w.subs[name] = make(map[place]bool)
	}
	w.subs[name][p] = true
	if w.fresh[p] == nil {
		w.fresh[p] = make(map[string]bool)
	}
	w.fresh[p][name] = fresh
	w.dialects[name] |= 1 << dialect
}

func (w *world) unsubscribe(p place, name string) {
	w.t.Helper()
	k, _ := w.dir.Lookup([]byte(name))
	want := w.subs[name][p]
	if got := w.shards[p.loop].Unsubscribe(w.member(p), []byte(name), w.pressure[p]); got != want {
		w.t.Fatalf("Unsubscribe %v %q = %v, want %v", p, name, got, want)
	}
	w.forget(p, name, k)
}

func (w *world) settle(p place, name string) {
	if k, ok := w.dir.Lookup([]byte(name)); ok {
		w.shards[p.loop].Settle(w.member(p), k.ID) // whether subscribed or not
		if w.subs[name][p] {
			w.fresh[p][name] = false
		}
	}
}

func (w *world) leave(p place) {
	keys := make(map[string]Key)
	for name := range w.subs {
		keys[name], _ = w.dir.Lookup([]byte(name))
	}
	w.shards[p.loop].Leave(w.member(p), w.pressure[p])
	for name, k := range keys {
		w.forget(p, name, k)
	}
}

func (w *world) forget(p place, name string, k Key) {
	if !w.subs[name][p] {
		return
	}
	if delete(w.subs[name], p); len(w.subs[name]) == 0 {
		delete(w.subs, name)
		delete(w.dialects, name)
		w.dead = append(w.dead, k)
	}
}

func (w *world) press(p place, to Pressure) {
	if w.pressure[p] == to {
		return
	}
	w.shards[p.loop].Press(w.member(p), w.pressure[p], to)
	w.pressure[p] = to
}

// check compares everything that can be asked with the maps.
func (w *world) check(names []string) {
	w.t.Helper()
	for _, name := range names {
		want := w.subs[name]
		if got := w.dir.Count([]byte(name)); got != len(want) {
			w.t.Fatalf("Count(%q) = %d, want %d", name, got, len(want))
		}
		k, ok := w.dir.Lookup([]byte(name))
		if ok != (len(want) > 0) {
			w.t.Fatalf("Lookup(%q) = %v with %d subscribers", name, ok, len(want))
		}
		if !ok {
			continue
		}
		if !w.dir.Live(k) {
			w.t.Fatalf("%q has subscribers and is not live", name)
		}
		if got := w.dir.Dialects(k); got != w.dialects[name] {
			w.t.Fatalf("Dialects(%q) = %b, want %b", name, got, w.dialects[name])
		}
		for loop, s := range w.shards {
			w.checkShard(name, k, loop, s)
		}
	}
	if w.dir.Len() != len(w.subs) {
		w.t.Fatalf("Len = %d, want %d", w.dir.Len(), len(w.subs))
	}
	got := w.dir.Names(nil)
	if slices.Sort(got); !slices.Equal(got, sortedKeys(w.subs)) {
		w.t.Fatalf("Names = %q, want %q", got, sortedKeys(w.subs))
	}
	for loop := range w.members {
		for slot := range w.members[loop] {
			w.checkMember(place{loop, uint32(slot)})
		}
	}
	for _, k := range w.dead {
		if w.dir.Live(k) {
			w.t.Fatalf("%v of a topic that has gone is live", k)
		}
		for loop, s := range w.shards {
			if subs := s.Subscribers(k); len(subs) > 0 {
				w.t.Fatalf("loop %d has subscribers %v for %v, a topic that has gone", loop, subs, k)
			}
		}
	}
}

func (w *world) checkShard(name string, k Key, loop int, s *Shard) {
	w.t.Helper()
	var count, congested, excluded int
	for p := range w.subs[name] {
		if p.loop == loop {
			count++
			switch w.pressure[p] {
			case Congested:
				congested++
			case Excluded:
				excluded++
			}
		}
	}
	if got := w.dir.Subscribers(k, loop); got != count {
		w.t.Fatalf("Subscribers(%q, %d) = %d, want %d", name, loop, got, count)
	}
	if got := w.dir.Pressure(k, loop); got.Congested != congested || got.Excluded != excluded {
		w.t.Fatalf("Pressure(%q, %d) = %+v; want %d, %d", name, loop, got, congested, excluded)
	}
	subs := s.Subscribers(k)
	if len(subs) != count {
		w.t.Fatalf("loop %d, %q: %d subscribers, want %d", loop, name, len(subs), count)
	}
	for i, sub := range subs {
		if !w.subs[name][place{loop, sub.Slot}] {
			w.t.Fatalf("loop %d, %q: slot %d has not subscribed", loop, name, sub.Slot)
		}
		if want := w.fresh[place{loop, sub.Slot}][name]; sub.Fresh() != want {
			w.t.Fatalf("loop %d, %q, slot %d: fresh is %v, want %v", loop, name, sub.Slot, sub.Fresh(), want)
		}
		back := w.members[loop][sub.Slot].at(sub.index &^ freshBit)
		if back.topic != k.ID || back.position != uint32(i) {
			w.t.Fatalf("loop %d, %q, slot %d: place %d of its list says %+v, want topic %d, position %d",
				loop, name, sub.Slot, sub.index, *back, k.ID, i)
		}
	}
}

func (w *world) checkMember(p place) {
	w.t.Helper()
	var want []string
	for name, who := range w.subs {
		if who[p] {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	m, s := w.member(p), w.shards[p.loop]
	if m.Len() != len(want) {
		w.t.Fatalf("%v: Len = %d, want %d", p, m.Len(), len(want))
	}
	got := s.Names(nil, m)
	if slices.Sort(got); !slices.Equal(got, want) {
		w.t.Fatalf("%v: Names = %q, want %q", p, got, want)
	}
	for i := range m.Len() {
		sub := m.at(uint32(i))
		if there := s.topics[sub.topic].subs[sub.position]; there.Slot != p.slot || there.index&^freshBit != uint32(i) {
			w.t.Fatalf("%v: topic %d, position %d says %+v, want index %d", p, sub.topic, sub.position, there, i)
		}
		if m.find(sub.topic) != i {
			w.t.Fatalf("%v: find(%d) = %d, want %d", p, sub.topic, m.find(sub.topic), i)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestAgainstModel(t *testing.T) {
	const loops, slots, topics = 3, 5, 40
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprintf("topic %d", i)
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t, loops, slots)
			for step := range 2500 {
				p := place{rnd.IntN(loops), uint32(rnd.IntN(slots))}
				name := names[rnd.IntN(topics)]
				// Tides: members fill up beyond what is searched one by one, then empty.
				grow := 3
				if step/500%2 == 0 {
					grow = 7
				}
				switch n := rnd.IntN(100); {
				case n < 2:
					w.leave(p)
				case n < 14:
					w.settle(p, name)
				case n < 20:
					w.press(p, Pressure(rnd.IntN(3)))
				case n%10 < grow:
					w.subscribe(p, name, uint8(rnd.IntN(3)))
				default:
					w.unsubscribe(p, name)
				}
				w.check(names)
			}
			for p := range places(loops, slots) {
				w.leave(p)
			}
			w.check(names)
			if w.dir.Len() != 0 {
				t.Errorf("%d topics are left of nobody", w.dir.Len())
			}
		})
	}
}

func places(loops, slots int) func(yield func(place) bool) {
	return func(yield func(place) bool) {
		for loop := range loops {
			for slot := range slots {
				if !yield(place{loop, uint32(slot)}) {
					return
				}
			}
		}
	}
}

// A run that was posted for a topic reaches nobody when the topic's number has gone to another
// one meanwhile, whatever loops the two had subscribers on.
func TestNumberUsedAgain(t *testing.T) {
	w := newWorld(t, 2, 2)
	first, second := place{0, 0}, place{1, 1}
	w.subscribe(first, "old", 0)
	old, _ := w.dir.Lookup([]byte("old"))
	for range 100 {
		w.unsubscribe(first, "old")
		if w.dir.Live(old) {
			t.Fatal("a topic without subscribers is live")
		}
		w.subscribe(second, "new", 1)
		w.subscribe(first, "new", 1)
		k, _ := w.dir.Lookup([]byte("new"))
		if k.ID != old.ID || k.Gen == old.Gen {
			t.Fatalf("new topic is %v after %v, want the same number and another generation", k, old)
		}
		w.check([]string{"old", "new"})
		if w.dir.Dialects(k) != 1<<1 {
			t.Fatalf("the new topic has the dialects %b of the old one", w.dir.Dialects(k))
		}
		w.unsubscribe(second, "new")
		w.unsubscribe(first, "new")
		w.subscribe(first, "old", 0)
		old, _ = w.dir.Lookup([]byte("old"))
	}
	if old.ID != 1 {
		t.Errorf("one topic at a time needed %d numbers", old.ID)
	}
}

func TestZeroKey(t *testing.T) {
	w := newWorld(t, 2, 1)
	for range 2 { // before and after there is a first topic
		if w.dir.Live(Key{}) {
			t.Error("the zero Key is live")
		}
		if n := w.dir.Subscribers(Key{}, 1); n != 0 || w.dir.Dialects(Key{}) != 0 {
			t.Errorf("the zero Key has subscribers: %d, %b", n, w.dir.Dialects(Key{}))
		}
		if subs := w.shards[0].Subscribers(Key{}); subs != nil {
			t.Errorf("the zero Key has subscribers %v", subs)
		}
		w.subscribe(place{0, 0}, "a", 0)
	}
}

func TestMemberSizes(t *testing.T) {
	for _, n := range []int{1, 2, searchable, searchable + 1, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(n), 2))
			w := newWorld(t, 2, 3)
			me, other := place{0, 1}, place{0, 2}
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprintf("topic %d", i)
				if i%2 == 0 {
					w.subscribe(other, names[i], 0)
				}
				w.subscribe(me, names[i], 0)
			}
			w.check(names)
			for _, name := range names {
				w.subscribe(me, name, 0) // again: refused
			}
			w.press(me, Congested)
			w.check(names)
			rnd.Shuffle(n, func(i, j int) { names[i], names[j] = names[j], names[i] })
			for _, name := range names[:n/2] {
				w.unsubscribe(me, name)
				w.unsubscribe(me, name) // again: refused
			}
			w.check(names)
			for _, name := range names[:n/4] {
				w.subscribe(me, name, 0)
			}
			w.check(names)
			w.leave(me)
			w.check(names)
			if *w.member(me) != (Member{}) {
				t.Errorf("a member that left keeps %+v", *w.member(me))
			}
			w.leave(other)
			w.check(names)
		})
	}
}

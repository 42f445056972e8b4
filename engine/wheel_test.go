package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// wheelModel is what a wheel must agree with: a map, searched from end to end.
type wheelModel struct {
	due map[uint32]uint32
	now uint32
}

func (m *wheelModel) set(slot, due uint32) { m.due[slot] = max(due, m.now+1) }

func (m *wheelModel) expire(now uint32) []uint32 {
	var slots []uint32
	m.now = max(m.now, now)
	for slot, due := range m.due {
		if due <= m.now {
			slots = append(slots, slot)
			delete(m.due, slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// expireAll expires some at a time, until there are no more.
func expireAll(w *wheel, now uint32) (slots []uint32) {
	for {
		part, more := w.expire(make([]uint32, 0, 3), now)
		slots = append(slots, part...)
		if !more {
			return slots
		}
	}
}

// checkWheel compares the wheel's lists, bits and promises with the model.
func checkWheel(t *testing.T, w *wheel, m *wheelModel) {
	t.Helper()
	if w.count != len(m.due) {
		t.Fatalf("%d deadlines, want %d", w.count, len(m.due))
	}
	next, ok := w.next()
	if ok != (len(m.due) > 0) {
		t.Fatalf("next says %v with %d deadlines", ok, len(m.due))
	}
	if ok {
		if earliest := slices.Min(slices.Collect(maps.Values(m.due))); next > earliest || next <= m.now {
			t.Fatalf("next = %d at %d, the earliest deadline is %d", next, m.now, earliest)
		}
	}
	listed := 0
	for b := range uint32(wheelSize) {
		if busy := w.busy[b/64]&(1<<(b%64)) != 0; busy != (w.buckets[b] != 0) {
			t.Fatalf("bucket %d: busy %v, head %d", b, busy, w.buckets[b])
		}
		before := uint32(0)
		for i := w.buckets[b]; i != 0; i = w.nodes[i].next {
			n := w.nodes[i]
			if n.prev != before || n.due%wheelSize != b || n.due != m.due[i-1] {
				t.Fatalf("bucket %d, slot %d: %+v behind %d, want due %d", b, i-1, n, before, m.due[i-1])
			}
			before = i
			listed++
		}
	}
	if listed != len(m.due) {
		t.Fatalf("%d deadlines in the lists, want %d", listed, len(m.due))
	}
}

func TestWheelAgainstModel(t *testing.T) {
	const slots = 60
	for _, tc := range []struct {
		name  string
		start uint32
		ahead int // deadlines are up to so far away
		jump  int // time advances by up to so much
	}{
		{"near", 0, 50, 20},
		{"keep-alives", 0, 1500, 30},
		{"many turns ahead", 0, 20 * wheelSize, 400},
		{"jumps over the wheel", 0, 3 * wheelSize, 3 * wheelSize},
		{"a year later", 315_360_000, 2 * wheelSize, wheelSize},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(5, uint64(tc.ahead)))
			var w wheel
			m := &wheelModel{due: map[uint32]uint32{}}
			expireAll(&w, tc.start)
			m.expire(tc.start)
			for range 6000 {
				slot := uint32(rnd.IntN(slots))
				switch n := rnd.IntN(10); {
				case n < 5:
					due := m.now + uint32(rnd.IntN(tc.ahead))
					if n == 0 { // in the past
						due -= min(due, uint32(rnd.IntN(100)))
					}
					w.set(slot, due)
					m.set(slot, due)
				case n < 7:
					w.clear(slot)
					delete(m.due, slot)
				default:
					now := m.now + uint32(rnd.IntN(tc.jump))
					if rnd.IntN(20) == 0 {
						now = m.now - min(m.now, 5) // a clock never goes back, a caller may
					}
					part, more := w.expire(make([]uint32, 0, 1+rnd.IntN(3)), now)
					if more { // others go on in the middle of it
						w.clear(slot)
						delete(m.due, slot)
					}
					got := append(part, expireAll(&w, now)...)
					slices.Sort(got)
					if i := slices.Index(got, slot); more && i >= 0 { // it was among the first
						m.due[slot] = m.now
					}
					if want := m.expire(now); !slices.Equal(got, want) {
						t.Fatalf("expired at %d: %v, want %v", now, got, want)
					}
				}
				checkWheel(t, &w, m)
			}
		})
	}
}

// The edges of a turn of the wheel: deadlines one tick before, at, and after it.
func TestWheelTurnEdges(t *testing.T) {
	for _, start := range []uint32{0, 1, 63, 64, wheelSize - 1, wheelSize, 5*wheelSize + 7} {
		for _, d := range []uint32{1, 63, 64, 65, wheelSize - 1, wheelSize, wheelSize + 1, 3 * wheelSize} {
			for _, step := range []uint32{1, 100, wheelSize - 1, wheelSize, wheelSize + 1, 4 * wheelSize} {
				var w wheel
				expireAll(&w, start)
				w.set(7, start+d)
				for now := start; ; now += step {
					got := expireAll(&w, now)
					if early := now < start+d; early != (len(got) == 0) {
						t.Fatalf("start %d, deadline +%d, step %d: expired %v at +%d", start, d, step, got, now-start)
					}
					if len(got) > 0 {
						break
					}
					if next, ok := w.next(); !ok || next > start+d || next <= now {
						t.Fatalf("start %d, deadline +%d: at +%d next is %d, %v", start, d, now-start, next, ok)
					}
				}
			}
		}
	}
}

// Following next reaches each deadline exactly when it is due, in few steps.
func TestWheelFollowNext(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 6))
	var w wheel
	due := map[uint32]uint32{}
	for slot := range uint32(500) {
		due[slot] = 1 + uint32(rnd.IntN(10*wheelSize))
		w.set(slot, due[slot])
	}
	steps := 0
	for len(due) > 0 {
		tick, ok := w.next()
		if !ok {
			t.Fatalf("%d deadlines are left and next knows of none", len(due))
		}
		for _, slot := range expireAll(&w, tick) {
			if due[slot] != tick {
				t.Fatalf("slot %d came at %d, due %d", slot, tick, due[slot])
			}
			delete(due, slot)
		}
		steps++
	}
	if steps > 500*10 {
		t.Errorf("%d wake-ups for 500 deadlines", steps)
	}
}

func TestWheelMillion(t *testing.T) {
	const n = 1_000_000
	rnd := rand.New(rand.NewPCG(7, 7))
	var w wheel
	due := make([]uint32, n)
	for slot := range due {
		due[slot] = 1 + uint32(rnd.IntN(3*wheelSize))
		w.set(uint32(slot), due[slot])
	}
	for slot := range due { // most clients are heard of again and again
		if slot%3 != 0 {
			due[slot] += 900
			w.set(uint32(slot), due[slot])
		}
	}
	expired := make([]uint32, 0, n)
	for now := uint32(0); w.count > 0; {
		now += 1 + uint32(rnd.IntN(200))
		expired, _ = w.expire(expired[:0], now)
		for _, slot := range expired {
			if d := due[slot]; d == 0 || d > now || d+200 < now {
				t.Fatalf("slot %d came at %d, due %d", slot, now, d)
			}
			due[slot] = 0
		}
	}
	for slot, d := range due {
		if d != 0 {
			t.Fatalf("slot %d never came", slot)
		}
	}
	if _, ok := w.next(); ok {
		t.Error("an empty wheel has a next deadline")
	}
}

func TestWheelAllocatesNothing(t *testing.T) {
	var w wheel
	w.set(1000, 5)
	dst := make([]uint32, 0, 8)
	slot, now := uint32(0), uint32(0)
	if got := testing.AllocsPerRun(5000, func() {
		slot = (slot + 7) % 1000
		now++
		w.set(slot, now+900)
		dst, _ = w.expire(dst[:0], now)
	}); got != 0 {
		t.Errorf("%v allocations per deadline", got)
	}
}

func BenchmarkWheelSet(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint("slots=", n), func(b *testing.B) {
			var w wheel
			w.set(uint32(n-1), 1)
			b.ReportAllocs()
			slot, now := uint32(0), uint32(0)
			for b.Loop() {
				slot = (slot + 7919) % uint32(n)
				now++
				w.set(slot, 900+now%64)
			}
		})
	}
}

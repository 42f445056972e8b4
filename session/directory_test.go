package session

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// directoryIDs has one id for each way of keeping it, for a gateway with server id 0xAB.
var directoryIDs = []struct{ name, id string }{
	{"our own", "AB6553F100DEADBEEF"},
	{"other server id", "AC6553F100DEADBEEF"},
	{"lower case", "ab6553f100deadbeef"},
	{"custom", "user-1"},
	{"one byte", "\x00"},
	{"longest", strings.Repeat("z", MaxIDLen)},
	{"any bytes", "\xff\xfe\n"},
}

func TestDirectory(t *testing.T) {
	d := NewDirectory(0xAB)
	for i, v := range directoryIDs {
		first, second, third := Ref(10*i+1), Ref(10*i+2), Ref(10*i+3)
		if got := d.Get(v.id); got != 0 {
			t.Errorf("%s: absent id gives %d", v.name, got)
		}
		if prev, err := d.Put(v.id, first); prev != 0 || err != nil {
			t.Errorf("%s: Put = %d, %v", v.name, prev, err)
		}
		if holder, err := d.PutIfAbsent(v.id, third); holder != first || err != nil {
			t.Errorf("%s: PutIfAbsent = %d, %v, want holder %d", v.name, holder, err, first)
		}
		if prev, err := d.Put(v.id, second); prev != first || err != nil {
			t.Errorf("%s: take-over = %d, %v, want %d", v.name, prev, err, first)
		}
		if d.Delete(v.id, first) {
			t.Errorf("%s: the evicted holder erased its successor", v.name)
		}
		if got, gotBytes := d.Get(v.id), d.GetBytes([]byte(v.id)); got != second || gotBytes != second {
			t.Errorf("%s: Get = %d, GetBytes = %d, want %d", v.name, got, gotBytes, second)
		}
		if d.Len() != 1 {
			t.Errorf("%s: Len = %d", v.name, d.Len())
		}
		if !d.Delete(v.id, second) || d.Delete(v.id, second) || d.Get(v.id) != 0 || d.Len() != 0 {
			t.Errorf("%s: not deleted exactly once", v.name)
		}
		if holder, err := d.PutIfAbsent(v.id, third); holder != 0 || err != nil || d.Get(v.id) != third {
			t.Errorf("%s: PutIfAbsent of a free id = %d, %v", v.name, holder, err)
		}
		d.Delete(v.id, third)
	}
}

func TestDirectoryKeyAndNameAreOne(t *testing.T) {
	d := NewDirectory(0xAB)
	const k = Key(0x6553F100_DEADBEEF)
	if _, err := d.Put("AB6553F100DEADBEEF", 1); err != nil {
		t.Fatal(err)
	}
	if got := d.PutKeyIfAbsent(k, 2); got != 1 {
		t.Errorf("PutKeyIfAbsent = %d, want the holder of the name", got)
	}
	if got := d.PutKey(k, 3); got != 1 || d.Get("AB6553F100DEADBEEF") != 3 {
		t.Errorf("PutKey = %d, then Get = %d", got, d.Get("AB6553F100DEADBEEF"))
	}
	if d.DeleteKey(k, 1) || d.GetKey(k) != 3 || !d.DeleteKey(k, 3) || d.GetKey(k) != 0 {
		t.Error("DeleteKey does not follow the holder")
	}
}

func TestDirectoryBadIDs(t *testing.T) {
	d := NewDirectory(0)
	for _, id := range []string{"", strings.Repeat("x", MaxIDLen+1)} {
		if _, err := d.Put(id, 1); !errors.Is(err, ErrIDLength) {
			t.Errorf("Put of %d bytes: %v", len(id), err)
		}
		if _, err := d.PutIfAbsent(id, 1); !errors.Is(err, ErrIDLength) {
			t.Errorf("PutIfAbsent of %d bytes: %v", len(id), err)
		}
		if d.Get(id) != 0 || d.GetBytes([]byte(id)) != 0 || d.Delete(id, 1) || d.Len() != 0 {
			t.Errorf("an id of %d bytes left a trace", len(id))
		}
	}
}

func TestDirectoryCopiesIDs(t *testing.T) {
	d := NewDirectory(0)
	packet := []byte("uniq-42")
	id := string(packet)
	d.Put(id, 1)
	copy(packet, "xxxxxxx")
	if d.Get("uniq-42") != 1 {
		t.Error("entry changed with the packet")
	}
}

func TestDirectoryRange(t *testing.T) {
	d := NewDirectory(0xAB)
	want := map[string]Ref{}
	for i := range 500 {
		id := fmt.Sprintf("custom-%d", i)
		want[id] = Ref(i + 1)
		d.Put(id, Ref(i+1))
		k := Key(i) * 0x9E3779B97F4A7C15
		want[FormatID(0xAB, k)] = Ref(i + 1001)
		d.PutKey(k, Ref(i+1001))
	}
	got := map[string]Ref{}
	d.Range(func(id []byte, ref Ref) bool {
		if _, twice := got[string(id)]; twice {
			t.Errorf("%q twice", id)
		}
		got[string(id)] = ref
		if d.GetBytes(id) != ref { // no lock is held here
			t.Errorf("%q: other ref inside Range", id)
		}
		return true
	})
	if len(got) != len(want) {
		t.Fatalf("%d ids, want %d", len(got), len(want))
	}
	for id, ref := range want {
		if got[id] != ref {
			t.Errorf("%q = %d, want %d", id, got[id], ref)
		}
	}
	for _, stop := range []int{1, 499, 501, 999} {
		n := 0
		d.Range(func([]byte, Ref) bool { n++; return n < stop })
		if n != stop {
			t.Errorf("stopped after %d calls, want %d", n, stop)
		}
	}
}

// Many connections take the same few ids from each other; each, once evicted, deletes late. Whoever holds an id at the
// end must still be found by it.
func TestDirectoryEvictedHolderNeverErases(t *testing.T) {
	d := NewDirectory(0xAB)
	var ids []string
	for i := range 4 {
		ids = append(ids, FormatID(0xAB, Key(i)), fmt.Sprintf("custom-%d", i))
	}
	var nextRef atomic.Uint64
	for round := range 50 {
		evicted := make([]atomic.Uint64, 8*64) // refs that lost their id
		var n atomic.Int64
		inParallel(8, func(i int) {
			r := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			for range 64 {
				id := ids[r.IntN(len(ids))]
				ref := nextRef.Add(1)
				prev, err := d.Put(id, ref)
				if err != nil {
					t.Error(err)
				}
				if prev != 0 {
					evicted[n.Add(1)-1].Store(prev)
					if d.Delete(id, prev) {
						t.Errorf("evicted %d erased %q", prev, id)
					}
				}
				if d.Get(id) == 0 {
					t.Errorf("%q lost", id)
				}
			}
		})
		held := map[Ref]bool{}
		d.Range(func(_ []byte, ref Ref) bool { held[ref] = true; return true })
		if len(held) != d.Len() || len(held) > len(ids) {
			t.Fatalf("%d holders of %d ids", len(held), d.Len())
		}
		for i := range int(n.Load()) {
			if held[evicted[i].Load()] {
				t.Fatalf("round %d: evicted connection holds an id again", round)
			}
		}
	}
}

func TestDirectoryRangeDuringChanges(t *testing.T) {
	d := NewDirectory(1)
	for i := range 1000 {
		d.PutKey(Key(i), Ref(i+1)) // these stay
	}
	inParallel(4, func(i int) {
		if i == 0 {
			for range 20 {
				stayed := 0
				d.Range(func(id []byte, ref Ref) bool {
					if ref <= 1000 {
						stayed++
					}
					return true
				})
				if stayed != 1000 {
					t.Errorf("Range saw %d of 1000 ids that stay", stayed)
				}
			}
			return
		}
		for j := range 2000 {
			k, ref := Key(i<<32|j), Ref(i<<32|j)
			d.PutKey(k, ref)
			if !d.DeleteKey(k, ref) {
				t.Error("lost an id of its own")
			}
		}
	})
}

func TestDirectoryGetAllocatesNothing(t *testing.T) {
	d := NewDirectory(0xAB)
	for _, v := range directoryIDs {
		d.Put(v.id, 7)
		b := []byte(v.id)
		wantNoAllocs(t, "Get "+v.name, func() { d.Get(v.id) })
		wantNoAllocs(t, "GetBytes "+v.name, func() { d.GetBytes(b) })
	}
	wantNoAllocs(t, "GetKey", func() { d.GetKey(0x6553F100_DEADBEEF) })
	wantNoAllocs(t, "PutKey of a known key", func() { d.PutKey(0x6553F100_DEADBEEF, 8) })
}

// fillDirectory makes n entries as a gateway would: consecutive counters, some thousand a second.
func fillDirectory(n int) *Directory {
	d := NewDirectory(1)
	g := NewGenerator(0xDEADBEEF)
	for i := range n {
		d.PutKey(g.Next(after(time.Duration(i)*time.Second/5000)), Ref(i+1))
	}
	return d
}

func TestDirectoryMemory(t *testing.T) {
	const n = 200_000
	before := liveBytes()
	d := fillDirectory(n)
	perEntry := float64(liveBytes()-before) / n
	runtime.KeepAlive(d)
	if perEntry > 60 { // 38 at the sizes measured, up to 1.9 times that just after the maps have grown
		t.Errorf("%.1f bytes an entry", perEntry)
	}
}

func BenchmarkDirectoryMemory(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		before := liveBytes()
		d := fillDirectory(n)
		perEntry := float64(liveBytes()-before) / n
		b.ReportMetric(perEntry, "B/entry")
		if perEntry > 60 {
			b.Errorf("%.1f bytes an entry", perEntry)
		}
		runtime.KeepAlive(d)
	}
}

func BenchmarkDirectoryGet(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		d := fillDirectory(n)
		var ids [][]byte
		d.Range(func(id []byte, _ Ref) bool {
			ids = append(ids, append([]byte(nil), id...))
			return len(ids) < 1000
		})
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(IDLen)
			for i := 0; b.Loop(); i++ {
				if d.GetBytes(ids[i%len(ids)]) == 0 {
					b.Fatal("lost")
				}
			}
		})
	}
}

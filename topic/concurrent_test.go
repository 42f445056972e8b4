package topic

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// TestConcurrentLoops has each goroutine own a shard, as a loop does, while publishers look
// topics up.
func TestConcurrentLoops(t *testing.T) {
	const loops, slots, topics, steps = 4, 8, 30, 8000
	dir := NewDirectory(loops)
	names := make([][]byte, topics)
	for i := range names {
		names[i] = fmt.Appendf(nil, "topic %d", i)
	}

	var owners, publishers sync.WaitGroup
	var done atomic.Bool
	for range 2 {
		publishers.Go(func() {
			rnd := rand.New(rand.NewPCG(rand.Uint64(), 3))
			for i := 0; !done.Load(); i++ {
				name := names[rnd.IntN(topics)]
				k, ok := dir.Lookup(name)
				if !ok {
					continue
				}
				dir.Live(k)
				if d := dir.Dialects(k); d&^3 != 0 {
					t.Errorf("dialects %b, want no more than 11", d)
				}
				for loop := range loops {
					if n := dir.Subscribers(k, loop); n < 0 || n > slots {
						t.Errorf("%d subscribers on a loop of %d", n, slots)
					}
					if p := dir.Pressure(k, loop); p.Congested < 0 || p.Congested > slots || p.Excluded < 0 || p.Excluded > slots {
						t.Errorf("%+v of subscribers on a loop of %d", p, slots)
					}
				}
				if n := dir.Count(name); n < 0 || n > loops*slots {
					t.Errorf("%d subscribers of %d", n, loops*slots)
				}
				if i%64 == 0 {
					if n := len(dir.Names(nil)); n > topics {
						t.Errorf("%d topics of %d", n, topics)
					}
					if n := dir.Len(); n < 0 || n > topics {
						t.Errorf("Len = %d of %d", n, topics)
					}
				}
			}
		})
	}

	for loop := range loops {
		owners.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(loop), 4))
			members := make([]Member, slots)
			pressure := make([]Pressure, slots)
			shard := NewShard(dir, loop, func(slot uint32) *Member { return &members[slot] })
			for range steps {
				slot := uint32(rnd.IntN(slots))
				m, name := &members[slot], names[rnd.IntN(topics)]
				switch n := rnd.IntN(20); {
				case n == 0:
					shard.Leave(m, pressure[slot])
				case n == 1:
					to := (pressure[slot] + 1) % 3
					shard.Press(m, pressure[slot], to)
					pressure[slot] = to
				case n < 11:
					if _, ok := shard.Subscribe(m, slot, name, uint8(n%2), pressure[slot], n%3 == 0); ok {
						// A topic we are in stays alive, and is the one we asked for.
						k, ok := dir.Lookup(name)
						if !ok || !dir.Live(k) || dir.Name(k.ID) != string(name) {
							t.Errorf("subscribed to %q and found %v, %v", name, k, ok)
						}
						if subs := shard.Subscribers(k); len(subs) == 0 || len(subs) != dir.Subscribers(k, loop) {
							t.Errorf("%d subscribers, the directory says %d", len(subs), dir.Subscribers(k, loop))
						}
					}
				default:
					shard.Unsubscribe(m, name, pressure[slot])
				}
			}
			for slot := range members {
				shard.Leave(&members[slot], pressure[slot])
			}
		})
	}
	owners.Wait()
	done.Store(true)
	publishers.Wait()

	if dir.Len() != 0 || len(dir.Names(nil)) != 0 {
		t.Errorf("%d topics are left: %q", dir.Len(), dir.Names(nil))
	}
	for _, p := range *dir.pages.Load() {
		for i := range p.counts {
			if n := p.counts[i].Load(); n != 0 {
				t.Errorf("counter %d is left at %d", i, n)
			}
		}
	}
	if got, made := len(dir.free), int(dir.next)-1; got != made {
		t.Errorf("%d of %d numbers came back", got, made)
	}
}

package link

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
)

func delayedOf(bytes int) *netsvrpb.ForceOfflineGuest {
	return &netsvrpb.ForceOfflineGuest{Data: make([]byte, bytes)}
}

func TestDelayedOrder(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		charged := 0
		d := newDelayed(1<<20, func(n int) { charged += n })
		stop := make(chan struct{})
		var got []string
		begin := time.Now()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.run(stop, func(it delayedItem) {
				got = append(got, fmt.Sprint(time.Since(begin).Seconds(), " ", it.ref))
				if it.ref == 7 { // from within
					d.closeLater(8, time.Second)
				}
			})
		}()
		synctest.Wait() // it sleeps when the first comes
		var owner delayedOwner
		for i, wait := range []int{9, 3, 5, 3600, 1, 7, 2, 8, 6, 4} {
			time.Sleep(time.Millisecond)
			if !d.closeLater(engine.Ref(i+1), time.Duration(wait)*time.Second-time.Duration(i+1)*time.Millisecond) {
				t.Fatal("refused")
			}
		}
		if !d.later(&owner, 10*time.Second-10*time.Millisecond, delayedOf(100)) {
			t.Fatal("refused")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want := "[1 5 2 7 3 2 3 8 4 10 5 3 6 9 7 6 8 8 9 1 10 0]"
		if fmt.Sprint(got) != want {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if d.used != 0 || owner.used != 0 || d.closes != 1 {
			t.Errorf("%d bytes, %d of the link, %d closes", d.used, owner.used, d.closes)
		}
		close(stop)
		d.close()
		<-ended
		if charged != 0 {
			t.Errorf("%d bytes are charged after the end", charged)
		}
	})
}

// What delayed messages are charged is what they take, however short they are.
func TestDelayedCost(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes allocations larger")
	}
	for _, size := range []int{3, 100, 10_000} {
		wire, err := netsvr.AppendMessage(nil, &netsvrpb.ForceOfflineGuest{
			UniqIds: []string{"006B0D71D69513D39E"}, Delay: 60, Data: make([]byte, size),
		})
		if err != nil {
			t.Fatal(err)
		}
		charged := 0
		d := newDelayed(1<<30, func(n int) { charged += n })
		before := heapInUse()
		var owner delayedOwner
		for range 10_000 {
			m := new(netsvrpb.ForceOfflineGuest)
			if err := netsvr.Unmarshal(wire, m); err != nil || !d.later(&owner, time.Minute, m) {
				t.Fatal("refused", err)
			}
		}
		taken := heapInUse() - before
		if ratio := float64(charged) / float64(taken); ratio < 0.8 || ratio > 1.2 {
			t.Errorf("%d bytes are charged for messages of %d that take %d", charged, size, taken)
		}
		runtime.KeepAlive(d)
	}
}

// heapInUse is what is reachable.
func heapInUse() int64 {
	var m runtime.MemStats
	for range 2 { // what pools keep survives one
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestDelayedLimits(t *testing.T) {
	const limit = 16 << 20
	charged := 0
	d := newDelayed(limit, func(n int) { charged += n })
	fill := func(o *delayedOwner, size int) (taken int) {
		m := delayedOf(size)
		for range 1000 {
			if d.later(o, time.Hour, m) {
				taken++
			}
		}
		return taken
	}
	var links [20]delayedOwner
	if n := fill(&links[0], 1<<20); n != 15 { // each takes a little more than its data
		t.Errorf("one link: %d messages of 1 MiB taken, want 15", n)
	}
	if charged < 15<<20 || charged > limit+1<<16 {
		t.Errorf("%d bytes charged", charged)
	}
	if d.later(&links[0], time.Hour, delayedOf(limit)) || d.later(new(delayedOwner), time.Hour, delayedOf(limit)) {
		t.Error("a message over the limit is taken")
	}
	if n := fill(&links[1], 1<<20); n != 15 {
		t.Errorf("another link: %d taken, want 15", n)
	}
	for i := range links[2:] { // one after the other, as one worker that reconnects
		fill(&links[2+i], 1<<20)
	}
	if charged > maxDelayedLinks*limit {
		t.Errorf("%d bytes charged for all, limit %d", charged, maxDelayedLinks*limit)
	}
	if !d.later(new(delayedOwner), time.Hour, delayedOf(1000)) {
		t.Error("nothing is left for a new link")
	}
	// Ids count as data does.
	many := &netsvrpb.ForceOfflineGuest{UniqIds: make([]string, limit/16)}
	if d.later(new(delayedOwner), time.Hour, many) {
		t.Error("a million empty ids are taken")
	}
	d.close()
	if charged != 0 {
		t.Errorf("%d bytes are charged after the end", charged)
	}
	if d.later(&links[0], 0, delayedOf(1)) || d.closeLater(1, 0) {
		t.Error("taken after the end")
	}
}

func TestDelayedCloses(t *testing.T) {
	d := newDelayed(1, func(int) {})
	for i := range maxDelayedCloses {
		if !d.closeLater(engine.Ref(i+1), time.Hour) {
			t.Fatalf("close %d refused", i)
		}
	}
	if d.closeLater(1, time.Hour) {
		t.Error("one close too many")
	}
}

package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// A watcher is a census with its goroutine, and what it has told.
type watcher struct {
	*census
	table nodes
	told  []string
	wg    sync.WaitGroup
}

// watch runs the census of node self, which renews while renews says so.
func watch(ctx context.Context, s Store, self uint8, renews func() bool) *watcher {
	w := new(watcher)
	w.census = newCensus(&Config{Nodes: s, Self: self, Incarnation: 100 + uint64(self)}, &w.table)
	w.came = func(m Member) { w.told = append(w.told, fmt.Sprintf("+%d/%d", m.ID, m.Incarnation)) }
	w.gone = func(m Member) { w.told = append(w.told, fmt.Sprintf("-%d/%d", m.ID, m.Incarnation)) }
	w.contested = func() { w.told = append(w.told, "contested") }
	w.wg.Go(func() { _ = s.Watch(ctx, w.hear) })
	w.wg.Go(func() {
		t := time.NewTicker(renewEvery)
		defer t.Stop()
		var renewed time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-t.C:
				if renews() {
					renewed = now
				}
				w.tick(renewed)
			}
		}
	})
	return w
}

func (w *watcher) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.told, want) {
		t.Errorf("told %v, want %v", w.told, want)
	}
	w.told = nil
}

func (w *watcher) wantMember(t *testing.T, id uint8, there, suspect bool) {
	t.Helper()
	m, ok := w.table.find(id)
	if ok != there || m.Suspect != suspect {
		t.Errorf("node %d: there %v, suspect %v, want %v and %v", id, ok, m.Suspect, there, suspect)
	}
}

// Nodes come and leave; one that dies is suspect first, and leaves when its lease has expired.
func TestCensus(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := newFakeStore(20 * time.Second)
		a := newTenant(store, 1, 11, "a")
		a.run(t)
		w := watch(ctx, store, 0, func() bool { return true })
		defer w.wg.Wait()
		defer cancel()
		<-w.known
		w.want(t, "+1/11")
		b := newTenant(store, 2, 22, "b")
		b.run(t)
		time.Sleep(time.Minute)
		w.want(t, "+2/22")
		w.wantMember(t, 1, true, false)
		w.wantMember(t, 2, true, false)

		b.stop() // dies
		time.Sleep(suspectAfter - 2*renewEvery)
		w.wantMember(t, 2, true, false)
		time.Sleep(3 * renewEvery)
		w.wantMember(t, 2, true, true)
		w.want(t)
		time.Sleep(15 * time.Second)
		w.wantMember(t, 2, false, false)
		w.want(t, "-2/22")

		again := newTenant(store, 1, 12, "a") // the first dies, and another process has its id at once
		a.stop()
		a.release(t.Context())
		again.run(t)
		defer again.stop()
		w.want(t, "-1/11", "+1/12")
	})
}

// A bucket that was deleted and made again counts its revisions from 1: who renews in it is there all the
// same, and who gives his id back in it has left. What a watch tells once more is no renewal.
func TestCensusBucketMadeAnew(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := newFakeStore(20 * time.Second)
		a, b := newTenant(store, 1, 11, "a"), newTenant(store, 2, 22, "b")
		a.run(t)
		defer a.stop()
		w := watch(ctx, store, 0, func() bool { return true })
		defer w.wg.Wait()
		defer cancel()
		<-w.known
		b.run(t)
		time.Sleep(time.Hour)
		w.want(t, "+1/11", "+2/22")
		old, err := store.Get(ctx, keyOf(2))
		if err != nil {
			t.Fatal(err)
		}
		store.replace()
		for range 60 {
			time.Sleep(renewEvery)
			w.wantMember(t, 1, true, false)
			w.wantMember(t, 2, true, false)
		}
		w.want(t)
		b.stop()
		for range 3 {
			w.hear(old)
			time.Sleep(3 * renewEvery)
		}
		w.wantMember(t, 2, true, true)
		b.run(t)
		time.Sleep(2 * renewEvery)
		w.wantMember(t, 2, true, false)
		b.stop()
		b.release(ctx)
		w.want(t, "-2/22")
	})
}

// While nobody renews nobody is judged; afterwards who does not renew is.
func TestCensusNobodyRenews(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := newFakeStore(20 * time.Second)
		a, b := newTenant(store, 1, 11, "a"), newTenant(store, 2, 22, "b")
		a.run(t)
		b.run(t)
		defer a.stop()
		var away sync.Mutex
		w := watch(ctx, store, 0, func() bool {
			if away.TryLock() {
				away.Unlock()
				return true
			}
			return false
		})
		defer w.wg.Wait()
		defer cancel()
		time.Sleep(10 * time.Second)
		away.Lock()
		store.set(func(s *fakeStore) { s.down = true })
		time.Sleep(time.Minute)
		w.wantMember(t, 1, true, false)
		w.wantMember(t, 2, true, false)
		b.stop() // dies meanwhile
		store.set(func(s *fakeStore) { s.down = false })
		away.Unlock()
		time.Sleep(8 * time.Second)
		w.wantMember(t, 1, true, false)
		w.wantMember(t, 2, true, true)
		time.Sleep(15 * time.Second)
		w.wantMember(t, 1, true, false)
		w.wantMember(t, 2, false, false)
	})
}

// Keys that are no node's are passed over, and what becomes of the own one is told.
func TestCensusKeys(t *testing.T) {
	store := newFakeStore(20 * time.Second)
	var table nodes
	c := newCensus(&Config{Nodes: store, Self: 5, Incarnation: 105}, &table)
	contested := 0
	c.contested = func() { contested++ }
	now := time.Now()
	good := `{"incarnation":"00000000000000aa","address":"x","version":"v","since":1}`
	for i, e := range []Entry{
		{"claim-01", []byte(good), 0, now}, {"1", []byte(good), 0, now}, {"zz", []byte(good), 0, now}, {"0101", []byte(good), 0, now},
		{"01", []byte("no JSON"), 0, now}, {"01", []byte(`{"incarnation":"0"}`), 0, now}, {"01", []byte(`{}`), 0, now}, {"01", nil, 0, now},
		{"05", []byte(`{"incarnation":"0000000000000069"}`), 0, now},
	} {
		e.Revision = uint64(i + 1)
		c.hear(e)
	}
	if n := len(table.all()); n != 0 || contested != 0 {
		t.Errorf("%d nodes, own key contested %d times", n, contested)
	}
	c.hear(Entry{"05", []byte(good), 20, now})
	c.hear(Entry{"05", nil, 21, now})
	c.hear(Entry{"01", []byte(good), 22, now})
	if m, ok := table.find(1); !ok || m.Incarnation != 0xaa || contested != 2 {
		t.Errorf("%+v, own key contested %d times", m, contested)
	}
}

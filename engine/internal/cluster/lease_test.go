package cluster

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// A tenant is a lease with its goroutine.
type tenant struct {
	*lease
	cancel context.CancelFunc
	ended  sync.WaitGroup
	gone   *TakenError // what it was told; of the test, when the lease's goroutine rests
	again  int
}

func newTenant(s Store, id uint8, incarnation uint64, address string) *tenant {
	n := new(tenant)
	n.lease = newLease(&Config{Nodes: s, Self: id, Incarnation: incarnation}, func() claim {
		return claim{Address: address, Version: "v1", Since: time.Now().UnixMilli()}
	})
	n.lease.lost = func(err *TakenError) { n.gone = err }
	n.lease.again = func() { n.again++ }
	return n
}

// withTenant runs f in a bubble, with a store and a tenant of id 7 that has not taken it yet.
func withTenant(t *testing.T, address string, f func(t *testing.T, store *fakeStore, a *tenant)) {
	t.Helper()
	faketime.Test(t, func(t *testing.T) {
		store := newFakeStore(20 * time.Second)
		f(t, store, newTenant(store, 7, 1, address))
	})
}

// run takes the id and renews it until stop.
func (n *tenant) run(t *testing.T) {
	t.Helper()
	if err := n.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n.cancel = cancel
	n.ended.Go(func() { n.lease.run(ctx) })
}

// stop ends the renewals, as a death of the process does.
func (n *tenant) stop() {
	n.cancel()
	n.ended.Wait()
}

// A second process of an id is refused as soon as the holder renews, and told who that is.
func TestLeaseTaken(t *testing.T) {
	withTenant(t, "10.0.0.1:7000", func(t *testing.T, store *fakeStore, a *tenant) {
		a.run(t)
		defer a.stop()
		time.Sleep(time.Minute + 300*time.Millisecond)
		begun := time.Now()
		err := newTenant(store, 7, 2, "other").take(t.Context())
		var taken *TakenError
		if !errors.As(err, &taken) || taken.Lost || taken.Holder.Incarnation != 1 {
			t.Fatalf("a second holder: %v", err)
		}
		for _, want := range []string{"server id 7 ", "10.0.0.1:7000", "v1", "since 2000-"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not have %q", err, want)
			}
		}
		if d := time.Since(begun); d > 1500*time.Millisecond {
			t.Errorf("refused after %v", d)
		}
		if err := newTenant(store, 8, 2, "other").take(t.Context()); err != nil {
			t.Errorf("another id: %v", err)
		}
	})
}

// What a holder gives back is free at once; that of one that died is when it has not renewed for 5 s.
func TestLeaseFreed(t *testing.T) {
	withTenant(t, "a", func(t *testing.T, store *fakeStore, a *tenant) {
		a.run(t)
		a.stop()
		a.release(t.Context())
		begun := time.Now()
		b := newTenant(store, 7, 2, "b")
		b.run(t)
		if d := time.Since(begun); d != 0 {
			t.Errorf("free after %v", d)
		}
		b.stop()
		c := newTenant(store, 7, 3, "c")
		c.run(t)
		if d := time.Since(begun); d < suspectAfter || d > suspectAfter+2*renewEvery {
			t.Errorf("taken over after %v", d)
		}
		c.stop()
		if len(store.keys) != 1 {
			t.Errorf("%d keys are left", len(store.keys))
		}
	})
}

// A holder that cannot renew because nobody can, as while NATS elects a leader, keeps its id.
func TestLeaseElection(t *testing.T) {
	withTenant(t, "a", func(t *testing.T, store *fakeStore, a *tenant) {
		a.run(t)
		defer a.stop()
		time.Sleep(10*time.Second + 900*time.Millisecond)
		refused := make(chan error)
		go func() {
			b := newTenant(store, 7, 2, "b")
			err := b.take(t.Context())
			for errors.Is(err, errStoreAway) {
				time.Sleep(lookEvery)
				err = b.take(t.Context())
			}
			refused <- err
		}()
		time.Sleep(50 * time.Millisecond) // it has seen the key, and no renewal
		store.set(func(s *fakeStore) { s.down = true })
		time.Sleep(9 * time.Second)
		store.set(func(s *fakeStore) { s.down = false })
		var taken *TakenError
		if err := <-refused; !errors.As(err, &taken) {
			t.Errorf("the other: %v", err)
		}
		if a.failures.Load() == 0 || !a.held.Load() || a.gone != nil {
			t.Errorf("%d failures, held %v, lost: %v", a.failures.Load(), a.held.Load(), a.gone)
		}
	})
}

// A lease that has expired, since NATS was away, is made again; an answer that was lost does no harm.
func TestLeaseRegained(t *testing.T) {
	withTenant(t, "a", func(t *testing.T, store *fakeStore, a *tenant) {
		store.set(func(s *fakeStore) { s.deaf = true })
		if err := a.take(t.Context()); !errors.Is(err, errStoreAway) {
			t.Fatalf("the claim whose answer is lost: %v", err)
		}
		a.run(t)
		defer a.stop()
		store.set(func(s *fakeStore) { s.deaf = true })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := a.failures.Load(); n != 1 || a.gone != nil {
			t.Errorf("an answer was lost: %d failures, lost: %v", n, a.gone)
		}
		store.set(func(s *fakeStore) { s.down = true })
		time.Sleep(time.Minute)
		if err := a.maySend(); err != nil {
			t.Errorf("while the store is away: %v", err)
		}
		store.set(func(s *fakeStore) { s.down = false })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if a.again != 1 || a.gone != nil || !a.held.Load() {
			t.Errorf("made again %d times, lost: %v", a.again, a.gone)
		}
		if _, ok := store.find("07"); !ok {
			t.Error("the key is not there")
		}
	})
}

// A process whose id another has taken meanwhile is told so by its own lease, and sends nothing.
func TestLeaseLost(t *testing.T) {
	withTenant(t, "a", func(t *testing.T, store *fakeStore, a *tenant) {
		if err := a.maySend(); !errors.Is(err, errNoLease) {
			t.Errorf("before it has its id: %v", err)
		}
		a.run(t)
		defer a.stop()
		// It stands still: none of its goroutines runs.
		a.cancel()
		a.ended.Wait()
		b := newTenant(store, 7, 2, "b")
		b.run(t)
		defer b.stop()
		// It wakes: whoever sends first waits for the lease.
		ctx, cancel := context.WithCancel(t.Context())
		a.cancel = cancel
		a.ended.Go(func() { a.lease.run(ctx) })
		if err := a.maySend(); !errors.Is(err, errNoLease) {
			t.Errorf("after the loss: %v", err)
		}
		synctest.Wait()
		if a.gone == nil || !a.gone.Lost || a.gone.Holder.Address != "b" {
			t.Errorf("told: %v", a.gone)
		}
	})
}

// What is no claim, in the place of a node's own, is written over.
func TestLeaseOfGarbage(t *testing.T) {
	withTenant(t, "a", func(t *testing.T, store *fakeStore, a *tenant) {
		a.run(t)
		defer a.stop()
		for _, text := range []string{"", "{", `{"incarnation":"0"}`, "[]"} {
			now, err := store.Get(t.Context(), "07")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.Update(t.Context(), "07", []byte(text), now.Revision); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * renewEvery)
			e, err := store.Get(t.Context(), "07")
			if err != nil {
				t.Fatal(err)
			}
			if m, err := readClaim(7, e.Value); err != nil || m.Address != "a" || a.gone != nil || !a.lease.held.Load() {
				t.Errorf("behind %q: %q, told %v", text, e.Value, a.gone)
			}
		}
	})
}

// One that has stood still and still has its id goes on, once it knows.
func TestLeaseStoodStill(t *testing.T) {
	withTenant(t, "a", func(t *testing.T, store *fakeStore, a *tenant) {
		a.run(t)
		a.stop()
		time.Sleep(10 * time.Second)
		store.set(func(s *fakeStore) { s.down = true })
		ctx, cancel := context.WithCancel(t.Context())
		a.cancel = cancel
		a.ended.Go(func() { a.lease.run(ctx) })
		defer a.stop()
		if err := a.maySend(); !errors.Is(err, errDoubtful) {
			t.Errorf("while it is not known: %v", err)
		}
		store.set(func(s *fakeStore) { s.down = false })
		if err := a.maySend(); err != nil {
			t.Errorf("once it is known: %v", err)
		}
	})
}

// An answer that was on its way while the process stood still says nothing of now.
func TestLeaseStoodStillAsking(t *testing.T) {
	withTenant(t, "a", func(t *testing.T, store *fakeStore, a *tenant) {
		a.run(t)
		defer a.stop()
		store.set(func(s *fakeStore) { s.slow = 8 * time.Second })
		time.Sleep(renewEvery + 6*time.Second) // the renewal has been made, and is not answered
		if err := a.maySend(); !errors.Is(err, errDoubtful) {
			t.Errorf("while it is not known: %v", err)
		}
		store.set(func(s *fakeStore) { s.down = true })
		time.Sleep(2 * time.Second) // now it is
		if err := a.maySend(); !errors.Is(err, errDoubtful) {
			t.Errorf("by an old answer: %v", err)
		}
		store.set(func(s *fakeStore) { s.down = false })
		time.Sleep(2 * renewEvery)
		if err := a.maySend(); err != nil {
			t.Errorf("once it is known: %v", err)
		}
	})
}

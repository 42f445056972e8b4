package session

import (
	"errors"
	"testing"
	"time"
)

// A ticket that no client was told of does not end the one before, however many connections have come and
// gone with that one and however long it took.
func TestStoreUntold(t *testing.T) {
	const long = 100 * testGrace
	s := newStore(t, StoreConfig{TTL: 20 * long, Grace: testGrace})
	first := mustBegin(t, s, t0, 1, "ann")
	s.Detach(t0, first.ID, 1, Snapshot{SessionText: "x"})
	undelivered := func(at time.Duration, ref Ref) Resumed {
		t.Helper()
		r := s.mustResume(t, at, first.Ticket, ref)
		s.Undelivered(r, ref)
		return r
	}
	a := undelivered(0, 2)
	if got, holder, err := s.Share(first.ID); err != nil || holder != 2 || got.Serial != 0 {
		t.Errorf("others see it as %+v of %d, %v; want it with the ticket that the client has", got, holder, err)
	}
	b := undelivered(long, 3) // it waits, too, and a has gone by then
	s.TakeBack(after(long), a, 2)
	if _, err := s.Give(after(long), first.ID, 0); !errors.Is(err, ErrHeld) {
		t.Errorf("it is given while a connection waits: %v", err)
	}
	if s.TakeBack(after(long), b, 3); counts(s) != (StoreStats{Detached: 1}) {
		t.Errorf("%+v", counts(s))
	}
	c := undelivered(2*long, 4)
	if c.Snapshot.SessionText != "x" {
		t.Errorf("it comes back with %+v", c.Snapshot)
	}
	s.Told(after(2*long), first.ID, 3) // who has it not says nothing
	if err := s.Check(after(3*long), ticketOf(t, s, first.Ticket)); err != nil {
		t.Errorf("before the next one is told: %v", err)
	}
	s.Told(after(3*long), first.ID, 4)
	for _, tc := range []struct {
		at   time.Duration
		want error
	}{{3*long + unconfirmed*testGrace - 1, nil}, {3*long + unconfirmed*testGrace, ErrReplayed}} {
		if err := s.Check(after(tc.at), ticketOf(t, s, first.Ticket)); !errors.Is(err, tc.want) {
			t.Errorf("%v after it was told of the next one: %v, want %v", tc.at-3*long, err, tc.want)
		}
	}
	if next := s.mustResume(t, 4*long, c.Ticket, 5); serialOf(t, s, next.Ticket) != 2 {
		t.Errorf("the ticket after the next is number %d", serialOf(t, s, next.Ticket))
	}
}

func (s *Store) mustResume(t *testing.T, at time.Duration, ticket string, ref Ref) Resumed {
	t.Helper()
	r, err := s.resume(after(at), ticket, ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ticketOf(t *testing.T, s *Store, text string) Ticket {
	t.Helper()
	ticket, err := s.sealer.Open([]byte(text), time.UnixMilli(0))
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

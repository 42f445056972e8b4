package session

import (
	"errors"
	"testing"
	"time"
)

const day = 24 * time.Hour

// A clock that is set forward ends what is dated before; one that is set back makes nothing good that
// was used up, and lengthens the time in which a used ticket is good once more to six times its
// grace at most. When the clock is right again all is as it was.
func TestClockSteps(t *testing.T) {
	const grace = 5 * time.Second
	begin := func(t *testing.T) (s *Store, first, second string, id SessionID) {
		s = newStore(t, StoreConfig{Grace: grace})
		is := mustBegin(t, s, t0, 1, "ann")
		r, err := s.resume(t0, is.Ticket, 2)
		if err != nil {
			t.Fatal(err)
		}
		s.Confirm(t0, is.ID, 2)
		return s, is.Ticket, r.Ticket, is.ID
	}
	for _, tc := range []struct {
		what          string
		at            time.Duration
		first, second error
	}{
		{"no step", time.Second, nil, nil},
		{"behind the grace", grace, ErrReplayed, nil},
		{"a day forward", day, ErrExpired, ErrExpired},
		{"a second back", -time.Second, nil, nil},
		{"five times the grace back", -5 * grace, nil, nil},
		{"longer than that back", -5*grace - time.Second, ErrReplayed, nil},
		{"a day back", -day, ErrReplayed, nil},
	} {
		s, first, _, _ := begin(t)
		if _, err := s.resume(after(tc.at), first, 3); !errors.Is(err, tc.first) {
			t.Errorf("%s: the ticket before: %v, want %v", tc.what, err, tc.first)
		}
		s, _, second, _ := begin(t)
		if _, err := s.resume(after(tc.at), second, 3); !errors.Is(err, tc.second) {
			t.Errorf("%s: the newest ticket: %v, want %v", tc.what, err, tc.second)
		}
	}

	s, _, ticket, id := begin(t)
	s.Detach(t0, id, 2, Snapshot{SessionText: "text"})
	if n := s.Expire(after(-day), 100); n != 0 {
		t.Errorf("a day back: %d sessions have expired", n)
	}
	if r, err := s.resume(after(time.Minute), ticket, 3); err != nil || r.Snapshot.SessionText != "text" {
		t.Errorf("forth again: %v, %q", err, r.Snapshot.SessionText)
	}
	s.End(after(time.Minute), id)
	for _, at := range []time.Duration{-day, 0, day} {
		if _, err := s.resume(after(at), ticket, 4); err == nil {
			t.Errorf("a session that was ended is resumed at %v", at)
		}
	}
}

func TestClockStepsOfTokens(t *testing.T) {
	const ttl = 30 * time.Second
	for _, tc := range []struct {
		at   time.Duration
		good bool
	}{
		{0, true}, {ttl - 1, true}, {ttl, false}, {day, false}, {-ttl, true}, {-ttl - time.Second, false}, {-day, false},
	} {
		o, err := NewOneTime(OneTimeConfig{Rand: newSeededReader(), TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		token, err := o.Issue(t0, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := o.Take(after(tc.at), []byte(token)); ok != tc.good {
			t.Errorf("at %v: good %v, want %v", tc.at, ok, tc.good)
		}
		if _, ok := o.Take(t0, []byte(token)); ok {
			t.Errorf("good again after it was shown at %v", tc.at)
		}
	}
}

// uniqIds are the process's own whatever the clock says.
func TestClockStepsOfIDs(t *testing.T) {
	g := NewGenerator(1)
	seen := make(map[Key]bool)
	for i := range 10_000 {
		at := t0
		switch i % 3 {
		case 1:
			at = after(day)
		case 2:
			at = after(-day)
		}
		id := g.Next(at)
		if seen[id] {
			t.Fatalf("id %d was given out before", id)
		}
		seen[id] = true
	}
}

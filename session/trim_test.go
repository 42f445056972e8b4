package session

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Trim forgets detached sessions only, those that expire first: their newest tickets are good for the
// user, their spent ones stay spent.
func TestTrim(t *testing.T) {
	const n = 64
	s := newStore(t, StoreConfig{Grace: -1, MaxRecords: 1000, MaxSpent: 1000}) // one shard
	var tickets, spent [n]string
	for i := range n {
		now := after(time.Duration(i) * time.Second)
		is := mustBegin(t, s, now, Ref(i+1), fmt.Sprint("user-", i))
		spent[i] = is.Ticket
		r, err := s.resume(now, is.Ticket, Ref(i+1))
		if err != nil {
			t.Fatal(err)
		}
		tickets[i] = r.Ticket
		if i > 0 { // the first, which expires first of all, has its connection
			s.Detach(now, is.ID, Ref(i+1), Snapshot{SessionText: "text"})
		}
	}
	bytes := s.Bytes()
	if got := s.Trim(8); got != 8 {
		t.Fatalf("%d of %d forgotten, want an eighth", got, n-1)
	}
	if st := s.Stats(); st.Attached != 1 || st.Detached != n-1-8 || st.Trimmed != 8 || st.Evicted != 0 || st.Spent != 8 || s.Bytes() >= bytes {
		t.Errorf("%+v, %d bytes of %d", st, s.Bytes(), bytes)
	}
	late := after(2 * time.Minute)
	for i := range n {
		if _, err := s.resume(late, spent[i], 1000); !errors.Is(err, ErrReplayed) {
			t.Errorf("session %d: a spent ticket: %v", i, err)
		}
		r, err := s.resume(late, tickets[i], 1000)
		trimmed := i >= 1 && i <= 8
		if err != nil || r.User != fmt.Sprint("user-", i) || r.Known == trimmed {
			t.Errorf("session %d: %v, user %q, known %v", i, err, r.User, r.Known)
		}
		if !trimmed && i > 0 && r.Snapshot.SessionText != "text" {
			t.Errorf("session %d has lost its text", i)
		}
	}
}

func TestTrimToNothing(t *testing.T) {
	s := newStore(t, StoreConfig{})
	for i := range 100 {
		is := mustBegin(t, s, t0, Ref(i+1), "ann")
		s.Detach(t0, is.ID, Ref(i+1), Snapshot{Topics: []string{"a"}})
	}
	sum := 0
	for n := s.Trim(8); n > 0; n = s.Trim(8) {
		sum += n
	}
	if sum != 100 || s.Bytes() != 0 || s.Trim(8) != 0 {
		t.Errorf("%d forgotten, %d bytes left", sum, s.Bytes())
	}
}

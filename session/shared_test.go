package session

import (
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
)

var sharedSpecimen = Shared{
	ID: SessionID{1, 2, 3, 15: 16}, User: "ann", Serial: 7, Grace: t0.UnixMilli(), Expires: t0.UnixMilli() + 1, Attached: true,
	Behind: true,
	Snapshot: Snapshot{
		SessionText: "text", Topics: []string{"a", "b\x00", "c"}, Claims: map[string]string{"k": "v", "": "x"},
		Marks: []Mark{{"a", 1 << 63, 5, t0.UnixMilli(), 0}, {"c", 1 << 63, math.MaxUint64, -1, math.MaxUint32}},
	},
}

func TestSharedRoundTrip(t *testing.T) {
	for name, sh := range map[string]Shared{
		"full": sharedSpecimen, "empty": {}, "lost": {Snapshot: Snapshot{Lost: true}},
		"marks lost": {Snapshot: Snapshot{Topics: []string{"a"}, MarksLost: true}},
	} {
		b := sh.Append(nil)
		got, err := ParseShared(b)
		if err != nil || !reflect.DeepEqual(got, sh) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, sh)
		}
		for i := range b {
			if _, err := ParseShared(b[:i]); !errors.Is(err, ErrShared) {
				t.Errorf("%s: the first %d bytes: %v, want %v", name, i, err, ErrShared)
			}
		}
		if _, err := ParseShared(append(b, 0)); !errors.Is(err, ErrShared) {
			t.Errorf("%s: one byte too many: %v", name, err)
		}
	}
	other := sharedSpecimen
	other.Snapshot.Topics = []string{"c", "b\x00", "a"}
	other.Snapshot.Marks = slices.Clone(other.Snapshot.Marks)
	slices.Reverse(other.Snapshot.Marks)
	if !slices.Equal(other.Append(nil), sharedSpecimen.Append(nil)) {
		t.Error("the order of topics makes another session")
	}
}

func FuzzParseShared(f *testing.F) {
	f.Add(sharedSpecimen.Append(nil))
	f.Add((&Shared{}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		sh, err := ParseShared(b)
		if err != nil {
			return
		}
		again, err := ParseShared(sh.Append(nil))
		slices.Sort(sh.Snapshot.Topics)
		if err != nil || !reflect.DeepEqual(again, sh) {
			t.Fatalf("%+v is read back as %+v, %v", sh, again, err)
		}
	})
}

func watched(t *testing.T, w Watcher, c StoreConfig) *Store {
	s := newStore(t, c)
	s.Watch(w)
	return s
}

// A watch notes what a Store tells.
type watch struct{ changed, ended, forgotten, left []SessionID }

func (w *watch) Changed(id SessionID)   { w.changed = append(w.changed, id) }
func (w *watch) Left(id SessionID)      { w.left = append(w.left, id) }
func (w *watch) Ended(id SessionID)     { w.ended = append(w.ended, id) }
func (w *watch) Forgotten(id SessionID) { w.forgotten = append(w.forgotten, id) }

func (w *watch) want(t *testing.T, changed, ended, forgotten int) {
	t.Helper()
	if len(w.changed) != changed || len(w.ended) != ended || len(w.forgotten) != forgotten {
		t.Fatalf("told of %d changed, %d ended, %d forgotten, want %d, %d, %d",
			len(w.changed), len(w.ended), len(w.forgotten), changed, ended, forgotten)
	}
}

func TestWatcherIsToldOfAllChanges(t *testing.T) {
	w := new(watch)
	s := watched(t, w, StoreConfig{MaxPerUser: 1, TTL: time.Minute})
	a, _ := s.Begin(t0, 1, Login{User: "ann"})
	w.want(t, 1, 0, 0)
	ticket, err := s.Open(t0, []byte(a.Ticket))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Resume(t0, ticket, 2)
	if err != nil {
		t.Fatal(err)
	}
	w.want(t, 2, 0, 0)
	s.TakeBack(t0, r, 2)
	b, _ := s.Begin(t0, 3, Login{User: "ann"})
	s.Detach(t0, b.ID, 3, Snapshot{}) // the user's second: the first goes
	w.want(t, 3, 0, 1)
	if want := []SessionID{a.ID, b.ID}; !slices.Equal(w.left, want) {
		t.Errorf("%v have lost their connections, want %v", w.left, want)
	}
	s.End(t0, b.ID)
	s.End(t0, SessionID{9}) // not known here
	w.want(t, 3, 2, 1)
	_, _ = s.Begin(t0, 4, Login{User: "bob"})
	s.Expire(after(time.Hour), 100)
	w.want(t, 4, 2, 2)
}

// What one Store gives up another can resume, and only that one.
func TestGiveAndAdopt(t *testing.T) {
	t.Parallel()
	a, b := watched(t, new(watch), StoreConfig{}), watched(t, new(watch), StoreConfig{})
	issued, _ := a.Begin(t0, 1, Login{User: "ann"})
	ticket, _ := b.Open(t0, []byte(issued.Ticket))
	if _, err := b.Resume(t0, ticket, 5); !errors.Is(err, ErrUnknown) {
		t.Fatalf("resumed without a record: %v", err)
	}
	if err := b.Check(t0, ticket); !errors.Is(err, ErrUnknown) {
		t.Fatalf("checked without a record: %v", err)
	}
	if holder, former, err := a.MayGive(t0, issued.ID, ticket.Serial); holder != 1 || former != 0 || err != nil {
		t.Fatalf("got %d, %d, %v, want connection 1 to be closed", holder, former, err)
	}
	if _, err := a.Give(t0, issued.ID, ticket.Serial); !errors.Is(err, ErrHeld) {
		t.Fatalf("given with a connection: %v", err)
	}
	kept := Snapshot{
		SessionText: "x", Topics: []string{"news"}, Claims: map[string]string{"k": "v"}, Marks: []Mark{{"news", 7, 8, 9, 10}},
	}
	a.Detach(t0, issued.ID, 1, Snapshot{
		SessionText: "x", Topics: slices.Clone(kept.Topics), Claims: maps.Clone(kept.Claims), Marks: slices.Clone(kept.Marks),
	})
	shared, err := a.Give(t0, issued.ID, ticket.Serial)
	if err != nil || a.Has(issued.ID) || shared.User != "ann" {
		t.Fatalf("got %+v, %v, still there: %v", shared, err, a.Has(issued.ID))
	}
	if a.Bytes() != 0 || a.WaitingBytes() != 0 {
		t.Errorf("%d and %d bytes are kept of what is another's", a.Bytes(), a.WaitingBytes())
	}
	if _, err := a.Give(t0, issued.ID, ticket.Serial); !errors.Is(err, ErrUnknown) {
		t.Fatalf("given twice: %v", err)
	}
	stepped := shared
	if err := b.Step(t0, &stepped, ticket); err != nil || stepped.Serial != shared.Serial+1 || !stepped.Attached {
		t.Fatalf("stepped to %+v, %v", stepped, err)
	}
	if err := b.Adopt(t0, shared); err != nil {
		t.Fatal(err)
	}
	r, err := b.Resume(t0, ticket, 6)
	if err != nil || !reflect.DeepEqual(r.Snapshot, kept) || r.User != "ann" || !r.Known {
		t.Fatalf("got %+v, %v, want %+v", r, err, kept)
	}
	now, _, _ := b.Share(issued.ID)
	now.Snapshot = shared.Snapshot
	if stepped.Snapshot = shared.Snapshot; !reflect.DeepEqual(now, stepped) {
		t.Errorf("it is %+v, and was said to be %+v", now, stepped)
	}
}

// While a connection has yet to get what the one before had, nobody can say what is in the session.
func TestNothingIsSharedBeforeAHandover(t *testing.T) {
	t.Parallel()
	w := new(watch)
	s := watched(t, w, StoreConfig{})
	issued, _ := s.Begin(t0, 1, Login{User: "ann"})
	ticket, _ := s.Open(t0, []byte(issued.Ticket))
	if _, err := s.Resume(t0, ticket, 2); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Share(issued.ID); !errors.Is(err, ErrHeld) {
		t.Fatalf("shared while connection 1 has what there is: %v", err)
	}
	if next := s.Detach(t0, issued.ID, 1, Snapshot{Topics: []string{"a"}}); next != 2 || len(w.left) != 1 {
		t.Fatalf("for connection %d, %d have left, want 2 and 1", next, len(w.left))
	}
	if _, _, err := s.Share(issued.ID); !errors.Is(err, ErrHeld) {
		t.Fatalf("shared while the store has what there is: %v", err)
	}
	if _, ok := s.Handover(issued.ID, 2); !ok {
		t.Fatal("nothing was handed over")
	}
	if _, holder, err := s.Share(issued.ID); holder != 2 || err != nil {
		t.Fatalf("got %d, %v, want connection 2", holder, err)
	}
}

func TestWhatMayNotBeGiven(t *testing.T) {
	t.Parallel()
	s := watched(t, new(watch), StoreConfig{Grace: 5 * time.Second, TTL: time.Minute})
	first, _ := s.Begin(t0, 1, Login{User: "ann"})
	ticket, _ := s.Open(t0, []byte(first.Ticket))
	if _, err := s.Resume(t0, ticket, 2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		after  time.Duration
		serial uint32
		want   error
	}{
		{"the newest", 0, 1, nil},
		{"a rival's", 100 * time.Millisecond, 0, ErrReplayed},
		{"the one before, of a client that tries again", 600 * time.Millisecond, 0, nil},
		{"the one before, too late", 16 * time.Second, 0, ErrReplayed},
		{"over", 2 * time.Minute, 1, ErrExpired},
	} {
		if _, _, err := s.MayGive(after(c.after), first.ID, c.serial); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	s.End(t0, first.ID)
	if _, _, err := s.MayGive(t0, first.ID, 1); !errors.Is(err, ErrUnknown) {
		t.Errorf("ended: %v", err)
	}
	if err := s.Adopt(t0, Shared{ID: first.ID, Expires: after(time.Minute).UnixMilli()}); !errors.Is(err, ErrEnded) {
		t.Errorf("adopted though it has ended: %v", err)
	}
	if err := s.Adopt(t0, Shared{ID: SessionID{7}, Expires: t0.UnixMilli()}); !errors.Is(err, ErrExpired) {
		t.Errorf("adopted though it is over: %v", err)
	}
}

// An evicted session comes back with what another knows of it, and not with a ticket that was spent here.
func TestAdoptRemembersWhatIsSpent(t *testing.T) {
	t.Parallel()
	s := watched(t, new(watch), StoreConfig{})
	issued, _ := s.Begin(t0, 1, Login{User: "ann"})
	ticket, _ := s.Open(t0, []byte(issued.Ticket))
	if _, err := s.Resume(t0, ticket, 2); err != nil {
		t.Fatal(err)
	}
	s.Detach(t0, issued.ID, 2, Snapshot{})
	s.Trim(1)
	if s.Has(issued.ID) {
		t.Fatal("not evicted")
	}
	if err := s.Adopt(t0, Shared{ID: issued.ID, User: "ann", Expires: issued.Expires}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resume(t0, ticket, 3); !errors.Is(err, ErrReplayed) {
		t.Fatalf("a spent ticket: %v", err)
	}
	if holder, former := s.Lose(issued.ID); holder != 0 || former != 0 || s.Has(issued.ID) {
		t.Errorf("lost with connections %d and %d", holder, former)
	}
}

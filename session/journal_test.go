package session

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestJournalWire(t *testing.T) {
	e := JournalEntry{ID: SessionID{0: 0xa0, 15: 0xaf}, Min: 3, Expires: t0.UnixMilli()}
	entry := unhex(t, "a00000000000000000000000000000af 00000003 0000018bcfe56800 54fe08b8")
	if got := e.Append([]byte("x")); !bytes.Equal(got[1:], entry) {
		t.Errorf("entry %x, want %x", got[1:], entry)
	}
	if got, ok := ParseJournalEntry(entry); !ok || got != e {
		t.Errorf("read %+v, %v, want %+v", got, ok, e)
	}
	h := JournalHead{Floor: 1, Lost: t0.UnixMilli()}
	head := unhex(t, "736c756963654a31 0000000000000001 0000018bcfe56800 00000000 5635b337")
	if got := h.Append([]byte("x")); !bytes.Equal(got[1:], head) {
		t.Errorf("head %x, want %x", got[1:], head)
	}
	if got, err := ParseJournalHead(head); err != nil || got != h {
		t.Errorf("read %+v, %v, want %+v", got, err, h)
	}
	for i := range entry { // every prefix, and every byte changed
		if _, ok := ParseJournalEntry(entry[:i]); ok {
			t.Errorf("an entry of %d bytes was read", i)
		}
		if _, err := ParseJournalHead(head[:i]); !errors.Is(err, ErrNoJournal) {
			t.Errorf("a head of %d bytes: %v", i, err)
		}
		bad := slices.Clone(entry)
		bad[i] ^= 0x40
		if _, ok := ParseJournalEntry(bad); ok {
			t.Errorf("an entry with byte %d changed was read", i)
		}
		bad = slices.Clone(head)
		bad[i] ^= 0x40
		if _, err := ParseJournalHead(bad); !errors.Is(err, ErrNoJournal) {
			t.Errorf("a head with byte %d changed: %v", i, err)
		}
	}
	if _, ok := ParseJournalEntry(make([]byte, JournalSize)); ok { // what a power failure leaves
		t.Error("zeros were read as an entry")
	}
}

func FuzzJournalEntry(f *testing.F) {
	f.Add(JournalEntry{Min: 1, Expires: 2}.Append(nil))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := ParseJournalEntry(b); ok && !bytes.Equal(e.Append(nil), b[:JournalSize]) {
			t.Errorf("%x was read as %+v", b, e)
		}
	})
}

// journaled returns a store with what an earlier one has told its journal, or, if afresh, with what a
// journal is begun with.
func journaled(t *testing.T, c StoreConfig, now time.Time, entries []JournalEntry) *Store {
	t.Helper()
	s, err := NewStore(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		s.Remember(now, e)
	}
	return s
}

// After a restart each session's newest ticket is good, those before are not, and none of an ended
// session is: from the entries as they came, and from a journal that was begun afresh.
func TestJournal(t *testing.T) {
	var entries []JournalEntry
	c := StoreConfig{Key: testKey(), Rand: newSeededReader(), TTL: time.Minute, Journal: func(e JournalEntry) { entries = append(entries, e) }}
	s, err := NewStore(c)
	if err != nil {
		t.Fatal(err)
	}
	begin := func(user string) Issued {
		i, err := s.Begin(t0, 1, Login{User: user})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	resume := func(s *Store, text string) (Resumed, error) {
		ticket, err := s.Open(t0, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s.Resume(t0, ticket, 2)
	}
	must := func(r Resumed, err error) Resumed {
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	unused := begin("unused")
	used := begin("used")
	next := must(resume(s, used.Ticket))
	must(resume(s, used.Ticket)) // in its grace, which spends nothing
	twice := begin("twice")
	twice2 := must(resume(s, twice.Ticket))
	twice3 := must(resume(s, twice2.Ticket))
	undone := begin("undone")
	undone2 := must(resume(s, undone.Ticket))
	s.TakeBack(t0, undone2, 2)
	ended := begin("ended")
	s.End(t0, ended.ID)
	kicked := begin("kicked")
	kicked2 := must(resume(s, kicked.Ticket))
	if !s.EndHeld(t0, kicked2.ID, 2) {
		t.Fatal("the session was not ended")
	}
	if len(entries) != 8 {
		t.Errorf("%d entries, want 8: %v", len(entries), entries)
	}
	c.Journal = nil
	for name, with := range map[string][]JournalEntry{
		"as they came": entries, "afresh": slices.Collect(s.Spent(t0)), "both": append(slices.Collect(s.Spent(t0)), entries...),
	} {
		s := journaled(t, c, t0, with)
		for _, tc := range []struct {
			what, ticket string
			want         error
		}{
			{"a used ticket", used.Ticket, ErrReplayed},
			{"one used long ago", twice.Ticket, ErrReplayed},
			{"its successor", twice2.Ticket, ErrReplayed},
			{"one of an ended session", ended.Ticket, ErrEnded},
			{"one of a kicked session", kicked.Ticket, ErrEnded},
			{"its successor", kicked2.Ticket, ErrEnded},
			{"one never used", unused.Ticket, nil},
			{"the newest", next.Ticket, nil},
			{"the newest of many", twice3.Ticket, nil},
			{"one taken back", undone.Ticket, nil},
		} {
			if r, err := resume(s, tc.ticket); !errors.Is(err, tc.want) {
				t.Errorf("%s: %s: %v, want %v", name, tc.what, err, tc.want)
			} else if err == nil && r.User == "" {
				t.Errorf("%s: %s: nobody's", name, tc.what)
			}
		}
		late := journaled(t, c, t0.Add(2*time.Minute), with) // when no ticket is good any more
		if st := late.Stats(); st.Spent != 0 {
			t.Errorf("%s: %d entries that have expired are remembered", name, st.Spent)
		}
	}
}

// What a full store forgets is refused in the next process, too, and the journal keeps to MaxSpent.
func TestJournalForgets(t *testing.T) {
	c := StoreConfig{Key: testKey(), Rand: newSeededReader(), MaxSpent: 4}
	s, err := NewStore(c)
	if err != nil {
		t.Fatal(err)
	}
	var first Issued
	for i := range 6 {
		b, err := s.Begin(t0.Add(time.Duration(i)*time.Second), 1, Login{User: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b
		}
		s.End(t0.Add(time.Duration(i)*time.Second), b.ID)
	}
	entries := slices.Collect(s.Spent(t0))
	if len(entries) != 4 {
		t.Errorf("%d entries, want 4", len(entries))
	}
	next := journaled(t, c, t0, entries)
	next.Forget(s.Forgotten())
	ticket, err := next.Open(t0, []byte(first.Ticket))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Resume(t0, ticket, 1); !errors.Is(err, ErrForgotten) {
		t.Errorf("%v, want %v", err, ErrForgotten)
	}
	if next.Forgotten() != s.Forgotten() || s.Forgotten() == 0 {
		t.Errorf("forgotten until %d, want %d", next.Forgotten(), s.Forgotten())
	}
}

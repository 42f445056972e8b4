package gateway

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/session"
)

// A journalist is a store with its journal, without the journal's goroutine, and its log.
type journalist struct {
	t     *testing.T
	store *session.Store
	*journal
	said bytes.Buffer
}

const journalTTL = time.Hour

// keep opens a journal, whose store has a key that is always the same.
func keep(t *testing.T, name string) *journalist {
	t.Helper()
	a := &journalist{t: t}
	var err error
	a.store, err = session.NewStore(session.StoreConfig{
		Key: [session.KeySize]byte{1}, Rand: rand.Reader, TTL: journalTTL,
		Journal: func(e session.JournalEntry) { a.record(e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	a.journal, err = openJournal(name, a.store, journalTTL, slog.New(slog.NewTextHandler(&a.said, nil)), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// quit ends it as a process that is killed does: what was not written is lost.
func (a *journalist) quit() { _ = a.file.Close() }

// begin returns the ticket of a new session.
func (a *journalist) begin() session.Issued {
	a.t.Helper()
	i, err := a.store.Begin(time.Now(), 1, session.Login{User: "ann"})
	if err != nil {
		a.t.Fatal(err)
	}
	return i
}

func (a *journalist) resume(ticket string) (session.Resumed, error) {
	t, err := a.store.Open(time.Now(), []byte(ticket))
	if err != nil {
		a.t.Fatal(err)
	}
	return a.store.Resume(time.Now(), t, 1)
}

// use resumes with a ticket, which must be good, and returns the next.
func (a *journalist) use(ticket string) string {
	a.t.Helper()
	r, err := a.resume(ticket)
	if err != nil {
		a.t.Fatal(err)
	}
	return r.Ticket
}

func (a *journalist) wantRefused(what, ticket string, want error) {
	a.t.Helper()
	if _, err := a.resume(ticket); !errors.Is(err, want) {
		a.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (a *journalist) wantSaid(text string) {
	a.t.Helper()
	if !strings.Contains(a.said.String(), text) {
		a.t.Errorf("the log does not say %q:\n%s", text, a.said.String())
	}
}

func sizeOf(t *testing.T, name string) int64 {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", st.Mode())
	}
	return st.Size()
}

// What was written when the process was killed holds in the next, and in the one after that, whose
// journal was begun afresh twice.
func TestJournalOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "journal")
	a := keep(t, name)
	used, unused, ended := a.begin(), a.begin(), a.begin()
	newest := a.use(used.Ticket)
	a.store.End(time.Now(), ended.ID)
	a.write()
	a.quit()
	for range 3 {
		a = keep(t, name)
		a.wantRefused("used", used.Ticket, session.ErrReplayed)
		a.wantRefused("ended", ended.Ticket, session.ErrEnded)
		older := newest
		newest = a.use(newest)
		a.write()
		a.quit()
		used.Ticket = older
		if got, want := sizeOf(t, name), int64(4*session.JournalSize); got != want {
			t.Errorf("%d bytes, want %d: head, two sessions, the resumption", got, want)
		}
	}
	a = keep(t, name)
	a.use(unused.Ticket)
	a.quit()
	if a.said.Len() > 0 {
		t.Errorf("log: %s", a.said.String())
	}
}

// The file's goroutine writes without being asked, and has all of it written at the end.
func TestJournalGoroutine(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "journal")
	a := keep(t, name)
	go a.run()
	first := a.begin()
	second := a.use(first.Ticket)
	for deadline := time.Now().Add(30 * time.Second); sizeOf(t, name) == session.JournalSize; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was written")
		}
	}
	third := a.use(second)
	a.close()
	a = keep(t, name)
	a.wantRefused("the first", first.Ticket, session.ErrReplayed)
	a.wantRefused("the second", second, session.ErrReplayed)
	a.use(third)
	a.quit()
}

// The file grows to twice what is worth keeping, and a bit.
func TestJournalIsRenewed(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "journal")
	a := keep(t, name)
	first := a.begin().Ticket
	newest := first
	for range 10 {
		for range minJournal / 2 {
			newest = a.use(newest)
		}
		a.write()
		a.tend()
		if got, most := sizeOf(t, name), int64(5*minJournal/2+1)*session.JournalSize; got > most {
			t.Fatalf("%d bytes, want %d at most", got, most)
		}
	}
	if got := a.bytes.Load(); got != sizeOf(t, name) {
		t.Errorf("%d bytes by the gauge, %d in the file", got, sizeOf(t, name))
	}
	a.quit()
	a = keep(t, name)
	a.wantRefused("the first", first, session.ErrReplayed)
	a.use(newest)
	a.quit()
}

// full is a file on a disk that has room for so many bytes more.
type full struct {
	*os.File
	room   int
	locked bool // nothing can be written in place either
}

func (f *full) Write(b []byte) (int, error) {
	n, err := f.File.Write(b[:min(len(b), f.room)])
	if f.room -= n; err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *full) WriteAt(b []byte, at int64) (int, error) {
	if f.locked {
		return 0, syscall.EIO
	}
	return f.File.WriteAt(b, at)
}

// While the disk is full the file says of itself that it is not whole, so that a process which
// finds it refuses all tickets; once there is room it is written anew, and nothing is missing.
func TestJournalOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "journal")
			a := keep(t, name)
			first, unused := a.begin(), a.begin()
			a.file = &full{File: a.file.(*os.File), room: session.JournalSize + 5} // half an entry fits
			if err := os.Mkdir(name+".new", 0o700); err != nil {                   // no other file can be written
				t.Fatal(err)
			}
			second := a.use(first.Ticket)
			third := a.use(second)
			a.write()
			a.tend()
			fourth := a.use(third)
			a.write()
			a.wantSaid("session journal cannot be written")
			a.wantSaid("no space left")
			if a.missed.Load() != 3 {
				t.Errorf("%d entries counted, want 3", a.missed.Load())
			}
			if err := os.Remove(name + ".new"); err != nil {
				t.Fatal(err)
			}
			if killed {
				a.quit()
				a = keep(t, name)
				a.wantSaid("was not whole")
				for _, ticket := range []string{first.Ticket, second, third, fourth, unused.Ticket} {
					a.wantRefused("a ticket from before", ticket, session.ErrForgotten)
				}
			} else {
				a.tend()
				a.wantSaid("whole again")
				if a.damaged != nil {
					t.Errorf("damaged: %v", a.damaged)
				}
				a.quit()
				a = keep(t, name)
				for _, ticket := range []string{first.Ticket, second, third} {
					a.wantRefused("a used ticket", ticket, session.ErrReplayed)
				}
				a.use(fourth)
				a.use(unused.Ticket)
			}
			a.use(a.begin().Ticket)
			a.quit()
		})
	}
}

// A queue that is full makes nobody wait; it is counted, and the file is written anew.
func TestJournalQueueIsBounded(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "journal")
	a := keep(t, name)
	first := a.begin()
	last := a.use(first.Ticket)
	for range maxJournalQueue / session.JournalSize {
		a.record(session.JournalEntry{ID: session.SessionID{9}, Min: 1, Expires: 1})
	}
	used := last
	last = a.use(last)
	if len(a.queue) != maxJournalQueue || a.missed.Load() != 2 {
		t.Errorf("%d bytes wait, %d missed; want %d and 2", len(a.queue), a.missed.Load(), maxJournalQueue)
	}
	a.write()
	a.tend()
	a.quit()
	a = keep(t, name)
	a.wantRefused("used when the queue was full", used, session.ErrReplayed)
	a.use(last)
	a.quit()
}

// A file that cannot even be marked, and one that was taken away or cut.
func TestJournalThatIsMeddledWith(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "journal")
	a := keep(t, name)
	first := a.begin()
	newest := a.use(first.Ticket)
	a.write()
	for what, meddle := range map[string]func() error{
		"removed":   func() error { return os.Remove(name) },
		"truncated": func() error { return os.Truncate(name, 0) },
		"replaced":  func() error { return os.Rename(name, name+".old") },
	} {
		if err := meddle(); err != nil {
			t.Fatal(err)
		}
		a.tend()
		a.wantSaid("taken away or changed")
		a.said.Reset()
		if got := sizeOf(t, name); got != 2*session.JournalSize {
			t.Errorf("%s: %d bytes, want one entry", what, got)
		}
	}
	a.file = &full{File: a.file.(*os.File), locked: true}
	newest = a.use(newest)
	a.write()
	a.wantSaid("cannot say that it is not whole")
	a.tend()
	a.quit()
	a = keep(t, name)
	a.wantRefused("used", first.Ticket, session.ErrReplayed)
	a.use(newest)
	a.quit()
}

// What a crash leaves at the end is nothing; a hole in the middle may have been about anybody.
func TestJournalDamage(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		change func(b []byte) []byte
		says   string
		want   error // of the newest ticket
		used   error
	}{
		"whole":       {func(b []byte) []byte { return b }, "", nil, session.ErrReplayed},
		"half behind": {func(b []byte) []byte { return append(b, 1, 2, 3) }, "was not written", nil, session.ErrReplayed},
		"zeros behind": {func(b []byte) []byte { return append(b, make([]byte, 1000)...) },
			"was not written", nil, session.ErrReplayed},
		"a hole": {func(b []byte) []byte { b[session.JournalSize+3] ^= 1; return b },
			"damaged", session.ErrForgotten, session.ErrForgotten},
	} {
		name := filepath.Join(t.TempDir(), "journal")
		a := keep(t, name)
		first := a.begin()
		newest := a.use(first.Ticket)
		newest = a.use(newest)
		a.write()
		a.quit()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, tc.change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		a = keep(t, name)
		a.wantSaid(tc.says)
		a.wantRefused(what+": a used ticket", first.Ticket, tc.used)
		a.wantRefused(what+": the newest ticket", newest, tc.want)
		a.quit()
	}
}

func TestJournalFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		if err := os.WriteFile(at(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("letter", "Dear Ann, this is no journal at all. Yours, Ben")
	write("short", "sluiceJ1")
	write("empty", "")
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("target"), at("link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		".": "is a directory", "letter": "no journal", "short": "no journal", "pipe": "want a file",
		"none/journal": "no such file", "letter/journal": "not a directory", "empty": "", "new": "",
	} {
		err := CheckJournal(at(name))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		store, err := session.NewStore(session.StoreConfig{Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(at(name), store, journalTTL, slog.New(slog.DiscardHandler), time.Now)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("opening %s: %v, want %q", name, err, want)
		}
		if err != nil {
			continue
		}
		sizeOf(t, at(name))
		if _, err := openJournal(at(name), store, journalTTL, j.log, time.Now); err == nil || !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("opening %s twice: %v", name, err)
		}
		_ = j.file.Close()
	}
	if b, err := os.ReadFile(at("letter")); err != nil || !bytes.HasPrefix(b, []byte("Dear Ann")) {
		t.Errorf("the letter is %q, %v", b, err)
	}
}

// An entry costs a loop no memory, once the queue has its size.
func TestJournalAllocatesNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	a := keep(t, name)
	e := session.JournalEntry{ID: session.SessionID{9}, Min: 1, Expires: 1}
	a.queue = make([]byte, 0, maxJournalQueue)
	if n := testing.AllocsPerRun(1000, func() { a.record(e) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	a.quit()
}

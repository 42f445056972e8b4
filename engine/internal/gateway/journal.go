package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/session"
)

// A journal is the file in which spent tickets outlive the process: see session.JournalHead for what
// is in it. Loops hand entries to its goroutine, which writes them at once, has them on the disk once
// a second, and writes the file anew when it has grown to twice its size. No loop waits for it.
//
// What cannot be written is not lost as long as the process lives, since the session.Store knows it:
// the file is written anew each second until that succeeds. Until then its head, which needs no
// room on the disk, says that all tickets issued so far are to be refused: if the process ends
// before the file is whole again, clients log in anew, and no spent ticket is good.
type journal struct {
	name  string // no symbolic link
	store *session.Store
	ttl   time.Duration // of tickets
	log   *slog.Logger
	now   func() time.Time

	missed atomic.Uint64 // entries that were not written when they were to be
	bytes  atomic.Int64  // of the file

	mu    sync.Mutex
	queue []byte // entries to be written
	full  bool   // there was no room for one

	kick       chan struct{} // the queue is not empty
	stop, done chan struct{}

	// The rest belongs to the goroutine.
	file     journalFile
	entries  int // in the file
	least    int // when it was written anew
	unsynced bool
	damaged  error // why entries are missing in the file; nil: none are
	spare    []byte
}

// journalFile is what a journal needs of an os.File.
type journalFile interface {
	io.Writer
	io.WriterAt
	io.Closer
	Sync() error
	Stat() (fs.FileInfo, error)
}

const (
	// maxJournalQueue bounds the entries that wait for the disk, in bytes: those of 65,536 resumptions.
	maxJournalQueue = 65536 * session.JournalSize
	// minJournal is how many entries are always worth keeping: a file of 128 KiB.
	minJournal = 4096
	// journalMargin is how much later than now tickets are refused whose entries could not be
	// written: the goroutine says so again each second, or as soon as the disk lets it.
	journalMargin = 10 * time.Second
)

var errJournalFull = errors.New("more entries than the disk takes")

// CheckJournal says what would keep a file from being a journal. Nothing is changed, and a file that
// does not exist is no error.
func CheckJournal(name string) error {
	f, err := openJournalFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		dir, derr := os.Stat(filepath.Dir(name))
		switch {
		case derr != nil:
			return derr
		case !dir.IsDir():
			return fmt.Errorf("%s is not a directory", filepath.Dir(name))
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = readJournalHead(f, name)
	return err
}

// openJournalFile opens a regular file for reading and writing.
func openJournalFile(name string) (*os.File, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%s is a directory, want a file", name)
	}
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0) // a pipe must not make it wait
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is a device, a socket or a pipe, want a file", name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// readJournalHead reads the head of a file; an empty file has one that says nothing.
func readJournalHead(r io.Reader, name string) (h session.JournalHead, err error) {
	var b [session.JournalSize]byte
	n, err := io.ReadFull(r, b[:])
	if err == io.EOF {
		return h, nil
	}
	if err != nil && err != io.ErrUnexpectedEOF {
		return h, err
	}
	if h, err = session.ParseJournalHead(b[:n]); err != nil {
		return h, fmt.Errorf("%s: %w; move it away to begin another", name, err)
	}
	return h, nil
}

// openJournal takes what is in a file over into store and begins the file anew. Whoever calls it has
// run run.
func openJournal(name string, store *session.Store, ttl time.Duration, log *slog.Logger, now func() time.Time) (*journal, error) {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	j := &journal{
		name: name, store: store, ttl: ttl, log: log, now: now,
		kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	old, err := openJournalFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := j.load(old); err != nil {
			_ = old.Close()
			return nil, err
		}
		j.file = old
	}
	err = j.renew()
	if (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && j.file != nil {
		// Clients are served all the same, and the old file stays until there is room for another.
		j.damage(err)
		err = nil
	}
	if err != nil {
		if old != nil {
			_ = old.Close()
		}
		return nil, err
	}
	return j, nil
}

// load reads a file, which nobody else may have as a journal.
func (j *journal) load(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s is in use by another process", j.name)
	}
	now := j.now()
	found, err := scanJournal(f, j.name, nil)
	if err != nil {
		return err
	}
	head := found.head
	if found.torn > 0 { // the process or the machine ended while they were written
		j.log.Warn("the end of the session journal was not written", "file", j.name, "entries", found.torn)
	}
	if found.holes > 0 { // nobody knows what they said, not even about whom
		head.Lost = max(head.Lost, found.latest, now.Add(j.ttl).UnixMilli())
		j.log.Warn("the session journal is damaged: tickets from before are refused",
			"file", j.name, "entries", found.holes)
	} else if head.Lost > now.UnixMilli() {
		j.log.Warn("the session journal was not whole when the last process ended: tickets from before are refused",
			"file", j.name, "expiring until", time.UnixMilli(head.Lost))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = scanJournal(f, j.name, func(e session.JournalEntry) {
		if e.Expires > head.Lost {
			j.store.Remember(now, e)
		}
	})
	j.store.Forget(max(head.Floor, head.Lost))
	j.entries = found.entries
	return err
}

// scanned is what a file has.
type scanned struct {
	head    session.JournalHead
	entries int   // that are good
	holes   int   // damaged ones with good ones behind them
	torn    int   // damaged ones at the end
	latest  int64 // expiry of all, unix milliseconds
}

// scanJournal reads a file and hands its good entries to each, unless that is nil.
func scanJournal(f io.Reader, name string, each func(session.JournalEntry)) (s scanned, err error) {
	r := bufio.NewReaderSize(f, 1<<16)
	if s.head, err = readJournalHead(r, name); err != nil {
		return s, err
	}
	var b [session.JournalSize]byte
	for {
		n, err := io.ReadFull(r, b[:])
		if err == io.EOF {
			return s, nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return s, err
		}
		e, ok := session.ParseJournalEntry(b[:n])
		if !ok {
			s.torn++
			continue
		}
		s.holes, s.torn = s.holes+s.torn, 0
		s.entries++
		s.latest = max(s.latest, e.Expires)
		if each != nil {
			each(e)
		}
	}
}

// record has an entry written. It never blocks; any goroutine may call it.
func (j *journal) record(e session.JournalEntry) {
	j.mu.Lock()
	if len(j.queue) < maxJournalQueue {
		j.queue = e.Append(j.queue)
	} else {
		j.full = true
		j.missed.Add(1)
	}
	j.mu.Unlock()
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

func (j *journal) run() {
	defer close(j.done)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-j.kick:
			j.write()
		case <-second.C:
			j.write()
			j.tend()
		case <-j.stop:
			j.write()
			j.tend()
			if err := j.file.Close(); err != nil && j.damaged == nil {
				j.log.Error("closing the session journal", "file", j.name, "err", err)
			}
			return
		}
	}
}

// close has everything on the disk that can be. Nothing may be recorded any more.
func (j *journal) close() {
	close(j.stop)
	<-j.done
}

// write appends what is queued.
func (j *journal) write() {
	j.mu.Lock()
	queue, full := j.queue, j.full
	j.queue, j.full = j.spare[:0], false
	j.mu.Unlock()
	j.spare = queue
	n := len(queue) / session.JournalSize
	switch {
	case full:
		j.damage(errJournalFull)
	case j.damaged == nil && j.entries+n > 4*max(j.least, minJournal):
		j.damage(errors.New("it cannot be written anew, and has grown too large"))
	}
	if n == 0 {
		return
	}
	if j.damaged == nil {
		if _, err := j.file.Write(queue); err != nil { // perhaps half an entry, so none may follow
			j.damage(err)
		}
	}
	if j.damaged != nil {
		j.missed.Add(uint64(n))
		return
	}
	j.entries += n
	j.bytes.Store(int64(j.entries+1) * session.JournalSize)
	j.unsynced = true
}

// damage notes that entries are missing in the file, also in the file itself.
func (j *journal) damage(why error) {
	if j.damaged == nil {
		if path := (*fs.PathError)(nil); errors.As(why, &path) {
			why = fmt.Errorf("%s: %w", path.Op, path.Err) // the name may be the one it was written under
		}
		j.damaged = why
		j.sayLost()
	}
}

// sayLost has the head say that all tickets issued until now are to be refused.
func (j *journal) sayLost() {
	head := session.JournalHead{Floor: j.store.Forgotten(), Lost: j.now().Add(j.ttl + journalMargin).UnixMilli()}
	_, err := j.file.WriteAt(head.Append(nil), 0)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.log.Error("the session journal cannot say that it is not whole: after a restart, tickets that are used now are good once more",
			"file", j.name, "err", err)
	}
}

// tend does what is due once a second.
func (j *journal) tend() {
	if j.damaged == nil && j.unsynced {
		j.unsynced = false
		if err := j.file.Sync(); err != nil {
			j.damage(err)
		}
	}
	why := j.damaged
	switch {
	case why != nil:
		j.sayLost()
	case j.gone():
		j.log.Warn("the session journal was taken away or changed, another is written", "file", j.name)
	case j.entries <= 2*max(j.least, minJournal):
		return
	}
	err := j.renew()
	switch {
	case err == nil && why != nil:
		j.log.Warn("the session journal is whole again", "file", j.name, "after", why)
	case err != nil && why != nil:
		j.log.Error("the session journal cannot be written: after a restart, tickets issued until then are refused",
			"file", j.name, "err", why, "again", err, "entries", j.missed.Load())
	case err != nil:
		j.log.Error("the session journal cannot be written anew", "file", j.name, "err", err)
	}
}

// gone reports whether the name is not the file's any more, or the file is not as it was left.
func (j *journal) gone() bool {
	mine, err := j.file.Stat()
	if err != nil || mine.Size() != int64(j.entries+1)*session.JournalSize {
		return true
	}
	named, err := os.Stat(j.name)
	return err != nil || !os.SameFile(mine, named)
}

// renew writes the file anew, with what the store knows, and puts it in the old one's place when it is
// complete. On an error the old one stays.
func (j *journal) renew() (err error) {
	name := j.name + ".new"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(name)
		}
	}()
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s is in use by another process", name)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	b := session.JournalHead{}.Append(nil)
	if _, err := w.Write(b); err != nil {
		return err
	}
	n := 0
	for e := range j.store.Spent(j.now()) {
		if _, err := w.Write(e.Append(b[:0])); err != nil {
			return err
		}
		n++
	}
	if err := w.Flush(); err != nil {
		return err
	}
	// Once all entries are there: it says of which sessions there are none.
	if _, err := f.WriteAt(session.JournalHead{Floor: j.store.Forgotten()}.Append(b[:0]), 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(name, j.name); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(j.name)); err == nil { // so that the new name outlives a power failure
		_ = dir.Sync()
		_ = dir.Close()
	}
	if j.file != nil {
		_ = j.file.Close() // it has no name any more
	}
	j.file, j.entries, j.least, j.unsynced, j.damaged = f, n, n, false, nil
	j.bytes.Store(int64(n+1) * session.JournalSize)
	return nil
}

// OpenJournal begins to keep Config.SessionJournal, if there is one, and takes over what an earlier
// process has left in it. It must be called once, before the engine listens; Close ends it.
func (g *Gateway) OpenJournal() error {
	name := g.Config().SessionJournal
	if name == "" {
		return nil
	}
	j, err := openJournal(name, g.sessions, g.Config().SessionTTL, g.log, g.now)
	if err != nil {
		return fmt.Errorf("gateway: session journal: %w", err)
	}
	go j.run()
	g.journal.Store(j)
	return nil
}

// journalEntry is what the session store calls.
func (g *Gateway) journalEntry(e session.JournalEntry) {
	if j := g.journal.Load(); j != nil {
		j.record(e)
	}
}

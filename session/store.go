package session

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

var (
	// ErrReplayed reports a ticket that has been rotated out: its successor was used, or its grace
	// is over.
	ErrReplayed = errors.New("session: ticket already used")
	// ErrEnded reports a ticket of a session that was revoked.
	ErrEnded = errors.New("session: session ended")
	// ErrForgotten reports a ticket that may have been used or revoked, but the memory of it was full.
	ErrForgotten = errors.New("session: ticket no longer known")
	// ErrRandom reports a random source that is missing or repeats itself.
	ErrRandom = errors.New("session: random source unusable")
)

// StoreConfig sets up a Store. Only Key and Rand are required.
type StoreConfig struct {
	Key  [KeySize]byte // signs the tickets; see Sealer
	Rand io.Reader     // source of session ids, safe for concurrent use: crypto/rand.Reader

	// TTL is how long a ticket is good, counted from its issue. Zero or less means 30 minutes.
	// Gateways that share a key should share the TTL.
	TTL time.Duration
	// MaxAge is how long a session can be renewed, counted from its beginning: no ticket expires
	// later. Zero or less means without end.
	MaxAge time.Duration
	// Grace is how long a ticket stays good after its first use, in case the answer was lost: three
	// times as long until Confirm. Zero means 5 s, negative none.
	Grace time.Duration
	// MaxRecords bounds the sessions remembered. Zero or less means 1,048,576, at about 150 bytes each.
	MaxRecords int
	// MaxPerUser bounds the detached sessions of one user: when one more is detached, the one goes
	// that has been detached for the longest time. Sessions of the empty user are nobody's. Zero or
	// less means any number. See SetMaxPerUser.
	MaxPerUser int
	// OverUser is told of each session that goes for that, without a lock held. Nil means that
	// nobody is.
	OverUser func(user string)
	// MaxSpent bounds the used-up or revoked sessions remembered. Zero or less means 1,048,576, at
	// about 100 bytes each.
	MaxSpent int
	// MaxSnapshotBytes bounds the session text and topics kept of one session; a topic counts its
	// name and 16 bytes, and 40 more where it has history. Of a session with more nothing is kept:
	// it is resumed with its user only, and with Snapshot.Lost. Zero or less means 64 KiB.
	MaxSnapshotBytes int
	// MaxBytes bounds the session texts and topics kept of all sessions, with what it takes to keep
	// them. When they are more, those kept for the longest time go, and their sessions are resumed
	// with their users only, and with Snapshot.Lost. Zero or less means 64 MiB.
	MaxBytes int64

	// Journal is told of all tickets that are spent from now on, those of one session in their
	// order. It is called with a lock held: it must not block, and not call the Store. Nil means
	// that nobody is.
	Journal func(JournalEntry)
}

// unconfirmed is how many times Grace a ticket stays good while nobody knows whether its successor
// has arrived.
const unconfirmed = 3

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Store remembers the sessions that clients may resume. Connections that did not ask for that are
// not in it. Any goroutine may call its methods.
//
// # What holds, and what the bounds cost
//
// Each Resume rotates: the ticket presented is good once more within Grace (its answer may be lost,
// and a client may wait 10 s for it before it tries again), its successor is good until it expires.
// What Resume gives back depends on what is known of the session:
//
//   - A record: user, session text and topics, and the older holder to be closed.
//   - No record, because the gateway restarted or another one with our key issued the ticket: the user only. From
//     then on there is a record, so the ticket and all before it are spent.
//   - Evicted for want of room (MaxRecords: the detached session that expires first, else the attached one that does;
//     MaxPerUser: the user's that was detached first):
//     the newest ticket is good for the user only, all before are refused, also within Grace. A connection that holds
//     an evicted session is not found as the older one.
//   - Ended: refused until the last ticket that can be out there expires.
//
// Evicted and ended sessions are remembered in MaxSpent entries. Beyond that the entry that expires
// first is forgotten, and all tickets without a record that expire no later than it did are refused
// with ErrForgotten. So a full memory costs some clients a new login, but never lets this process
// accept a replayed or ended ticket. When now runs backwards the ticket before the newest may be
// good for six times its grace, and tickets last longer by as much. Memory does not reach other
// gateways: there, a ticket that is good by its signature and expiry passes once. It survives the
// process in a journal, if somebody keeps one (StoreConfig.Journal, Remember): then a ticket is
// spent from its first use on, since the time in which it is good once more ends with the process.
//
// Bounds and the order of eviction are kept per shard, of which there is one for bounds below 8192
// and up to 64 above; a shard may be full when the whole is still some percent below its bound.
type Store struct {
	sealer      *Sealer
	rand        io.Reader
	ttl         int64 // milliseconds
	maxAge      int64 // milliseconds; 0: none
	grace       int64 // milliseconds
	maxSnapshot int
	maxBytes    int64
	shards      []recordShard
	journal     func(JournalEntry)
	watcher     Watcher
	waiting     *waiting
	overUser    func(user string)

	bytes   atomic.Int64  // of the snapshots
	number  atomic.Uint64 // of the newest one
	tooLong atomic.Uint64
	tooMany atomic.Uint64
}

// NewStore returns an empty Store. It fails with ErrRandom if c.Rand is nil.
func NewStore(c StoreConfig) (*Store, error) {
	if c.Rand == nil {
		return nil, ErrRandom
	}
	if c.Grace == 0 {
		c.Grace = 5 * time.Second
	}
	records, spent := orDefault(c.MaxRecords, 1<<20), orDefault(c.MaxSpent, 1<<20)
	s := &Store{
		sealer:      NewSealer(c.Key),
		rand:        c.Rand,
		ttl:         orDefault(c.TTL, 30*time.Minute).Milliseconds(),
		maxAge:      max(c.MaxAge, 0).Milliseconds(),
		grace:       max(c.Grace, 0).Milliseconds(),
		maxSnapshot: orDefault(c.MaxSnapshotBytes, 64<<10),
		maxBytes:    orDefault(c.MaxBytes, 64<<20),
		journal:     c.Journal,
		waiting:     newWaiting(),
		overUser:    c.OverUser,
		shards:      make([]recordShard, shardsFor(min(records, spent))),
	}
	s.SetMaxPerUser(c.MaxPerUser)
	for i := range s.shards {
		sh := &s.shards[i]
		sh.waiting = s.waiting
		sh.byID = make(map[SessionID]*record)
		sh.limit = records / len(s.shards)
		sh.bytes, sh.number = &s.bytes, &s.number
		sh.first.Store(noSnapshot)
		sh.spent = spentSet{byID: make(map[SessionID]*spentTicket), limit: spent / len(s.shards)}
	}
	return s, nil
}

func (s *Store) shard(id SessionID) *recordShard {
	return &s.shards[xxhash.Sum64(id[:])%uint64(len(s.shards))]
}

// Issued is a ticket for the client.
type Issued struct {
	ID      SessionID // the same through all rotations; Detach and End want it
	Ticket  string    // the text for the client
	Expires int64     // unix milliseconds
}

// expires returns until when a ticket of a session is good that is issued at ms.
func (s *Store) expires(ms, began int64, l Login) int64 {
	at := ms + s.ttl
	if s.maxAge > 0 {
		at = min(at, began+s.maxAge)
	}
	if l.Until > 0 {
		at = min(at, l.Until)
	}
	return at
}

// Begin starts a session of l, held by connection ref, which must not be 0. The string l.User is
// kept. It fails with ErrUserTooLong, ErrRandom, ErrExpired when the login is over, or what the
// random source reports.
func (s *Store) Begin(now time.Time, ref Ref, l Login) (Issued, error) {
	if len(l.User) > MaxUserLen {
		return Issued{}, ErrUserTooLong
	}
	ms := now.UnixMilli()
	r := &record{user: l.User, holder: ref, expires: s.expires(ms, ms, l)}
	if r.expires <= ms {
		return Issued{}, ErrExpired
	}
	if _, err := io.ReadFull(s.rand, r.id[:]); err != nil {
		return Issued{}, fmt.Errorf("session: making a session id: %w", err)
	}
	t := Ticket{ID: r.id, Expires: r.expires, Began: ms, Login: l}
	sh := s.shard(r.id)
	sh.mu.Lock()
	if sh.byID[r.id] != nil || sh.spent.byID[r.id] != nil {
		sh.mu.Unlock()
		return Issued{}, ErrRandom
	}
	sh.makeRoom(ms)
	sh.add(r)
	sh.changed(r)
	sh.mu.Unlock()
	return s.issue(t)
}

// Resumed is what a client gets back for its ticket.
type Resumed struct {
	Issued
	Login

	// Snapshot is the state remembered. Pass it back to Detach if the connection does not come to
	// use it.
	Snapshot Snapshot
	// Known is false if there was no record of the session: then Snapshot has Lost alone.
	Known bool
	// Holder is the connection that held the session until now, to be closed as a duplicate, or 0.
	// Its state is not here yet: its own Detach hands it over to the new holder, see Handover.
	Holder Ref
	// Former is the connection whose state is still to be handed over, or 0: Holder, or one that
	// Holder has resumed the session from and whose end it awaits.
	Former Ref

	before rotation // for TakeBack
}

// Open verifies the text of a ticket and says whose it is and of which session, which changes
// nothing: there may be reasons not to Resume. It fails with ErrMalformed, ErrForged or ErrExpired.
// text may be reused afterwards.
func (s *Store) Open(now time.Time, text []byte) (Ticket, error) {
	t, err := s.sealer.Open(text, now)
	if err != nil {
		return Ticket{}, err
	}
	if ms := now.UnixMilli(); s.expires(ms, t.Began, t.Login) <= ms { // MaxAge was longer when it was issued
		return Ticket{}, ErrExpired
	}
	return t, nil
}

// Check says whether Resume would take t at present, which changes nothing. It fails as Resume does.
func (s *Store) Check(now time.Time, t Ticket) error {
	sh := s.shard(t.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := record{serial: t.Serial}
	if known := sh.byID[t.ID]; known != nil {
		r = *known
	} else if err := sh.check(t); err != nil {
		return err
	}
	_, err := r.rotate(t.Serial, now.UnixMilli(), unconfirmed*s.grace)
	return err
}

// Resume makes connection ref, which must not be 0, the holder of the session of t, which Open
// returned, and issues the next ticket. Of two that resume one session the later wins. It fails
// with ErrReplayed, ErrEnded, ErrForgotten or ErrUnknown; then nothing has changed. If the client
// cannot be told of the next ticket after all, call TakeBack.
func (s *Store) Resume(now time.Time, t Ticket, ref Ref) (out Resumed, err error) {
	ms := now.UnixMilli()
	out.Login = t.Login
	next := Ticket{ID: t.ID, Expires: s.expires(ms, t.Began, t.Login), Began: t.Began, Login: t.Login}

	sh := s.shard(t.ID)
	sh.mu.Lock()
	r := sh.byID[t.ID]
	out.Known = r != nil
	if r == nil {
		r, err = sh.readmit(t, ref, ms)
	}
	if err == nil {
		out.before, err = r.rotate(t.Serial, ms, unconfirmed*s.grace)
	}
	if err == nil && !out.before.stepped && r.undelivered() { // what another has stepped on is ref's to undo, from now on
		out.before = rotation{stepped: true, serial: r.serial - 1}
	}
	if err == nil {
		out.Snapshot, out.Holder = sh.supersede(r, ref)
		out.Snapshot.Lost = out.Snapshot.Lost || !out.Known
		out.Former = r.former
		sh.hold(r, ref, max(r.expires, next.Expires))
		next.Serial = r.serial
		if out.before.stepped {
			s.note(r)
		}
		sh.changed(r)
	}
	sh.mu.Unlock()
	if err != nil {
		return Resumed{}, err
	}
	out.Issued, err = s.issue(next)
	return out, err
}

// check decides on a ticket of a session of which there is no record.
func (sh *recordShard) check(t Ticket) error {
	if sh.watcher == nil {
		return sh.spent.check(t)
	}
	if known := sh.spent.byID[t.ID]; known != nil && known.min == endedSerial {
		return ErrEnded
	}
	return ErrUnknown // what is spent is known where the session is
}

// changed tells the Watcher of r.
func (sh *recordShard) changed(r *record) {
	if sh.watcher != nil {
		sh.watcher.Changed(r.id)
	}
}

// left tells it that r has lost a connection.
func (sh *recordShard) left(r *record) {
	if sh.watcher != nil {
		sh.watcher.Left(r.id)
	}
}

// forgotten tells it that r has gone.
func (sh *recordShard) forgotten(r *record) {
	if sh.watcher != nil {
		sh.watcher.Forgotten(r.id)
	}
}

// readmit makes a record for a ticket that has none.
func (sh *recordShard) readmit(t Ticket, ref Ref, ms int64) (*record, error) {
	if err := sh.check(t); err != nil {
		return nil, err
	}
	expires, err := sh.spent.admit(t)
	if err != nil {
		return nil, err
	}
	sh.makeRoom(ms)
	r := &record{id: t.ID, user: t.User, holder: ref, expires: expires, serial: t.Serial}
	sh.add(r)
	return r, nil
}

// note tells the journal which tickets of r are spent.
func (s *Store) note(r *record) {
	if s.journal != nil {
		s.journal(JournalEntry{r.id, r.serial, r.expires})
	}
}

func (s *Store) issue(t Ticket) (Issued, error) {
	var buf [160]byte // user ids up to 51 bytes
	text, err := s.sealer.Seal(buf[:0], t)
	return Issued{ID: t.ID, Ticket: string(text), Expires: t.Expires}, err
}

// Undelivered notes that the client for which connection ref has resumed a session is told of its
// next ticket later: until Told is called, the ticket before is the newest that anybody knows, and
// good. If the connection goes meanwhile, call TakeBack.
func (s *Store) Undelivered(out Resumed, ref Ref) {
	sh := s.shard(out.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.byID[out.ID]; r != nil && r.holder == ref && out.before.stepped && !r.undelivered() {
		r.grace = -r.grace
	}
}

// Told ends that: the ticket before is good for a few times Grace from now on.
func (s *Store) Told(now time.Time, id SessionID, ref Ref) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.byID[id]; r != nil && r.holder == ref && r.undelivered() {
		r.grace = now.UnixMilli() + unconfirmed*s.grace
	}
}

// Confirm notes that the client which connection ref resumed session id for has the next ticket:
// the one before is good for Grace from now at most.
func (s *Store) Confirm(now time.Time, id SessionID, ref Ref) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.byID[id]; r != nil && r.holder == ref {
		r.grace = min(r.grace, now.UnixMilli()+s.grace)
	}
}

// Expire removes up to max entries that are due at now, sessions and spent ones, and returns their
// number: if it is max, there may be more. Each shard is locked by itself.
func (s *Store) Expire(now time.Time, max int) (n int) {
	ms := now.UnixMilli()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += sh.expire(ms, max-n)
		n += sh.spent.expire(ms, max-n)
		sh.mu.Unlock()
		if n >= max {
			break
		}
	}
	return n
}

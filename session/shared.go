package session

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"time"
)

var (
	// ErrUnknown reports a ticket of a session that is not in a Store with a Watcher: another Store
	// has it, or nobody does.
	ErrUnknown = errors.New("session: not known here")
	// ErrHeld reports a session that a connection has.
	ErrHeld = errors.New("session: a connection has it")
	// ErrShared reports bytes that are no Shared.
	ErrShared = errors.New("session: no shared session, or one of another version")
)

// A Watcher is told what becomes of the sessions of a Store, so that other Stores with its key can
// take them over. Its methods are called with a lock held: they must not block, and not call the
// Store.
type Watcher interface {
	// Changed says that a session has begun or was resumed.
	Changed(id SessionID)
	// Left says that a session has lost its connection, or that what one had is there for the next.
	Left(id SessionID)
	// Ended says that a session was ended, known here or not.
	Ended(id SessionID)
	// Forgotten says that there is no record of a session any more: it has expired, or was evicted.
	Forgotten(id SessionID)
}

// Watch says who is told of all sessions from now on; before the first Begin or Resume. A ticket of
// a session of which there is no record is refused with ErrUnknown then: somebody must Adopt the
// session first.
func (s *Store) Watch(w Watcher) {
	s.watcher = w
	for i := range s.shards {
		s.shards[i].watcher = w
	}
}

// A Shared is what another Store must know of a session to take it over.
type Shared struct {
	ID      SessionID
	User    string
	Serial  uint32 // of the newest ticket
	Grace   int64  // unix milliseconds: until then the ticket before is good, too
	Expires int64  // unix milliseconds: no ticket is good any longer
	// Attached says that a connection has it, and was where the Marks say when they were written, or
	// farther.
	Attached bool
	// Behind says of an Attached one that its connection lacked what others of its Store had had:
	// nothing but the Marks tells where it is.
	Behind   bool
	Snapshot Snapshot
}

// The binary form of a Shared. Integers are big-endian or, where it says so, varints; a text is a
// varint with its length and its bytes.
//
//	offset  0  version, 3
//	        1  flags: 1 attached, 2 lost, 4 marks lost, 8 behind
//	        2  session id
//	       18  serial, uint32
//	       22  grace, int64
//	       30  expires, int64
//	       38  user, session text: texts
//	           varint n, n topics: texts
//	           varint n, n claims: two texts each
//	           varint n, n marks: the topic's place among the topics, epoch xor the one before, seq,
//	           time less the one before (signed), and last: varints each. The first follows zeros.
const (
	sharedVersion   = 3
	sharedAttached  = 1
	sharedLost      = 2
	sharedMarksLost = 4
	sharedBehind    = 8
	sharedHead      = 38
)

// Append writes sh after dst. Equal sessions have equal bytes.
func (sh *Shared) Append(dst []byte) []byte {
	flags := byte(0)
	if sh.Attached {
		flags |= sharedAttached
	}
	if sh.Snapshot.Lost {
		flags |= sharedLost
	}
	if sh.Snapshot.MarksLost {
		flags |= sharedMarksLost
	}
	if sh.Behind {
		flags |= sharedBehind
	}
	text := func(s string) {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = append(dst, sharedVersion, flags)
	dst = append(dst, sh.ID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, sh.Serial)
	dst = binary.BigEndian.AppendUint64(dst, uint64(sh.Grace))
	dst = binary.BigEndian.AppendUint64(dst, uint64(sh.Expires))
	text(sh.User)
	text(sh.Snapshot.SessionText)
	dst = binary.AppendUvarint(dst, uint64(len(sh.Snapshot.Topics)))
	topics := slices.Sorted(slices.Values(sh.Snapshot.Topics))
	for _, t := range topics {
		text(t)
	}
	dst = binary.AppendUvarint(dst, uint64(len(sh.Snapshot.Claims)))
	for _, k := range slices.Sorted(maps.Keys(sh.Snapshot.Claims)) {
		text(k)
		text(sh.Snapshot.Claims[k])
	}
	return appendMarks(dst, topics, sh.Snapshot.Marks)
}

// appendMarks appends marks of topics, which are sorted. Those of other topics are left out.
func appendMarks(dst []byte, topics []string, marks []Mark) []byte {
	type place struct {
		of   int
		mark *Mark
	}
	var list []place
	for i := range marks {
		if of, ok := slices.BinarySearch(topics, marks[i].Topic); ok {
			list = append(list, place{of, &marks[i]})
		}
	}
	slices.SortStableFunc(list, func(a, b place) int { return a.of - b.of })
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	epoch, at := uint64(0), int64(0)
	for _, p := range list {
		dst = binary.AppendUvarint(dst, uint64(p.of))
		dst = binary.AppendUvarint(dst, p.mark.Epoch^epoch)
		dst = binary.AppendUvarint(dst, p.mark.Seq)
		dst = binary.AppendVarint(dst, p.mark.At-at)
		dst = binary.AppendUvarint(dst, uint64(p.mark.Last))
		epoch, at = p.mark.Epoch, p.mark.At
	}
	return dst
}

// marks reads what appendMarks has written.
func (r *textReader) marks(topics []string) (list []Mark) {
	n := r.count(5)
	if n > len(topics) {
		r.bad = true
		return nil
	}
	epoch, at, last := uint64(0), int64(0), -1
	for range n {
		of := r.number()
		if r.bad || of >= uint64(len(topics)) || int(of) <= last {
			r.bad = true
			return nil
		}
		last = int(of)
		epoch ^= r.number()
		m := Mark{Topic: topics[of], Epoch: epoch, Seq: r.number()}
		step, size := binary.Varint(r.rest)
		if r.bad || size <= 0 {
			r.bad = true
			return nil
		}
		r.rest = r.rest[size:]
		at += step
		m.At = at
		asked := r.number()
		if r.bad || asked > math.MaxUint32 {
			r.bad = true
			return nil
		}
		m.Last = uint32(asked)
		list = append(list, m)
	}
	return list
}

func (r *textReader) number() uint64 {
	v, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return v
}

// ParseShared reads what Append has written, all of b. It fails with ErrShared.
func ParseShared(b []byte) (sh Shared, err error) {
	if len(b) < sharedHead || b[0] != sharedVersion {
		return sh, ErrShared
	}
	sh.Attached, sh.Behind = b[1]&sharedAttached != 0, b[1]&sharedBehind != 0
	sh.Snapshot.Lost, sh.Snapshot.MarksLost = b[1]&sharedLost != 0, b[1]&sharedMarksLost != 0
	copy(sh.ID[:], b[2:])
	sh.Serial = binary.BigEndian.Uint32(b[18:])
	sh.Grace = int64(binary.BigEndian.Uint64(b[22:]))
	sh.Expires = int64(binary.BigEndian.Uint64(b[30:]))
	r := textReader{rest: b[sharedHead:]}
	sh.User, sh.Snapshot.SessionText = r.text(), r.text()
	if n := r.count(1); n > 0 {
		sh.Snapshot.Topics = make([]string, 0, n)
		for range n {
			sh.Snapshot.Topics = append(sh.Snapshot.Topics, r.text())
		}
	}
	if n := r.count(2); n > 0 {
		sh.Snapshot.Claims = make(map[string]string, n)
		for range n {
			k := r.text()
			sh.Snapshot.Claims[k] = r.text()
		}
	}
	sh.Snapshot.Marks = r.marks(sh.Snapshot.Topics)
	if r.bad || len(r.rest) > 0 || len(sh.User) > MaxUserLen || sh.Serial == math.MaxUint32 {
		return Shared{}, ErrShared
	}
	return sh, nil
}

// A textReader reads texts until one is bad.
type textReader struct {
	rest []byte
	bad  bool
}

// count reads how many there are of what takes at least least bytes each.
func (r *textReader) count(least int) int {
	n, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 || n > uint64(len(r.rest)-size)/uint64(least) {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return int(n)
}

func (r *textReader) text() string {
	n := r.count(1)
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// Share returns what other Stores must know of session id, but for what its connection, holder, has
// of it. It fails with ErrUnknown if there is no record of it, and with ErrHeld while its
// connection has yet to get what another had. The Snapshot is the caller's.
func (s *Store) Share(id SessionID) (shared Shared, holder Ref, err error) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.byID[id]
	switch {
	case r == nil:
		return shared, 0, ErrUnknown
	case r.holder != 0 && (r.former != 0 || r.snap != nil):
		return shared, 0, ErrHeld
	}
	shared = r.shared()
	if r.snap != nil {
		shared.Snapshot = r.snap.clone()
	}
	return shared, r.holder, nil
}

func (r *record) shared() Shared {
	serial, grace := r.serial, r.grace
	if r.undelivered() {
		serial, grace = serial-1, 0
	}
	return Shared{
		ID: r.id, User: r.user, Serial: serial, Grace: grace, Expires: r.expires, Attached: r.holder != 0,
	}
}

// clone copies what is kept.
func (n *snapshot) clone() Snapshot {
	c := n.Snapshot
	c.Topics, c.Marks, c.Claims = slices.Clone(n.Topics), slices.Clone(n.Marks), maps.Clone(n.Claims)
	return c
}

// Step checks a ticket of the session of shared, and makes shared what it is once the session was
// resumed with it. It fails with ErrReplayed or ErrExpired.
func (s *Store) Step(now time.Time, shared *Shared, t Ticket) error {
	ms := now.UnixMilli()
	if max(shared.Expires, t.Expires) <= ms {
		return ErrExpired
	}
	r := record{serial: shared.Serial, grace: shared.Grace}
	if _, err := r.rotate(t.Serial, ms, unconfirmed*s.grace); err != nil {
		return err
	}
	shared.Serial, shared.Grace = r.serial, r.grace
	shared.Expires = max(shared.Expires, s.expires(ms, t.Began, t.Login))
	shared.Attached = true
	return nil
}

// Adopt takes in a session that another Store has given up. It is detached then, also if it was
// not. The Snapshot is the Store's from now on. It fails with ErrEnded or ErrExpired. The Watcher
// is not told.
func (s *Store) Adopt(now time.Time, shared Shared) error {
	ms, kept := now.UnixMilli(), s.pack(shared.Snapshot)
	if shared.Expires <= ms {
		return ErrExpired
	}
	sh := s.shard(shared.ID)
	sh.mu.Lock()
	r := sh.byID[shared.ID]
	spent := sh.spent.byID[shared.ID]
	switch {
	case spent != nil && spent.min == endedSerial:
		sh.mu.Unlock()
		return ErrEnded
	case r == nil:
		if spent != nil {
			shared.Serial, shared.Expires = max(shared.Serial, spent.min), max(shared.Expires, spent.expires)
			sh.spent.drop(spent)
		}
		sh.makeRoom(ms)
		r = &record{
			id: shared.ID, user: shared.User, serial: shared.Serial, grace: shared.Grace, expires: shared.Expires,
		}
		sh.add(r)
		sh.keep(r, kept)
	case shared.Serial >= r.serial: // it was lost to the other without a word
		r.serial, r.grace = shared.Serial, shared.Grace
		sh.hold(r, r.holder, max(r.expires, shared.Expires))
		if kept != nil {
			sh.take(r)
			sh.keep(r, kept)
		}
	}
	sh.mu.Unlock()
	s.trimAll(r)
	return nil
}

// raceTime is how long a session that was taken over cannot be taken over again with the same
// ticket, in milliseconds: who asks for it meanwhile is a rival, not the same client that tries
// again.
const raceTime = 500

// MayGive says whether another Store may have session id, to which the ticket with this serial was
// shown. It fails with ErrUnknown, ErrReplayed and ErrExpired. holder and former are the
// connections that must be closed first, or 0.
func (s *Store) MayGive(now time.Time, id SessionID, serial uint32) (holder, former Ref, err error) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r, err := sh.mayGive(now, id, serial, s.grace)
	if err != nil {
		return 0, 0, err
	}
	return r.holder, r.former, nil
}

func (sh *recordShard) mayGive(now time.Time, id SessionID, serial uint32, grace int64) (*record, error) {
	r, ms := sh.byID[id], now.UnixMilli()
	if r == nil {
		return nil, ErrUnknown
	}
	if r.expires <= ms {
		return nil, ErrExpired
	}
	try := *r
	before, err := try.rotate(serial, ms, unconfirmed*grace)
	if err != nil {
		return nil, err
	}
	if !before.stepped && r.holder != 0 && max(r.grace, -r.grace)-unconfirmed*grace > ms-raceTime {
		return nil, ErrReplayed
	}
	return r, nil
}

// Give is MayGive for a session without a connection, which the Store forgets: it is another's from
// now on. It fails with ErrHeld, too. The Watcher is not told.
func (s *Store) Give(now time.Time, id SessionID, serial uint32) (Shared, error) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r, err := sh.mayGive(now, id, serial, s.grace)
	switch {
	case err != nil:
		return Shared{}, err
	case r.holder != 0:
		return Shared{}, ErrHeld
	}
	shared := r.shared()
	if r.snap != nil {
		shared.Snapshot = r.snap.clone()
	}
	sh.drop(r)
	return shared, nil
}

// Lose forgets session id: another Store has it. holder and former are the connections that had it,
// or 0. The Watcher is not told.
func (s *Store) Lose(id SessionID) (holder, former Ref) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.byID[id]
	if r == nil {
		return 0, 0
	}
	holder, former = r.holder, r.former
	sh.drop(r)
	return holder, former
}

// Has reports whether there is a record of session id.
func (s *Store) Has(id SessionID) bool {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.byID[id] != nil
}

// IDs returns the ids of all sessions of which there are records, one shard at a time.
func (s *Store) IDs() (ids []SessionID) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for id := range sh.byID {
			ids = append(ids, id)
		}
		sh.mu.Unlock()
	}
	return ids
}

package session

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"time"
)

// A journal keeps, for a Store of the same key in a later process, which tickets are spent. It is a
// head and entries, of 32 bytes each, big-endian, and each ends with the CRC-32C of what is before
// it. Of two entries of one session the later holds, but none after one that says that the session
// has ended.
//
//	head   0  "sluiceJ1"
//	       8  floor, unix milliseconds, int64
//	      16  lost, unix milliseconds, int64
//	      24  0, four bytes
//	entry  0  session id
//	      16  lowest serial that is good, uint32; 0xffffffff: none is
//	      20  expiry, unix milliseconds, int64: no ticket of the session is good any longer
const (
	// JournalSize is the size of a journal's head, and of each of its entries, in bytes.
	JournalSize = 32

	journalMagic = "sluiceJ1"
	journalSum   = JournalSize - 4
)

// ErrNoJournal reports bytes that are not the head of a journal.
var ErrNoJournal = errors.New("session: no journal, or one of another version")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A JournalHead says what a journal does not have entries of, in unix milliseconds, 0 for nothing.
type JournalHead struct {
	// Floor is the latest expiry of the sessions that were forgotten for want of room
	// (StoreConfig.MaxSpent): tickets of sessions without an entry are refused that expire no
	// later.
	Floor int64
	// Lost is the latest expiry of the sessions of which entries could not be written: all tickets
	// are refused that expire no later, whatever the entries say.
	Lost int64
}

// A JournalEntry says which tickets of a session are spent.
type JournalEntry struct {
	ID      SessionID
	Min     uint32 // the lowest serial that is good; the highest uint32: the session has ended
	Expires int64  // unix milliseconds: no ticket of the session is good any longer
}

// Append writes the head after dst.
func (h JournalHead) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, journalMagic...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Floor))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Lost))
	dst = append(dst, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// ParseJournalHead reads the first JournalSize bytes of a journal. It fails with ErrNoJournal.
func ParseJournalHead(b []byte) (h JournalHead, err error) {
	if len(b) < JournalSize || string(b[:len(journalMagic)]) != journalMagic || !sumGood(b) {
		return h, ErrNoJournal
	}
	return JournalHead{
		Floor: int64(binary.BigEndian.Uint64(b[8:])),
		Lost:  int64(binary.BigEndian.Uint64(b[16:])),
	}, nil
}

// Append writes the entry after dst.
func (e JournalEntry) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, e.ID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, e.Min)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Expires))
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// ParseJournalEntry reads the JournalSize bytes of an entry; ok is false when they are damaged, or
// too few.
func ParseJournalEntry(b []byte) (e JournalEntry, ok bool) {
	if len(b) < JournalSize || !sumGood(b) {
		return e, false
	}
	copy(e.ID[:], b)
	e.Min = binary.BigEndian.Uint32(b[16:])
	e.Expires = int64(binary.BigEndian.Uint64(b[20:]))
	return e, true
}

func sumGood(b []byte) bool {
	return crc32.Checksum(b[:journalSum], castagnoli) == binary.BigEndian.Uint32(b[journalSum:])
}

// Remember takes in an entry of an earlier process's journal, in the order in which they are there.
// Call it before the first Resume.
func (s *Store) Remember(now time.Time, e JournalEntry) {
	if e.Expires <= now.UnixMilli() {
		return
	}
	sh := s.shard(e.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if t := sh.spent.byID[e.ID]; t != nil && t.min != endedSerial {
		t.min = e.Min // which is lower after a TakeBack
	}
	sh.spent.put(e.ID, e.Min, e.Expires)
}

// Forget has tickets refused with ErrForgotten that expire at or before the unix milliseconds until
// and of whose sessions nothing is known.
func (s *Store) Forget(until int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.spent.floor = max(sh.spent.floor, until)
		sh.mu.Unlock()
	}
}

// Forgotten returns the latest expiry, in unix milliseconds, of the sessions that were forgotten
// for want of room; 0 if none were.
func (s *Store) Forgotten() (until int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		until = max(until, sh.spent.floor)
		sh.mu.Unlock()
	}
	return until
}

// Spent returns the entries of a journal that starts afresh: those of all sessions that have spent
// tickets. No lock is held when they are yielded. What changes meanwhile may be in them or not; it
// is in StoreConfig.Journal's. Ask for Forgotten afterwards: it is right about what was forgotten
// meanwhile, too.
func (s *Store) Spent(now time.Time) iter.Seq[JournalEntry] {
	ms := now.UnixMilli()
	return func(yield func(JournalEntry) bool) {
		var some []JournalEntry
		for i := range s.shards {
			some = s.shards[i].appendSpent(some[:0], ms)
			for _, e := range some {
				if !yield(e) {
					return
				}
			}
		}
	}
}

func (sh *recordShard) appendSpent(dst []JournalEntry, ms int64) []JournalEntry {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, r := range sh.byID {
		if r.serial > 0 && r.expires > ms {
			dst = append(dst, JournalEntry{r.id, r.serial, r.expires})
		}
	}
	for _, t := range sh.spent.byID {
		if t.min > 0 && t.expires > ms {
			dst = append(dst, JournalEntry{t.id, t.min, t.expires})
		}
	}
	return dst
}

package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"math"
	"sync"
	"time"
)

// The binary form of a ticket; its text is the same in URL-safe base64 without padding. Integers
// are big-endian.
//
//	offset  0  version, 2
//	        1  session id, 16 random bytes
//	       17  serial, uint32
//	       21  expiry, unix milliseconds, int64
//	       29  beginning of the session, unix milliseconds, int64
//	       37  end of the login, unix milliseconds, int64; 0: none
//	       45  proof of the login, masked by the first 8 bytes of HMAC-SHA256 over the session id; 0: none
//	       53  user id, 0 to 1024 bytes
//	  len-16  first 16 bytes of HMAC-SHA256 over all before
const (
	// KeySize is the length of the key that signs tickets, in bytes.
	KeySize = 32
	// MaxUserLen is the longest user id a ticket can carry, in bytes.
	MaxUserLen = 1024
	// MaxTicketLen is the length of the longest ticket text, in bytes.
	MaxTicketLen = (maxRawTicket*8 + 5) / 6

	ticketVersion = 2
	ticketHead    = 1 + 16 + 4 + 4*8
	ticketMAC     = 16
	minRawTicket  = ticketHead + ticketMAC
	maxRawTicket  = minRawTicket + MaxUserLen
	minTicketLen  = (minRawTicket*8 + 5) / 6
)

var (
	// ErrMalformed reports a text that is no ticket: wrong length, alphabet or version.
	ErrMalformed = errors.New("session: malformed ticket")
	// ErrForged reports a ticket that was not signed with our key.
	ErrForged = errors.New("session: ticket signature does not match")
	// ErrExpired reports a ticket of ours that is out of date.
	ErrExpired = errors.New("session: ticket expired")
	// ErrUserTooLong reports a user id of more than MaxUserLen bytes.
	ErrUserTooLong = errors.New("session: user id too long for a ticket")
)

// Strict refuses stray bits in the last character, so that a ticket has one spelling.
var ticketText = base64.RawURLEncoding.Strict()

// SessionID names a session through all its rotations.
type SessionID [16]byte

// String returns 32 lower-case hex digits. An id alone opens nothing, so it may be logged.
func (id SessionID) String() string { return hex.EncodeToString(id[:]) }

// A Login is what a session rests on, and what its tickets carry.
type Login struct {
	User  string // at most MaxUserLen bytes, any
	Until int64  // unix milliseconds when the login ends, and with it the session; 0: never
	// Proof is what the login was granted for, for whoever granted it to say whether it still
	// holds; 0: nothing. It is masked in the ticket: whoever finds one learns nothing about it.
	Proof uint64
}

// Ticket is what a session_id says: the bearer was User until Expires.
type Ticket struct {
	ID      SessionID
	Serial  uint32 // counts the rotations of ID
	Expires int64  // unix milliseconds
	Began   int64  // unix milliseconds, of the session
	Login
}

// Sealer signs and verifies tickets. Any goroutine may call its methods. Gateways that share a key
// accept each other's tickets.
type Sealer struct {
	pool sync.Pool // of *sealState
}

// sealState is the scratch space of one Seal or Open. Buffers handed to a hash.Hash escape; pooled,
// they cost nothing.
type sealState struct {
	mac hash.Hash
	raw [maxRawTicket]byte
	sum [sha256.Size]byte
}

// NewSealer returns a Sealer for key.
func NewSealer(key [KeySize]byte) *Sealer {
	s := new(Sealer)
	s.pool.New = func() any { return &sealState{mac: hmac.New(sha256.New, key[:])} }
	return s
}

// Seal writes the text of t after dst. It fails with ErrUserTooLong.
func (s *Sealer) Seal(dst []byte, t Ticket) ([]byte, error) {
	if len(t.User) > MaxUserLen {
		return dst, ErrUserTooLong
	}
	st := s.pool.Get().(*sealState)
	defer s.pool.Put(st)
	raw := append(st.raw[:0], ticketVersion)
	raw = append(raw, t.ID[:]...)
	raw = binary.BigEndian.AppendUint32(raw, t.Serial)
	raw = binary.BigEndian.AppendUint64(raw, uint64(t.Expires))
	raw = binary.BigEndian.AppendUint64(raw, uint64(t.Began))
	raw = binary.BigEndian.AppendUint64(raw, uint64(t.Until))
	raw = binary.BigEndian.AppendUint64(raw, st.mask(t.ID, t.Proof))
	raw = append(raw, t.User...)
	raw = append(raw, st.sign(raw)...)
	return ticketText.AppendEncode(dst, raw), nil
}

// Open verifies text at time now. It fails with ErrMalformed, ErrForged or ErrExpired; with
// ErrExpired the Ticket is returned too, for the log. Texts over MaxTicketLen are refused unread.
// text may be reused afterwards.
func (s *Sealer) Open(text []byte, now time.Time) (Ticket, error) {
	if len(text) < minTicketLen || len(text) > MaxTicketLen {
		return Ticket{}, ErrMalformed
	}
	st := s.pool.Get().(*sealState)
	defer s.pool.Put(st)
	n, err := ticketText.Decode(st.raw[:], text)
	// The decoder skips line breaks: only a text of exactly the length that n bytes encode to has none.
	if err != nil || ticketText.EncodedLen(n) != len(text) || n < minRawTicket || st.raw[0] != ticketVersion {
		return Ticket{}, ErrMalformed
	}
	body, mac := st.raw[:n-ticketMAC], st.raw[n-ticketMAC:n]
	if !hmac.Equal(mac, st.sign(body)) {
		return Ticket{}, ErrForged
	}
	t := Ticket{
		Serial:  binary.BigEndian.Uint32(body[17:]),
		Expires: int64(binary.BigEndian.Uint64(body[21:])),
		Began:   int64(binary.BigEndian.Uint64(body[29:])),
	}
	copy(t.ID[:], body[1:])
	t.User = string(body[ticketHead:])
	t.Until = int64(binary.BigEndian.Uint64(body[37:]))
	t.Proof = st.mask(t.ID, binary.BigEndian.Uint64(body[45:]))
	if now.UnixMilli() >= t.Expires || t.Serial == math.MaxUint32 { // the last serial cannot be rotated any more
		return t, ErrExpired
	}
	return t, nil
}

// sign returns the MAC of b, valid until the next call.
func (st *sealState) sign(b []byte) []byte {
	st.mac.Reset()
	st.mac.Write(b)
	return st.mac.Sum(st.sum[:0])[:ticketMAC]
}

// mask hides the proof of session id, or shows it again. 0 is itself, and so is what would be shown
// as 0.
func (st *sealState) mask(id SessionID, proof uint64) uint64 {
	if proof == 0 {
		return 0
	}
	copy(st.sum[:], id[:]) // id itself would escape
	mask := binary.BigEndian.Uint64(st.sign(st.sum[:len(id)]))
	if proof == mask {
		return proof
	}
	return proof ^ mask
}

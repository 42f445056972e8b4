package session

import (
	"encoding/hex"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// TokenLen is the length of a one-time token in bytes: 32 lower-case hex digits of 16 random bytes
// (netsvr protocol 2, identifiers).
const TokenLen = 32

type tokenKey [TokenLen / 2]byte

// OneTimeConfig sets up a OneTime. Only Rand is required.
type OneTimeConfig struct {
	Rand io.Reader // source of the tokens, safe for concurrent use: crypto/rand.Reader
	// TTL is how long a token is good. Zero or less means 30 s, netsvr's
	// ConnOpenCustomUniqIdTokenExpire.
	TTL time.Duration
	// MaxTokens bounds the tokens outstanding. Zero or less means 65,536, at about 100 bytes each
	// beside the value.
	MaxTokens int
}

// OneTime issues tokens that are good once: for the custom uniqId of netsvr, or as a login token,
// whose value is the user id. Any goroutine may call its methods.
//
// A clock that is set back makes no token last longer than twice its time.
//
// When MaxTokens are outstanding, a new one drives out the one that expires first. As in Store, the
// bound is kept per shard.
type OneTime struct {
	rand   io.Reader
	ttl    int64 // milliseconds
	shards []tokenShard
	issuer int // the first byte of each token; negative: as drawn
}

type tokenShard struct {
	mu      sync.Mutex
	byKey   map[tokenKey]*oneTimeToken
	due     dueHeap[*oneTimeToken]
	limit   int
	evicted uint64
	_       [64]byte // keeps the next shard's lock off this cache line
}

type oneTimeToken struct {
	key     tokenKey
	value   string
	expires int64 // unix milliseconds
	pos     int   // in tokenShard.due
}

func (t *oneTimeToken) dueAt() int64 { return t.expires }
func (t *oneTimeToken) setPos(i int) { t.pos = i }

// NewOneTime returns a OneTime without tokens. It fails with ErrRandom if c.Rand is nil.
func NewOneTime(c OneTimeConfig) (*OneTime, error) {
	if c.Rand == nil {
		return nil, ErrRandom
	}
	limit := orDefault(c.MaxTokens, 1<<16)
	o := &OneTime{
		rand:   c.Rand,
		ttl:    orDefault(c.TTL, 30*time.Second).Milliseconds(),
		issuer: -1,
		shards: make([]tokenShard, shardsFor(limit)),
	}
	for i := range o.shards {
		o.shards[i].byKey = make(map[tokenKey]*oneTimeToken)
		o.shards[i].limit = limit / len(o.shards)
	}
	return o, nil
}

// IssueAs has the tokens say who has issued them, as TokenIssuer tells: 120 random bits are left of
// them. It must be called before the first Issue.
func (o *OneTime) IssueAs(id byte) { o.issuer = int(id) }

// TokenIssuer returns who has issued a token, if its gateway has them say so. ok is false for what
// is no token at all.
func TokenIssuer(token string) (id byte, ok bool) {
	if len(token) != TokenLen {
		return 0, false
	}
	var first [1]byte
	for i := range len(token) {
		if c := token[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, false
		}
	}
	_, err := hex.Decode(first[:], []byte(token[:2]))
	return first[0], err == nil
}

func (o *OneTime) shard(k tokenKey) *tokenShard {
	return &o.shards[xxhash.Sum64(k[:])%uint64(len(o.shards))]
}

// Issue makes a token that stands for value. It fails with ErrRandom or what the random source reports.
func (o *OneTime) Issue(now time.Time, value string) (token string, err error) {
	ms := now.UnixMilli()
	t := &oneTimeToken{value: value, expires: ms + o.ttl}
	if _, err := io.ReadFull(o.rand, t.key[:]); err != nil {
		return "", fmt.Errorf("session: making a token: %w", err)
	}
	if o.issuer >= 0 {
		t.key[0] = byte(o.issuer)
	}
	sh := o.shard(t.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byKey[t.key] != nil {
		return "", ErrRandom
	}
	if len(sh.due) >= sh.limit && sh.expire(ms, 1) == 0 {
		sh.drop(sh.due[0])
		sh.evicted++
	}
	sh.byKey[t.key] = t
	sh.due.push(t)
	return hex.EncodeToString(t.key[:]), nil
}

// Take returns the value that token stands for and uses it up. ok is false for anything that is not
// a token issued here, in its lower-case spelling, not taken before and in date.
func (o *OneTime) Take(now time.Time, token []byte) (value string, ok bool) {
	var k tokenKey
	if len(token) != TokenLen {
		return "", false
	}
	for _, c := range token {
		if 'A' <= c && c <= 'F' {
			return "", false
		}
	}
	if _, err := hex.Decode(k[:], token); err != nil {
		return "", false
	}
	sh := o.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.byKey[k]
	if t == nil {
		return "", false
	}
	sh.drop(t)
	if left := t.expires - now.UnixMilli(); left <= 0 || left > 2*o.ttl { // more: the clock was set back
		return "", false
	}
	return t.value, true
}

// Expire removes up to max tokens that are due at now and returns their number. Each shard is
// locked by itself.
func (o *OneTime) Expire(now time.Time, max int) (n int) {
	for i := range o.shards {
		sh := &o.shards[i]
		sh.mu.Lock()
		n += sh.expire(now.UnixMilli(), max-n)
		sh.mu.Unlock()
		if n >= max {
			break
		}
	}
	return n
}

// Len counts the tokens outstanding and, over the life of o, those that were driven out before
// their time.
func (o *OneTime) Len() (outstanding int, evicted uint64) {
	for i := range o.shards {
		sh := &o.shards[i]
		sh.mu.Lock()
		outstanding += len(sh.due)
		evicted += sh.evicted
		sh.mu.Unlock()
	}
	return outstanding, evicted
}

func (s *tokenShard) expire(ms int64, max int) (n int) {
	for ; n < max; n++ {
		t, ok := s.due.popDue(ms)
		if !ok {
			break
		}
		delete(s.byKey, t.key)
	}
	return n
}

func (s *tokenShard) drop(t *oneTimeToken) {
	s.due.remove(t.pos)
	delete(s.byKey, t.key)
}

package cluster

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errStoreAway is what a fakeStore says that is down.
var errStoreAway = errors.New("the store is away")

// A fakeStore is a Store in memory. Like the real one it does not tell that a key has expired.
type fakeStore struct {
	life time.Duration

	mu       sync.Mutex
	down     bool
	deaf     bool                  // the next write happens, and its answer is lost
	slow     time.Duration         // how long the next answer takes
	refuses  func(key string) bool // what is not written
	delay    func()                // called before a call is carried out, and before its answer; nil: at once
	revision uint64
	keys     map[string]fakeKey
	watchers map[int]chan Entry
}

type fakeKey struct {
	Entry
	at time.Time
}

func newFakeStore(life time.Duration) *fakeStore {
	return &fakeStore{life: life, keys: make(map[string]fakeKey), watchers: make(map[int]chan Entry)}
}

// set changes what becomes of calls.
func (s *fakeStore) set(f func(*fakeStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// replace has it be made anew: its keys are gone, and revisions begin again.
func (s *fakeStore) replace() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
	s.revision = 0
}

// find returns a key that has not expired. s.mu is held.
func (s *fakeStore) find(key string) (fakeKey, bool) {
	k, ok := s.keys[key]
	if ok && time.Since(k.at) >= s.life {
		delete(s.keys, key)
		return fakeKey{}, false
	}
	return k, ok
}

func (s *fakeStore) wait() {
	if s.delay != nil {
		s.delay()
	}
}

func (s *fakeStore) write(key string, value []byte, fits func(k fakeKey, ok bool) bool) (uint64, error) {
	s.mu.Lock()
	slow := s.slow
	s.slow = 0
	s.mu.Unlock()
	s.wait()
	defer s.wait()
	defer time.Sleep(slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || s.refuses != nil && s.refuses(key) {
		return 0, errStoreAway
	}
	k, ok := s.find(key)
	if !fits(k, ok) {
		return 0, ErrKeyExists
	}
	s.revision++
	e := Entry{key, value, s.revision, time.Now()}
	if value == nil {
		delete(s.keys, key)
	} else {
		s.keys[key] = fakeKey{e, time.Now()}
	}
	for _, w := range s.watchers {
		w <- e
	}
	if s.deaf {
		s.deaf = false
		return 0, errStoreAway
	}
	return s.revision, nil
}

func (s *fakeStore) Create(_ context.Context, key string, value []byte) (uint64, error) {
	return s.write(key, value, func(_ fakeKey, ok bool) bool { return !ok })
}

func (s *fakeStore) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.write(key, value, func(k fakeKey, ok bool) bool { return ok && k.Revision == revision })
}

func (s *fakeStore) Delete(_ context.Context, key string, revision uint64) error {
	_, err := s.write(key, nil, func(k fakeKey, ok bool) bool { return ok && k.Revision == revision })
	return err
}

func (s *fakeStore) Get(_ context.Context, key string) (Entry, error) {
	s.wait()
	defer s.wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return Entry{}, errStoreAway
	}
	k, ok := s.find(key)
	if !ok {
		return Entry{}, ErrKeyNotFound
	}
	return k.Entry, nil
}

func (s *fakeStore) Watch(ctx context.Context, f func(Entry)) error {
	ch := make(chan Entry, 10_000)
	s.mu.Lock()
	for key := range s.keys {
		if k, ok := s.find(key); ok {
			ch <- k.Entry
		}
	}
	ch <- Entry{}
	n := len(s.watchers)
	s.watchers[n] = ch
	s.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-ch:
			f(e)
		}
	}
}

func (s *fakeStore) Life() time.Duration { return s.life }

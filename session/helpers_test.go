package session

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// t0 is the moment most tests begin at.
var t0 = time.UnixMilli(1700000000000)

func after(d time.Duration) time.Time { return t0.Add(d) }

// seededReader is a repeatable source of random bytes, safe for concurrent use.
type seededReader struct {
	mu  sync.Mutex
	src *rand.ChaCha8
}

func newSeededReader() *seededReader { return &seededReader{src: rand.NewChaCha8([32]byte{1})} }

func (r *seededReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Read(p)
}

// zeroReader is a broken source of random bytes.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// testKey is 00 01 02 … 1f.
func testKey() (key [KeySize]byte) {
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func wantNoAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	if raceEnabled {
		return
	}
	if n := testing.AllocsPerRun(1000, f); n != 0 {
		t.Errorf("%s: %v allocations, want 0", name, n)
	}
}

// liveBytes is the live heap after a collection.
func liveBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// inParallel runs f(0) … f(n-1), each in a goroutine, and waits.
func inParallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// counts returns the numbers of sessions, without what their states take.
func counts(s *Store) StoreStats {
	st := s.Stats()
	st.Bytes, st.Waiting = 0, 0
	return st
}

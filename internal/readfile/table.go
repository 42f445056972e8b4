package readfile

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
)

// A Table is what a file holds, as a function reads its text. When the file is read again and is not
// in order, what it held before stays in force. Any goroutine may use it.
type Table[T any] struct {
	file  string
	what  string // in front of errors
	limit int64  // bytes of the file
	parse func(text string) (T, error)

	value atomic.Pointer[T]
	loads atomic.Uint64

	mu  sync.Mutex // one Reload at a time, or an older value could replace a newer one
	sum [sha256.Size]byte
}

// NewTable reads a file of at most limit bytes. Errors, also those of Reload, begin with what and name
// the file.
func NewTable[T any](file, what string, limit int64, parse func(text string) (T, error)) (*Table[T], error) {
	t := &Table[T]{file: file, what: what, limit: limit, parse: parse}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// File returns the name of the file.
func (t *Table[T]) File() string { return t.file }

// Load returns what the file holds.
func (t *Table[T]) Load() T { return *t.value.Load() }

// Loads returns how often the file has been read that was not the same as before.
func (t *Table[T]) Loads() uint64 { return t.loads.Load() }

// Reload reads the file again. It may block, as Read may.
func (t *Table[T]) Reload() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, err := Read(t.file, t.limit)
	if err != nil {
		return fmt.Errorf("%s: %w", t.what, err)
	}
	value, err := t.parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %s %w", t.what, t.file, err)
	}
	t.put(&value, sha256.Sum256(text))
	return nil
}

// Replace takes over what another has read, which nobody reloads meanwhile. It reports whether that was
// another text.
func (t *Table[T]) Replace(with *Table[T]) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.put(with.value.Load(), with.sum)
}

// put makes value, of a text with that sum, what the table holds. t.mu is held.
func (t *Table[T]) put(value *T, sum [sha256.Size]byte) (changed bool) {
	t.value.Store(value)
	if sum == t.sum {
		return false
	}
	t.sum = sum
	t.loads.Add(1)
	return true
}

package certs

import (
	"context"
	"sync"

	"golang.org/x/crypto/acme/autocert"
)

// A fencedCache is a cache that can be closed. The autocert package does not let an order be ended, and
// one that is left behind would write into a directory that is another process's by then, or take an
// empty one for a reason to order anew.
type fencedCache struct {
	cache autocert.Cache

	mu     sync.RWMutex // held while the cache is used
	closed bool
}

// close waits for what uses the cache, and refuses what comes.
func (f *fencedCache) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// within calls use unless the cache is closed.
func (f *fencedCache) within(use func() error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return context.Canceled
	}
	return use()
}

// Get implements autocert.Cache.
func (f *fencedCache) Get(ctx context.Context, key string) (data []byte, err error) {
	err = f.within(func() error {
		data, err = f.cache.Get(ctx, key)
		return err
	})
	return data, err
}

// Put implements autocert.Cache.
func (f *fencedCache) Put(ctx context.Context, key string, data []byte) error {
	return f.within(func() error { return f.cache.Put(ctx, key, data) })
}

// Delete implements autocert.Cache.
func (f *fencedCache) Delete(ctx context.Context, key string) error {
	return f.within(func() error { return f.cache.Delete(ctx, key) })
}

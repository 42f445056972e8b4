package main

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluicenet/sluice/session"
)

// Gateways that start together have one key.
func TestSessionKeyOfSeveral(t *testing.T) {
	t.Parallel()
	for range 50 {
		name := filepath.Join(t.TempDir(), "key")
		var keys [4][session.KeySize]byte
		var errs [4]error
		var wg sync.WaitGroup
		for i := range keys {
			wg.Go(func() { keys[i], errs[i] = loadSessionKey(name) })
		}
		wg.Wait()
		for i := range keys {
			if errs[i] != nil || keys[i] != keys[0] {
				t.Fatalf("gateway %d: %v, the same key as the first: %v", i, errs[i], keys[i] == keys[0])
			}
		}
		if left, _ := filepath.Glob(name + ".*"); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
	}
}

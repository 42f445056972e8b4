package engine

import "github.com/panjf2000/gnet/v2/pkg/pool/goroutine"

// ReleaseIdlePool ends the pool of goroutines that gnet starts with the process, and that wakes it up
// twice a second. Engines do not use it. It is for a program that uses gnet through this package alone,
// before it makes an Engine: the pool is gone for good.
func ReleaseIdlePool() { goroutine.DefaultWorkerPool.Release() }

package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sluicenet/sluice/engine/login"
)

// A loginPool runs providers that may block, a bounded number at a time.
type loginPool struct {
	provider login.Provider
	jobs     chan loginJob
	ctx      context.Context
	cancel   context.CancelFunc

	mu      sync.Mutex
	workers int
	idle    int
	closed  bool
	ended   chan struct{} // closed when the pool is, and no worker is left
}

type loginJob struct {
	ctx     context.Context // done when the client is gone or waits no longer
	request login.Request
	done    func(login.Identity, error) // called once, on any goroutine
}

const (
	// maxLoginWorkers is how many logins are asked about at once: enough for a provider that takes
	// 100 ms to decide 2,560 a second.
	maxLoginWorkers = 256
	maxLoginQueue   = 16384
)

func newLoginPool(p login.Provider) *loginPool {
	lp := &loginPool{provider: p, jobs: make(chan loginJob, maxLoginQueue), ended: make(chan struct{})}
	lp.ctx, lp.cancel = context.WithCancel(context.Background())
	return lp
}

// submit queues a job; it reports false when too many wait, or the pool is closed.
func (lp *loginPool) submit(j loginJob) bool {
	select {
	case lp.jobs <- j:
	default:
		return false
	}
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if lp.idle < len(lp.jobs) {
		lp.startLocked()
	}
	return !lp.closed
}

// startLocked starts one more worker, if there may be one.
func (lp *loginPool) startLocked() {
	if !lp.closed && lp.workers < maxLoginWorkers {
		lp.workers++
		go lp.work()
	}
}

// work decides logins until the pool is closed, or a provider ends the goroutine.
func (lp *loginPool) work() {
	defer lp.left()
	for {
		lp.count(1)
		select {
		case j := <-lp.jobs:
			lp.count(-1)
			lp.decide(j)
		case <-lp.ctx.Done():
			lp.count(-1)
			return
		}
	}
}

// left notes that a worker has ended, and has another take its place if there is work.
func (lp *loginPool) left() {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	lp.workers--
	if lp.idle < len(lp.jobs) {
		lp.startLocked()
	}
	if lp.closed && lp.workers == 0 {
		close(lp.ended)
	}
}

func (lp *loginPool) count(idle int) {
	lp.mu.Lock()
	lp.idle += idle
	lp.mu.Unlock()
}

var (
	errProviderPanicked = errors.New("gateway: the login provider panicked")
	errProviderEnded    = errors.New("gateway: the login provider ended its goroutine")
)

// decide asks the provider, unless nobody waits for the verdict any more. A panic or a
// runtime.Goexit of the provider costs this login.
func (lp *loginPool) decide(j loginJob) {
	if err := j.ctx.Err(); err != nil {
		j.done(login.Identity{}, errors.Join(login.ErrUnavailable, err))
		return
	}
	returned := false
	var identity login.Identity
	var err error
	defer func() {
		if !returned {
			identity, err = login.Identity{}, errProviderEnded
			if recover() != nil {
				err = errProviderPanicked
			}
			err = errors.Join(login.ErrUnavailable, err)
		}
		j.done(identity, err)
	}()
	identity, err = lp.provider.Login(j.ctx, j.request)
	returned = true
}

// close ends the workers. It waits for them until ctx is done; those whose provider does not return
// are left behind, which the error says.
func (lp *loginPool) close(ctx context.Context) error {
	lp.cancel()
	lp.mu.Lock()
	if !lp.closed {
		lp.closed = true
		if lp.workers == 0 {
			close(lp.ended)
		}
	}
	lp.mu.Unlock()
	select {
	case <-lp.ended:
		return nil
	default:
	}
	select {
	case <-lp.ended:
		return nil
	case <-ctx.Done():
	}
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if lp.workers == 0 {
		return nil
	}
	return fmt.Errorf("gateway: %d calls of the login provider do not return: %w", lp.workers, ctx.Err())
}

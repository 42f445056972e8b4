package gateway

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/engine/login"
)

// A loginPool calls a provider that may block, a bounded number of times at once. Addresses take
// turns: each has a queue of its own, and at most a quarter of the calls, so that one which opens
// many connections waits for itself.
type loginPool struct {
	provider login.Provider
	ctx      context.Context
	cancel   context.CancelFunc
	seed     maphash.Seed
	refused  [numLoginRefusals]atomic.Uint64

	mu        sync.Mutex
	limit     int // of calls at once
	perToken  int // logins with one token, under way and waiting; negative: any number
	calls     int // under way
	waiting   int
	addresses map[netip.Addr]*loginQueue // that have calls under way, or logins waiting
	turns     list.List                  // of *loginQueue: those that may have one more call, the next one first
	tokens    map[uint64]int             // logins under way and waiting, by the hash of their token
	closed    bool
	ended     chan struct{} // closed when the pool is, and no call is under way
}

// A loginQueue is what one address has of the pool.
type loginQueue struct {
	address netip.Addr    // address.Key; invalid: all clients that have none
	calls   int           // under way
	jobs    list.List     // of *loginJob: those that wait, the first to come first
	turn    *list.Element // in loginPool.turns; nil: nobody waits, or the address has its share
}

// share returns how much of n places the queue may have.
func (q *loginQueue) share(n int) int {
	if !q.address.IsValid() {
		return n
	}
	return max(n/addressParts, 1)
}

type loginJob struct {
	ctx     context.Context // done when the client is gone or waits no longer
	request login.Request
	done    func(login.Identity, error) // called once, on any goroutine

	// The rest is the pool's.
	queue *loginQueue
	place *list.Element // in queue.jobs; nil: it does not wait there
	token uint64        // hash of the request's, when it counts
	stop  func() bool   // has the end of ctx mean nothing to the queue
}

const (
	// maxLogins is how many logins are asked about at once: enough for a provider that takes 100 ms
	// to decide 2,560 a second.
	maxLogins = 256
	// maxTokenLogins is how many may be under way and waiting with one token: a user's devices, and
	// some that try again.
	maxTokenLogins = 8
	// maxLoginQueue bounds the memory of those that wait: what a provider that takes 100 ms decides
	// in six seconds, which is less than clients wait.
	maxLoginQueue = 16384
	// addressParts is how many addresses it takes to have all calls, or all places in the queue.
	addressParts = 4
)

// A loginRefusal says why a provider is not asked about a login.
type loginRefusal uint8

const (
	errLoginQueue   loginRefusal = iota // the whole queue is full
	errLoginAddress                     // the address's part of it is
	errLoginToken                       // too many with this token
	errLoginClosed                      // the gateway stops

	numLoginRefusals
)

var loginRefusals = [numLoginRefusals]struct{ name, text string }{
	errLoginQueue:   {"queue", "too many logins are waiting"},
	errLoginAddress: {"address", "too many logins of this address are waiting"},
	errLoginToken:   {"token", "too many logins with this token are under way"},
	errLoginClosed:  {"closed", "the gateway stops"},
}

func (r loginRefusal) Error() string { return "gateway: " + loginRefusals[r].text }

// newLoginPool makes a pool for p of at most limit calls at once, or of what p says it can do.
func newLoginPool(p login.Provider, limit, perToken int) *loginPool {
	lp := &loginPool{
		provider:  p,
		seed:      maphash.MakeSeed(),
		addresses: make(map[netip.Addr]*loginQueue),
		tokens:    make(map[uint64]int),
		ended:     make(chan struct{}),
	}
	lp.ctx, lp.cancel = context.WithCancel(context.Background())
	lp.setLimits(limit, perToken)
	return lp
}

// setLimits holds for the calls and logins that come. Those above a smaller limit go on.
func (lp *loginPool) setLimits(limit, perToken int) {
	if c, ok := lp.provider.(login.Concurrent); ok {
		limit = min(limit, c.Concurrency())
	}
	lp.mu.Lock()
	defer lp.mu.Unlock()
	lp.limit, lp.perToken = max(limit, 1), perToken
	for _, q := range lp.addresses {
		lp.takeTurnLocked(q)
	}
	lp.startLocked()
}

// submit has a login decided on, at once or in its turn. It fails with a loginRefusal, and then the
// job's done is not called.
func (lp *loginPool) submit(j *loginJob) error {
	err := lp.enqueue(j)
	if r, ok := err.(loginRefusal); ok {
		lp.refused[r].Add(1)
	}
	return err
}

func (lp *loginPool) enqueue(j *loginJob) error {
	key := address.Key(j.request.Peer)
	if j.request.Token != "" { // who shows none is not known by it
		j.token = maphash.String(lp.seed, j.request.Token)
	}
	lp.mu.Lock()
	defer lp.mu.Unlock()
	q := lp.addresses[key]
	switch {
	case lp.closed:
		return errLoginClosed
	case lp.waiting >= maxLoginQueue:
		return errLoginQueue
	case q != nil && q.jobs.Len() >= q.share(maxLoginQueue):
		return errLoginAddress
	case j.token != 0 && lp.perToken >= 0 && lp.tokens[j.token] >= lp.perToken:
		return errLoginToken
	}
	if q == nil {
		q = &loginQueue{address: key}
		lp.addresses[key] = q
	}
	if j.token != 0 {
		lp.tokens[j.token]++
	}
	j.queue, j.place = q, q.jobs.PushBack(j)
	lp.waiting++
	j.stop = context.AfterFunc(j.ctx, func() { lp.leave(j) })
	lp.takeTurnLocked(q)
	lp.startLocked()
	return nil
}

// takeTurnLocked has an address wait for its turn if it may have one more call and wants it. An
// address that has nothing in the pool any more is forgotten.
func (lp *loginPool) takeTurnLocked(q *loginQueue) {
	may := q.jobs.Len() > 0 && q.calls < q.share(lp.limit)
	switch {
	case may && q.turn == nil:
		q.turn = lp.turns.PushBack(q)
	case !may && q.turn != nil:
		lp.turns.Remove(q.turn)
		q.turn = nil
	}
	if q.calls == 0 && q.jobs.Len() == 0 {
		delete(lp.addresses, q.address)
	}
}

// startLocked begins the calls that there is room for.
func (lp *loginPool) startLocked() {
	for lp.calls < lp.limit && lp.turns.Len() > 0 {
		q := lp.turns.Front().Value.(*loginQueue)
		j := q.jobs.Front().Value.(*loginJob)
		j.stop()
		lp.unqueueLocked(j)
		lp.calls++
		q.calls++
		lp.turns.MoveToBack(q.turn)
		lp.takeTurnLocked(q)
		go lp.call(j)
	}
}

func (lp *loginPool) unqueueLocked(j *loginJob) {
	j.queue.jobs.Remove(j.place)
	j.place = nil
	lp.waiting--
}

// leave takes a login out of the queue, if it waits there, whose client does not wait any more.
func (lp *loginPool) leave(j *loginJob) {
	lp.mu.Lock()
	waits := j.place != nil
	if waits {
		lp.unqueueLocked(j)
		lp.forgetLocked(j)
		lp.takeTurnLocked(j.queue)
	}
	lp.mu.Unlock()
	if waits {
		j.done(login.Identity{}, errors.Join(login.ErrUnavailable, context.Cause(j.ctx)))
	}
}

// forgetLocked takes a login out of the count of its token.
func (lp *loginPool) forgetLocked(j *loginJob) {
	if j.token == 0 {
		return
	}
	if lp.tokens[j.token]--; lp.tokens[j.token] == 0 {
		delete(lp.tokens, j.token)
	}
}

// call asks the provider, and makes room for the next call.
func (lp *loginPool) call(j *loginJob) {
	defer func() {
		lp.mu.Lock()
		defer lp.mu.Unlock()
		lp.calls--
		j.queue.calls--
		lp.forgetLocked(j)
		lp.takeTurnLocked(j.queue)
		lp.startLocked()
		if lp.closed && lp.calls == 0 {
			close(lp.ended)
		}
	}()
	lp.decide(j)
}

var (
	errProviderPanicked = errors.New("gateway: the login provider panicked")
	errProviderEnded    = errors.New("gateway: the login provider ended its goroutine")
)

// decide asks the provider, unless nobody waits for the verdict any more. A panic or a
// runtime.Goexit of the provider costs this login.
func (lp *loginPool) decide(j *loginJob) {
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

// numbers returns how many calls are under way, and how many logins wait.
func (lp *loginPool) numbers() (calls, waiting int) {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	return lp.calls, lp.waiting
}

// close has those that wait leave and ends the calls. It waits for them until ctx is done; those
// whose provider does not return are left behind, which the error says.
func (lp *loginPool) close(ctx context.Context) error {
	lp.mu.Lock()
	var left []*loginJob
	if !lp.closed {
		lp.closed = true
		for _, q := range lp.addresses {
			for q.jobs.Len() > 0 {
				j := q.jobs.Front().Value.(*loginJob)
				j.stop()
				lp.unqueueLocked(j)
				lp.forgetLocked(j)
				left = append(left, j)
			}
			lp.takeTurnLocked(q)
		}
		if lp.calls == 0 {
			close(lp.ended)
		}
	}
	lp.mu.Unlock()
	lp.cancel()
	for _, j := range left {
		j.done(login.Identity{}, errors.Join(login.ErrUnavailable, errLoginClosed))
	}
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
	if lp.calls == 0 {
		return nil
	}
	return fmt.Errorf("gateway: %d calls of the login provider do not return: %w", lp.calls, ctx.Err())
}

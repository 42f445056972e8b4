package cluster

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// renewEvery is the time between two renewals, and renewTimeout how long one may take.
	renewEvery   = time.Second
	renewTimeout = 2 * time.Second
	// suspectAfter is from when on who does not renew, while others do, is thought to be gone. A process
	// that has not run for as long looks at its own lease before it sends anything.
	suspectAfter = 5 * time.Second
	// lookEvery is how often the claimant of a taken id looks whether its holder renews.
	lookEvery = 250 * time.Millisecond
)

// A claim is the value of a lease's key: JSON, so that operators can read it.
type claim struct {
	Incarnation string `json:"incarnation"` // 16 hex digits
	Address     string `json:"address"`
	Version     string `json:"version"`
	Since       int64  `json:"since"`             // unix milliseconds
	Workers     []int  `json:"workers,omitempty"` // ids of workers that take clients' requests there
	KeyMark     string `json:"keyMark,omitempty"` // see sessionkey.go
	Strays      []int  `json:"strays,omitempty"`  // server ids of nodes whose uniqIds clients there may have
	History     string `json:"history,omitempty"` // tells the rules of history from others; empty: there are none
}

// member reads the value of the key of an id.
func (c *claim) member(id uint8) (Member, error) {
	incarnation, err := strconv.ParseUint(c.Incarnation, 16, 64)
	if err != nil || incarnation == 0 {
		return Member{}, fmt.Errorf("incarnation %q", c.Incarnation)
	}
	m := Member{
		ID: id, Incarnation: incarnation, Address: c.Address, Version: c.Version, Workers: c.Workers,
		Since: time.UnixMilli(c.Since), keyMark: c.KeyMark, History: c.History,
	}
	for _, server := range c.Strays {
		m.strays.add(uint8(server))
	}
	return m, nil
}

// readClaim reads the value of the key of an id.
func readClaim(id uint8, value []byte) (Member, error) {
	var c claim
	if err := json.Unmarshal(value, &c); err != nil {
		return Member{}, err
	}
	return c.member(id)
}

// keyOf is the key of an id.
func keyOf(id uint8) string { return hex.EncodeToString([]byte{id}) }

// idOf is the id of a key. Other keys than those of leases have none.
func idOf(key string) (uint8, bool) {
	b, err := hex.DecodeString(key)
	if err != nil || len(b) != 1 {
		return 0, false
	}
	return b[0], true
}

// A TakenError says that another process has the server id.
type TakenError struct {
	Holder Member
	// Lost is set where this process had it before.
	Lost bool
}

func (e *TakenError) Error() string {
	m := &e.Holder
	verb := "is taken"
	if e.Lost {
		verb = "was taken over"
	}
	return fmt.Sprintf("server id %d %s: %s, version %s, has it since %s", m.ID, verb, m.Address, m.Version,
		m.Since.UTC().Format(time.RFC3339))
}

// A lease is a node's claim to its server id: a key that it makes, and renews each second.
type lease struct {
	store       Store
	clock       *clock
	id          uint8
	incarnation uint64
	value       func() claim // what is told to others, but for the incarnation
	log         *slog.Logger
	// lost is called once, on the lease's goroutine: another process has the id.
	lost func(*TakenError)
	// again is called when the lease had expired and is there again: others have forgotten this node.
	again func()

	revision uint64 // of the key; of the lease's goroutine
	look     chan struct{}

	held     atomic.Bool
	doubtful atomic.Bool  // the process has stood still: the lease must be looked at before anything is sent
	turned   atomic.Int64 // unix nanoseconds: when the goroutine ran last
	renewed  atomic.Int64 // the same of the last renewal; 0: none
	failures atomic.Uint64
	failed   atomic.Pointer[error] // why the last renewal has; nil: it has not
}

func newLease(c *Config, value func() claim) *lease {
	if c.clock == nil {
		c.clock = newClock(c)
	}
	return &lease{
		store: c.Nodes, clock: c.clock, id: c.Self, incarnation: c.Incarnation, value: value, log: c.logger(),
		lost: func(*TakenError) {}, again: func() {}, look: make(chan struct{}, 1),
	}
}

func (l *lease) encode() []byte {
	c := l.value()
	c.Incarnation = fmt.Sprintf("%016x", l.incarnation)
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// has says that the key has a revision of this node's, by an answer to what was asked at begun. An
// answer that was on its way while the process stood still says nothing of now.
func (l *lease) has(revision uint64, begun int64) {
	now := time.Now().UnixNano()
	l.revision = revision
	l.renewed.Store(begun)
	l.doubtful.Store(time.Duration(now-begun).Abs() > suspectAfter)
	l.turned.Store(now)
	l.held.Store(true)
}

// take claims the id. It returns when the node has it, when another process has shown that it has
// it, by a renewal, or at another error. The lease of a process that has died is taken over when it
// has not been renewed for a while in which renewals were possible, or when it has expired.
func (l *lease) take(ctx context.Context) error {
	for {
		begun := time.Now().UnixNano()
		revision, err := l.write(ctx, func(ctx context.Context) (uint64, error) {
			return l.store.Create(ctx, keyOf(l.id), l.encode())
		})
		if err == nil {
			l.has(revision, begun)
			return nil
		}
		if !errors.Is(err, ErrKeyExists) {
			return err
		}
		if err := l.contend(ctx); err != nil || l.held.Load() {
			return err
		}
	}
}

// bounded runs an operation of the store within renewTimeout.
func (l *lease) bounded(ctx context.Context, f func(context.Context) (uint64, error)) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	return f(ctx)
}

// write is bounded for a write of the lease's key, which tells what NATS's clock says.
func (l *lease) write(ctx context.Context, f func(context.Context) (uint64, error)) (uint64, error) {
	sent := l.clock.read()
	revision, err := l.bounded(ctx, f)
	if err == nil {
		l.clock.wrote(revision, sent)
	}
	return revision, err
}

func (l *lease) get(ctx context.Context) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	e, err := l.store.Get(ctx, keyOf(l.id))
	if err == nil && e.Value == nil {
		err = ErrKeyNotFound
	}
	return e, err
}

// contend waits until it is known what becomes of a key that somebody has: nil says that it may be
// tried again, or that this node has it now.
func (l *lease) contend(ctx context.Context) error {
	begun := time.Now().UnixNano()
	first, err := l.get(ctx)
	if errors.Is(err, ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	holder, err := readClaim(l.id, first.Value)
	switch {
	case err != nil:
		return fmt.Errorf("cluster: the lease of server id %d holds what is no claim: %w", l.id, err)
	case holder.Incarnation == l.incarnation: // a claim of ours whose answer was lost
		l.has(first.Revision, begun)
		return nil
	}
	l.log.Info("the server id has a holder: waiting whether it renews its lease", "server-id", l.id,
		"address", holder.Address, "since", holder.Since)
	p := proof{lease: l}
	defer p.end(ctx)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
		now, err := l.get(ctx)
		if errors.Is(err, ErrKeyNotFound) {
			return nil
		}
		if err == nil && now.Revision != first.Revision {
			if m, err := readClaim(l.id, now.Value); err == nil {
				holder = m
			}
			return &TakenError{Holder: holder}
		}
		if !p.given(ctx) {
			continue
		}
		begun := time.Now().UnixNano()
		revision, err := l.write(ctx, func(ctx context.Context) (uint64, error) {
			return l.store.Update(ctx, keyOf(l.id), l.encode(), first.Revision)
		})
		switch {
		case err == nil:
			l.has(revision, begun)
			l.log.Warn("the server id was taken over: its holder has stopped to renew its lease", "server-id", l.id,
				"address", holder.Address, "since", holder.Since)
			return nil
		case errors.Is(err, ErrKeyExists):
			return nil // it has renewed, or has expired
		}
	}
}

// A proof shows that the store takes writes: a holder that does not renew meanwhile is not merely kept
// from it by an election of NATS. It writes a key of its own each second, which expires by itself.
type proof struct {
	lease    *lease
	revision uint64
	begun    time.Time // of the writes that have succeeded one after the other
	last     time.Time
}

// given reports whether writes have succeeded for as long as makes a holder suspect.
func (p *proof) given(ctx context.Context) bool {
	if time.Since(p.last) < renewEvery {
		return !p.begun.IsZero() && p.last.Sub(p.begun) >= suspectAfter
	}
	l := p.lease
	key := fmt.Sprintf("claim-%016x", l.incarnation)
	revision, err := l.bounded(ctx, func(ctx context.Context) (uint64, error) {
		if p.revision == 0 {
			return l.store.Create(ctx, key, l.encode())
		}
		return l.store.Update(ctx, key, l.encode(), p.revision)
	})
	p.last = time.Now()
	if err != nil {
		p.begun = time.Time{}
		if e, err := l.store.Get(ctx, key); err == nil { // a write whose answer was lost
			p.revision = e.Revision
		}
		return false
	}
	p.revision = revision
	if p.begun.IsZero() {
		p.begun = p.last
	}
	return p.last.Sub(p.begun) >= suspectAfter
}

func (p *proof) end(ctx context.Context) {
	if p.revision == 0 || ctx.Err() != nil {
		return
	}
	_, _ = p.lease.bounded(ctx, func(ctx context.Context) (uint64, error) {
		return 0, p.lease.store.Delete(ctx, fmt.Sprintf("claim-%016x", p.lease.incarnation), p.revision)
	})
}

// run renews the lease until ctx is done or it is lost. The id has been taken.
func (l *lease) run(ctx context.Context) {
	t := time.NewTicker(renewEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-l.look:
		}
		l.doubt(l.stood())
		begun := time.Now().UnixNano()
		if l.renew(ctx, begun) {
			return
		}
		if l.doubt(time.Duration(time.Now().UnixNano() - begun).Abs()) {
			l.lookNow()
		}
		l.turned.Store(time.Now().UnixNano())
	}
}

// doubt has the lease be doubtful if the process has stood still, and reports whether it has.
func (l *lease) doubt(stood time.Duration) bool {
	if stood <= suspectAfter {
		return false
	}
	l.doubtful.Store(true)
	l.log.Warn("the process has stood still: the lease is looked at before anything is sent", "for", stood)
	return true
}

// stood is for how long the lease's goroutine has not run. The wall clock counts, which goes on while
// the process, or the machine, is stopped.
func (l *lease) stood() time.Duration {
	return time.Duration(time.Now().UnixNano() - l.turned.Load()).Abs()
}

// status is a line for people, empty when nothing is wrong.
func (l *lease) status() string {
	err := l.failed.Load()
	if err == nil {
		return ""
	}
	since := time.Since(time.Unix(0, l.renewed.Load()))
	return fmt.Sprintf("server id: its lease could not be renewed for %v: %v", max(since, 0).Round(time.Second), *err)
}

// lookNow has the lease be looked at, and renewed, at once.
func (l *lease) lookNow() {
	select {
	case l.look <- struct{}{}:
	default:
	}
}

// renew renews the lease once; begun is now. It reports whether it is lost for good.
func (l *lease) renew(ctx context.Context, begun int64) (lost bool) {
	revision, err := l.write(ctx, func(ctx context.Context) (uint64, error) {
		return l.store.Update(ctx, keyOf(l.id), l.encode(), l.revision)
	})
	if errors.Is(err, ErrKeyExists) {
		revision, lost, err = l.regain(ctx)
	}
	switch {
	case lost:
		return true
	case err == nil:
		l.failed.Store(nil)
		l.has(revision, begun)
	case ctx.Err() == nil:
		l.failed.Store(&err)
		l.failures.Add(1)
		l.log.Warn("the lease of the server id could not be renewed: trying again", "server-id", l.id, "err", err)
	}
	return false
}

// regain finds out why the key has another revision. What was deleted or has expired is made again.
func (l *lease) regain(ctx context.Context) (revision uint64, lost bool, err error) {
	e, err := l.get(ctx)
	if errors.Is(err, ErrKeyNotFound) {
		revision, err = l.write(ctx, func(ctx context.Context) (uint64, error) {
			return l.store.Create(ctx, keyOf(l.id), l.encode())
		})
		if err == nil {
			l.log.Warn("the lease of the server id was gone and was made again", "server-id", l.id)
			l.again()
		}
		return revision, false, err // ErrKeyExists: the next turn finds out whose it is
	}
	if err != nil {
		return 0, false, err
	}
	holder, err := readClaim(l.id, e.Value)
	switch {
	case err != nil: // it is nobody's who has the id
		l.log.Warn("the lease of the server id held what is no claim: it is written over", "server-id", l.id, "err", err)
		revision, err = l.write(ctx, func(ctx context.Context) (uint64, error) {
			return l.store.Update(ctx, keyOf(l.id), l.encode(), e.Revision)
		})
		return revision, false, err
	case holder.Incarnation == l.incarnation: // a renewal whose answer was lost
		return e.Revision, false, nil
	}
	l.held.Store(false)
	l.lost(&TakenError{Holder: holder, Lost: true})
	return 0, true, nil
}

// release gives the id back. run has returned.
func (l *lease) release(ctx context.Context) {
	if !l.held.Swap(false) {
		return
	}
	if _, err := l.bounded(ctx, func(ctx context.Context) (uint64, error) {
		return 0, l.store.Delete(ctx, keyOf(l.id), l.revision)
	}); err != nil {
		l.log.Warn("the lease of the server id could not be given back: it expires", "server-id", l.id,
			"in", l.store.Life(), "err", err)
	}
}

// Errors of a Bus that is under a lease.
var (
	errNoLease  = errors.New("cluster: the node does not have its server id yet, or not any more")
	errDoubtful = errors.New("cluster: the process has stood still, and does not know yet whether it still has its server id")
)

// leasePause is how often who must not send asks whether he may.
const leasePause = 5 * time.Millisecond

// maySend says whether the node may speak for its id. Of a process that has stood still it waits for
// a second until that is known.
func (l *lease) maySend() error {
	for waited := time.Duration(0); ; waited += leasePause {
		switch {
		case !l.held.Load():
			return errNoLease
		case !l.doubtful.Load() && l.stood() <= suspectAfter:
			return nil
		case waited >= time.Second:
			return errDoubtful
		}
		l.lookNow()
		time.Sleep(leasePause)
	}
}

// A leasedBus is a Bus on which nothing is sent that the lease does not cover.
type leasedBus struct {
	Bus
	lease *lease
}

// A leasedStream is a Stream likewise.
type leasedStream struct {
	Stream
	lease *lease
}

// Append implements Stream.
func (s leasedStream) Append(subject, id string, frame []byte, ticket uint64) error {
	if err := s.lease.maySend(); err != nil {
		return err
	}
	return s.Stream.Append(subject, id, frame, ticket)
}

// Probe implements prober.
func (s leasedStream) Probe(ctx context.Context) error {
	if p, ok := s.Stream.(prober); ok {
		return p.Probe(ctx)
	}
	return nil
}

// Publish implements Bus.
func (b leasedBus) Publish(subject string, data []byte) error {
	if err := b.lease.maySend(); err != nil {
		return err
	}
	return b.Bus.Publish(subject, data)
}

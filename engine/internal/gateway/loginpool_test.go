package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/engine/login"
)

// slowly is a provider that takes its time, and knows how many calls are under way.
type slowly struct {
	takes time.Duration
	calls atomic.Int64
	most  atomic.Int64
	deaf  bool // does not hear that nobody waits
}

func (p *slowly) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	n := p.calls.Add(1)
	defer p.calls.Add(-1)
	p.most.Store(max(p.most.Load(), n))
	if p.deaf {
		time.Sleep(p.takes)
		return login.Identity{User: r.Token}, nil
	}
	select {
	case <-time.After(p.takes):
		return login.Identity{User: r.Token}, nil
	case <-ctx.Done():
		return login.Identity{}, login.ErrUnavailable
	}
}

// narrow is one that can do no more than two at once.
type narrow struct{ *slowly }

func (narrow) Concurrency() int { return 2 }

// ask submits a login from an address and returns when it was decided on, once it is.
func ask(lp *loginPool, address, token string) (verdict chan time.Time, leave context.CancelFunc, err error) {
	ctx, cancel := context.WithCancel(lp.ctx)
	verdict = make(chan time.Time, 2) // a second one is an error
	err = lp.submit(&loginJob{
		ctx: ctx, request: login.Request{Token: token, Peer: netip.MustParseAddr(address)},
		done: func(_ login.Identity, err error) {
			cancel()
			if err != nil {
				verdict <- time.Time{}
				return
			}
			verdict <- time.Now()
		},
	})
	if err != nil {
		cancel()
	}
	return verdict, cancel, err
}

// wantEmpty fails unless nothing is left of the logins that there were.
func wantEmpty(t *testing.T, lp *loginPool) {
	t.Helper()
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if lp.calls != 0 || lp.waiting != 0 || len(lp.addresses) != 0 || len(lp.tokens) != 0 || lp.turns.Len() != 0 {
		t.Errorf("left: %d calls, %d waiting, %d addresses, %d tokens, %d turns",
			lp.calls, lp.waiting, len(lp.addresses), len(lp.tokens), lp.turns.Len())
	}
}

// Whoever asks for very many logins has a quarter of the calls, and all others are decided on at
// once. His own are in their turn.
func TestOneAddressHasAQuarterOfTheCalls(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		p := &slowly{takes: 5 * time.Second}
		lp := newLoginPool(p, 16, -1)
		begin := time.Now()
		var crowd []chan time.Time
		for i := range 40 {
			v, _, err := ask(lp, "2001:db8:0:1::"+fmt.Sprint(i+1), "crowd") // one /64
			if err != nil {
				t.Fatal(err)
			}
			crowd = append(crowd, v)
		}
		synctest.Wait()
		if n := p.calls.Load(); n != 4 {
			t.Errorf("%d calls for one address, want 4", n)
		}
		for i, address := range []string{"2001:db8:0:2::1", "192.0.2.1", "::ffff:192.0.2.2"} {
			v, _, err := ask(lp, address, "honest")
			if err != nil {
				t.Fatal(err)
			}
			if took := (<-v).Sub(begin); took != time.Duration(i+1)*p.takes {
				t.Errorf("%s: decided after %v, want %v", address, took, time.Duration(i+1)*p.takes)
			}
		}
		for i, v := range crowd { // four at a time, in the order of their coming
			if took, want := (<-v).Sub(begin), time.Duration(i/4+1)*p.takes; took != want {
				t.Errorf("login %d of the crowd: decided after %v, want %v", i, took, want)
			}
		}
		synctest.Wait()
		wantEmpty(t, lp)
		if err := lp.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Five crowds have all the calls between them: a sixth address waits for one call, not for the
// crowds, and they take turns.
func TestAddressesTakeTurns(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		p := &slowly{takes: time.Second}
		lp := newLoginPool(p, 8, -1)
		begin := time.Now()
		crowds := make([][]chan time.Time, 5)
		for i := range crowds {
			for range 100 {
				v, _, err := ask(lp, fmt.Sprintf("192.0.2.%d", i+1), "")
				if err != nil {
					t.Fatal(err)
				}
				crowds[i] = append(crowds[i], v)
			}
		}
		v, _, err := ask(lp, "198.51.100.1", "")
		if err != nil {
			t.Fatal(err)
		}
		if took := (<-v).Sub(begin); took != 2*p.takes {
			t.Errorf("the sixth address waited %v, want %v", took, 2*p.takes)
		}
		for i, crowd := range crowds { // 501 logins, eight at once: all end at about the same time
			if took := (<-crowd[99]).Sub(begin); took < 55*p.takes || took > 70*p.takes {
				t.Errorf("crowd %d: %v, want 63 s or so", i, took)
			}
		}
		synctest.Wait()
		wantEmpty(t, lp)
		_ = lp.close(t.Context())
	})
}

func TestLoginPoolBounds(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		p := &slowly{takes: time.Hour}
		lp := newLoginPool(p, 8, 3)
		refused := func(address, token string, want error) {
			t.Helper()
			if _, _, err := ask(lp, address, token); !errors.Is(err, want) {
				t.Errorf("%s %q: %v, want %v", address, token, err, want)
			}
		}
		var leave []context.CancelFunc
		take := func(address, token string, n int) {
			t.Helper()
			for range n {
				_, cancel, err := ask(lp, address, token)
				if err != nil {
					t.Fatal(err)
				}
				leave = append(leave, cancel)
			}
		}
		take("192.0.2.1", "ann", 1) // from wherever they come
		take("192.0.2.2", "ann", 1)
		take("192.0.2.3", "ann", 1)
		refused("192.0.2.4", "ann", errLoginToken)
		take("192.0.2.4", "ben", 1)

		share := maxLoginQueue / addressParts
		take("203.0.113.1", "", share+2) // two are under way
		refused("203.0.113.1", "", errLoginAddress)
		for i := range 3 {
			take(fmt.Sprintf("203.0.113.%d", i+2), "", share)
		}
		synctest.Wait()
		for i := 0; ; i++ {
			if _, waiting := lp.numbers(); waiting == maxLoginQueue {
				break
			}
			take(fmt.Sprintf("198.51.100.%d", i+1), "", 1)
		}
		refused("192.0.2.5", "cid", errLoginQueue)
		for r, want := range map[loginRefusal]uint64{errLoginQueue: 1, errLoginAddress: 1, errLoginToken: 1, errLoginClosed: 0} {
			if got := lp.refused[r].Load(); got != want {
				t.Errorf("%v: counted %d times, want %d", r, got, want)
			}
		}
		for _, l := range leave { // the clients go
			l()
		}
		synctest.Wait()
		wantEmpty(t, lp)
		_ = lp.close(t.Context())
	})
}

// A login whose client has gone leaves the queue at once, with its token, also while the provider is
// busy with others.
func TestLoginLeavesTheQueue(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		p := &slowly{takes: time.Minute, deaf: true}
		lp := newLoginPool(p, 4, 1)
		busy, _, err := ask(lp, "192.0.2.1", "busy")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			v, leave, err := ask(lp, "192.0.2.1", "ann")
			if err != nil {
				t.Fatalf("login %d: %v", i, err)
			}
			leave()
			if at := <-v; !at.IsZero() {
				t.Fatal("a login was decided on although its client has gone")
			}
			synctest.Wait()
			if len(v) > 0 {
				t.Fatal("told twice")
			}
		}
		if calls, waiting := lp.numbers(); calls != 1 || waiting != 0 {
			t.Errorf("%d calls, %d waiting", calls, waiting)
		}
		<-busy
		synctest.Wait()
		wantEmpty(t, lp)
		_ = lp.close(t.Context())
	})
}

// The calls are no more than the provider can do, so that none waits inside it, where there are no
// turns. The limit may change meanwhile.
func TestLoginPoolFollowsTheProvider(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		p := &slowly{takes: time.Second}
		lp := newLoginPool(narrow{p}, 256, -1)
		var last chan time.Time
		for i := range 20 {
			last, _, _ = ask(lp, fmt.Sprintf("192.0.2.%d", i), "")
		}
		<-last
		if n := p.most.Load(); n != 2 {
			t.Errorf("%d calls at once, want 2", n)
		}
		_ = lp.close(t.Context())

		wide := &slowly{takes: time.Second}
		lp = newLoginPool(wide, 1, -1)
		for i := range 20 {
			last, _, _ = ask(lp, fmt.Sprintf("192.0.2.%d", i), "")
		}
		synctest.Wait()
		lp.setLimits(20, -1)
		begin := time.Now()
		if took := (<-last).Sub(begin); took != time.Second {
			t.Errorf("took %v with a limit that was raised", took)
		}
		_ = lp.close(t.Context())
	})
}

// Stopping ends those that wait and those under way; each is told once.
func TestLoginPoolCloses(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		lp := newLoginPool(&slowly{takes: time.Hour}, 4, -1)
		var all []chan time.Time
		for range 10 {
			v, _, _ := ask(lp, "192.0.2.1", "")
			all = append(all, v)
		}
		if err := lp.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, v := range all {
			if len(v) != 1 {
				t.Errorf("login %d was told %d times", i, len(v))
			}
		}
		if _, _, err := ask(lp, "192.0.2.1", ""); !errors.Is(err, errLoginClosed) {
			t.Errorf("after the end: %v", err)
		}
		wantEmpty(t, lp)
	})
}

// Whatever comes and goes, nobody has more than his share, and nothing is left.
func TestLoginPoolAtRandom(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(12, 1))
		p := &slowly{takes: 100 * time.Millisecond}
		lp := newLoginPool(p, 12, 5)
		var told, asked int
		var verdicts []chan time.Time
		for range 5000 {
			address := fmt.Sprintf("192.0.2.%d", rng.IntN(8))
			v, leave, err := ask(lp, address, fmt.Sprint(rng.IntN(20)))
			if err == nil {
				asked++
				verdicts = append(verdicts, v)
				if rng.IntN(3) == 0 {
					time.AfterFunc(time.Duration(rng.IntN(300))*time.Millisecond, leave)
				}
			}
			switch rng.IntN(200) {
			case 0:
				lp.setLimits(1+rng.IntN(12), 5)
			case 1:
				time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
			default:
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
			lp.mu.Lock()
			waiting, calls := 0, 0
			for a, q := range lp.addresses {
				waiting, calls = waiting+q.jobs.Len(), calls+q.calls
				if q.calls > 3 {
					t.Fatalf("%v has %d calls of 12", a, q.calls)
				}
			}
			if waiting != lp.waiting || calls != lp.calls || calls > 12 {
				t.Fatalf("%d waiting and %d calls, counted as %d and %d", waiting, calls, lp.waiting, lp.calls)
			}
			for _, n := range lp.tokens {
				if n < 1 || n > 5 {
					t.Fatalf("%d logins of a token", n)
				}
			}
			lp.mu.Unlock()
		}
		time.Sleep(time.Hour)
		for _, v := range verdicts {
			told += len(v)
		}
		if told != asked || asked < 1000 {
			t.Errorf("%d of %d logins were told", told, asked)
		}
		wantEmpty(t, lp)
		_ = lp.close(t.Context())
	})
}

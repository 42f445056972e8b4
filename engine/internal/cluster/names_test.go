package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
)

// A town is several nodes' names in one process: one bucket, messages between them, and gateways that
// have logins and their own rules and nothing else.
type town struct {
	t      *testing.T
	mu     sync.Mutex // of rand
	rand   *rand.Rand
	store  *fakeStore
	leases *fakeStore
	nodes  []*townNode

	// What goes wrong, each with a probability.
	failing, hanging, deaf, lost float64 // hanging: of those that fail
	// Planted faults.
	blind, mute, amnesia bool
	unsampled            bool // no key is looked at by chance, which would mend them
}

type townNode struct {
	*names
	town  *town
	table *nodes
	users *session.Users
	ids   *session.Directory
	taken map[string]bool // tokens issued here
	cut   atomic.Bool     // from the bucket and the others

	mu    sync.Mutex
	next  engine.Ref
	conns map[engine.Ref]*townConn
}

type townConn struct {
	node    *townNode
	ref     engine.Ref
	user    string
	since   time.Time
	arrival uint64
	claimed bool
	online  bool
	over    bool
	counts  bool
	id      string
	outcome gateway.Outcome
	decided chan struct{} // closed with outcome
}

func (w *town) chance(p *float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *p > 0 && w.rand.Float64() < *p
}

// mend has nothing go wrong any more.
func (w *town) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing, w.deaf, w.lost = 0, 0, 0
}

func (w *town) upTo(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rand.Int64N(int64(d) + 1))
}

var errCut = errors.New("the node is cut off")

// A townStore is the bucket as one node sees it.
type townStore struct {
	*fakeStore
	node *townNode
}

func (s townStore) pause(ctx context.Context) error {
	w := s.node.town
	wait := w.upTo(3 * time.Millisecond)
	if w.chance(&w.failing) {
		if w.chance(&w.hanging) { // the answer does not come
			<-ctx.Done()
			return ctx.Err()
		}
		return errStoreAway
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	if s.node.cut.Load() {
		return errCut
	}
	return nil
}

// answer has what has happened be told, or not.
func (s townStore) answer(ctx context.Context, revision uint64, err error) (uint64, error) {
	if s.node.town.chance(&s.node.town.deaf) {
		return 0, errStoreAway
	}
	if late := s.pause(ctx); late != nil {
		return 0, late
	}
	return revision, err
}

func (s townStore) Get(ctx context.Context, key string) (Entry, error) {
	if err := s.pause(ctx); err != nil {
		return Entry{}, err
	}
	return s.fakeStore.Get(ctx, key)
}

func (s townStore) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	if err := s.pause(ctx); err != nil {
		return 0, err
	}
	revision, err := s.fakeStore.Create(ctx, key, value)
	return s.answer(ctx, revision, err)
}

func (s townStore) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := s.pause(ctx); err != nil {
		return 0, err
	}
	if s.node.town.blind {
		if e, err := s.fakeStore.Get(ctx, key); err == nil {
			revision = e.Revision
		}
	}
	revision, err := s.fakeStore.Update(ctx, key, value, revision)
	return s.answer(ctx, revision, err)
}

func (s townStore) Delete(ctx context.Context, key string, revision uint64) error {
	if err := s.pause(ctx); err != nil {
		return err
	}
	_, err := s.answer(ctx, 0, s.fakeStore.Delete(ctx, key, revision))
	return err
}

// ask implements peers.
func (d *townNode) ask(ctx context.Context, node uint8, body []byte) ([]byte, error) {
	w := d.town
	to := w.nodes[node-1]
	answer := make(chan []byte, 1)
	time.Sleep(w.upTo(2 * time.Millisecond))
	if d.cut.Load() {
		return nil, errCut
	}
	if !to.cut.Load() && !w.chance(&w.lost) {
		if w.mute {
			return []byte(`{"ok":true}`), nil
		}
		if err := to.serve(body, func(b []byte) { answer <- b }); err != nil {
			w.t.Errorf("a request cannot be read: %v", err)
		}
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case b := <-answer:
		time.Sleep(w.upTo(2 * time.Millisecond))
		if w.chance(&w.lost) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return b, nil
	}
}

// Kick implements Client.
func (d *townNode) Kick(ref engine.Ref, done func()) {
	go func() {
		time.Sleep(d.town.upTo(2 * time.Millisecond))
		d.end(ref, gateway.LoginConcurrent)
		done()
	}()
}

// Lose implements Client.
func (d *townNode) Lose(ref engine.Ref, id string, _ []byte, done func()) {
	go func() {
		time.Sleep(d.town.upTo(2 * time.Millisecond))
		if d.ids.Get(id) == uint64(ref) {
			d.end(ref, gateway.LoginOK)
		}
		done()
	}()
}

// TakeToken implements Client.
func (d *townNode) TakeToken(_ gateway.TokenKind, token string) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ok := d.taken[token]
	delete(d.taken, token)
	return "ann", ok
}

// end ends a connection.
func (d *townNode) end(ref engine.Ref, o gateway.Outcome) {
	d.mu.Lock()
	c := d.conns[ref]
	if c == nil {
		d.mu.Unlock()
		return
	}
	delete(d.conns, ref)
	c.over = true
	if !c.online {
		c.outcome = o
		close(c.decided)
	}
	d.mu.Unlock()
	if c.claimed {
		d.users.Abort(c.user, uint64(ref))
	}
	d.users.Release(c.user, uint64(ref))
	if c.id != "" {
		d.ids.Delete(c.id, uint64(ref))
	}
	if !d.town.amnesia {
		d.Leave(ref)
	}
}

// login begins a login, by the rules of a gateway.
func (d *townNode) login(user string, exclusive bool, limit int) *townConn {
	d.mu.Lock()
	d.next++
	c := &townConn{
		node: d, ref: d.next, user: user, since: time.Now(), arrival: uint64(d.next), counts: limit > 0, decided: make(chan struct{}),
	}
	d.conns[c.ref] = c
	d.mu.Unlock()
	if exclusive {
		if _, ok := d.users.Claim(user, uint64(c.ref), c.arrival); !ok {
			d.end(c.ref, gateway.LoginConcurrent)
			return c
		}
		c.claimed = true
	}
	r := gateway.Registration{
		User: user, Ref: c.ref, Arrival: c.arrival, Since: c.since, Deadline: c.since.Add(10 * time.Second),
		Exclusive: exclusive, Limit: limit,
	}
	d.Enter(r, func(o gateway.Outcome, _ int) {
		go func() { // the loop's turn comes later
			time.Sleep(d.town.upTo(time.Millisecond))
			d.enter(c, o)
		}()
	})
	return c
}

func (d *townNode) enter(c *townConn, o gateway.Outcome) {
	if o != gateway.LoginOK {
		d.end(c.ref, o)
		return
	}
	if c.claimed {
		old := engine.Ref(d.users.Get(c.user))
		d.mu.Lock()
		if oc := d.conns[old]; oc != nil && oc.arrival > c.arrival {
			d.mu.Unlock()
			d.end(c.ref, gateway.LoginConcurrent)
			return
		}
		d.mu.Unlock()
		if old != 0 {
			d.end(old, gateway.LoginConcurrent)
		}
	}
	d.mu.Lock()
	if c.over {
		d.mu.Unlock()
		return
	}
	if c.claimed && !d.users.Commit(c.user, uint64(c.ref)) {
		d.mu.Unlock()
		d.end(c.ref, gateway.LoginConcurrent)
		return
	}
	c.online = true
	close(c.decided)
	d.mu.Unlock()
}

// name gives a connection a uniqId.
func (d *townNode) name(id string) *townConn {
	d.mu.Lock()
	d.next++
	c := &townConn{node: d, ref: d.next, online: true, id: id, decided: make(chan struct{})}
	d.conns[c.ref] = c
	d.mu.Unlock()
	prev, _ := d.ids.Put(id, uint64(c.ref))
	if prev != 0 {
		d.end(engine.Ref(prev), gateway.LoginOK)
	}
	d.Name(id, c.ref, []byte("gone"))
	return c
}

// newTown makes a town of so many nodes, in which what set says goes wrong.
func newTown(t *testing.T, seed uint64, size int, set ...func(*town)) *town {
	w := &town{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), store: newFakeStore(time.Hour), leases: newFakeStore(nodesLife),
		hanging: 0.3,
	}
	for _, f := range set {
		f(w)
	}
	for i := range size {
		w.nodes = append(w.nodes, w.node(uint8(i+1), 100))
	}
	for _, d := range w.nodes {
		w.settle(d)
	}
	return w
}

func (w *town) node(id uint8, incarnation uint64) *townNode {
	d := &townNode{
		town: w, table: new(nodes), users: session.NewUsers(), ids: session.NewDirectory(id),
		conns: make(map[engine.Ref]*townConn), taken: make(map[string]bool),
	}
	config := &Config{Self: id, Incarnation: incarnation + uint64(id), Nodes: townStore{w.leases, d}, Names: townStore{w.store, d}}
	d.names = newNames(config, d.table, d, func() bool { return true })
	if w.unsampled {
		d.sampling = time.Hour
	}
	d.client = d
	d.start()
	return d
}

// settle has a node be in the bucket of leases, and known to the others.
func (w *town) settle(d *townNode) {
	l := newLease(&Config{Self: d.self.id, Incarnation: d.self.incarnation, Nodes: w.leases}, func() claim { return claim{} })
	if _, err := w.leases.Create(context.Background(), keyOf(d.self.id), l.encode()); err != nil {
		w.t.Fatal(err)
	}
	for _, o := range w.nodes {
		if o.self != d.self {
			o.table.put(Member{ID: d.self.id, Incarnation: d.self.incarnation})
			d.table.put(Member{ID: o.self.id, Incarnation: o.self.incarnation})
		}
	}
}

// kill has a node die without a word.
func (w *town) kill(d *townNode, remembered bool) {
	d.cut.Store(true)
	if !remembered {
		return
	}
	w.leases.set(func(s *fakeStore) { delete(s.keys, keyOf(d.self.id)) })
	for _, o := range w.nodes {
		o.table.remove(d.self.id)
	}
}

func (w *town) pick() *townNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[w.rand.IntN(len(w.nodes))]
}

// online lists a user's connections at nodes that are not cut off.
func (w *town) online(user string) (list []*townConn) {
	for _, d := range w.nodes {
		d.mu.Lock()
		for _, c := range d.conns {
			if c.user == user && c.online && !d.cut.Load() {
				list = append(list, c)
			}
		}
		d.mu.Unlock()
	}
	return list
}

// keys is how many keys the bucket has.
func (w *town) keys() (n int) {
	w.store.set(func(s *fakeStore) { n = len(s.keys) })
	return n
}

// close ends everything. Nothing is to be left, in the bucket or in memory, unless nodes have died.
func (w *town) close(clean bool) error {
	w.mend()
	for _, d := range w.nodes {
		d.mu.Lock()
		var refs []engine.Ref
		for ref := range d.conns {
			refs = append(refs, ref)
		}
		d.mu.Unlock()
		for _, ref := range refs {
			d.end(ref, gateway.LoginOK)
		}
	}
	time.Sleep(2 * time.Minute) // ends that were not answered are given up
	var errs []error
	for _, d := range w.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		d.names.close(ctx)
		cancel()
		d.names.mu.Lock()
		if len(d.keys) > 0 || len(d.byRef) > 0 || d.empty != 0 || len(d.todo) > 0 || len(d.names.ends) > 0 {
			errs = append(errs, fmt.Errorf("node %d: %d keys, %d connections, %d empty, %d to do, %d ends left",
				d.self.id, len(d.keys), len(d.byRef), d.empty, len(d.todo), len(d.names.ends)))
		}
		d.names.mu.Unlock()
	}
	if n := w.keys(); clean && n > 0 {
		errs = append(errs, fmt.Errorf("%d keys are left in the bucket", n))
	}
	return errors.Join(errs...)
}

// seeds is how many runs a test makes.
func seeds() uint64 {
	if testing.Short() {
		return 60
	}
	return 300
}

// race has many logins of one user at once, on all nodes, and reports what is wrong behind that.
func race(t *testing.T, seed uint64, set func(*town)) (err error) {
	faketime.Test(t, func(t *testing.T) {
		w := newTown(t, seed, 3, set)
		var all []*townConn
		for range 12 {
			all = append(all, w.pick().login("ann", true, 0))
			time.Sleep(w.upTo(4 * time.Millisecond))
		}
		for _, c := range all {
			<-c.decided
		}
		w.mend()
		time.Sleep(10 * time.Second)
		switch on := w.online("ann"); {
		case len(on) != 1:
			err = fmt.Errorf("seed %d: %d connections stay", seed, len(on))
		case w.online("ann")[0] != all[len(all)-1]:
			err = fmt.Errorf("seed %d: another connection stays than the last", seed)
		}
		err = errors.Join(err, w.close(true))
	})
	return err
}

func TestNamesOneOfRacingLoginsStays(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*town)
	}{
		{"calm", func(*town) {}},
		{"store errors", func(w *town) { w.failing = 0.1 }},
		{"answers of the store lost", func(w *town) { w.deaf = 0.2 }},
		{"messages lost", func(w *town) { w.lost = 0.2 }},
		{"all at once", func(w *town) { w.failing, w.deaf, w.lost = 0.1, 0.1, 0.1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := range seeds() / 5 {
				if err := race(t, seed, test.set); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Each of these faults must be found.
func TestNamesPlantedFaults(t *testing.T) {
	for name, set := range map[string]func(*town){
		"writes whatever the revision is":       func(w *town) { w.blind = true },
		"says that it has ended, and does not":  func(w *town) { w.mute = true },
		"does not tell that a connection ended": func(w *town) { w.amnesia = true },
	} {
		found := false
		for seed := uint64(0); seed < 40 && !found; seed++ {
			found = race(t, seed, func(w *town) { w.unsampled = true; set(w) }) != nil
		}
		if !found {
			t.Errorf("not found: it %s", name)
		}
	}
}

// The limit holds over the nodes, exactly, and a place is free again when its connection has ended.
func TestNamesUserLimit(t *testing.T) {
	for seed := range seeds() / 3 {
		faketime.Test(t, func(t *testing.T) {
			w := newTown(t, seed, 3)
			const limit = 4
			for range 3 {
				var all []*townConn
				for range 10 {
					all = append(all, w.pick().login("ann", false, limit))
					time.Sleep(w.upTo(time.Millisecond))
				}
				over := 0
				for _, c := range all {
					<-c.decided
					if c.outcome == gateway.LoginOverLimit {
						over++
					}
				}
				on := w.online("ann")
				if len(on) != limit || over == 0 {
					t.Fatalf("seed %d: %d connections, want %d; %d refused", seed, len(on), limit, over)
				}
				for _, c := range on[:2] { // and the next ones come at once, before that was told
					c.node.end(c.ref, gateway.LoginOK)
				}
			}
			if err := w.close(true); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// Connections of a node that has died do not count, nor do those of a process that had its id before.
func TestNamesOfANodeThatDied(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		w := newTown(t, 1, 3)
		a, b := w.nodes[0], w.nodes[1]
		for _, c := range []*townConn{a.login("ann", true, 0), a.login("ben", false, 1), a.login("carl", true, 0)} {
			if <-c.decided; !c.online {
				t.Fatal("no login")
			}
		}
		w.kill(a, false) // stopped: nobody knows yet
		begun := time.Now()
		if c := b.login("ann", true, 0); true {
			if <-c.decided; !c.online || time.Since(begun) > endWait+50*time.Millisecond {
				t.Errorf("a stopped node kept a login for %v: %v", time.Since(begun), c.outcome)
			}
		}
		if c := b.login("ben", false, 1); true {
			if <-c.decided; c.outcome != gateway.LoginOverLimit {
				t.Errorf("a stopped node's connection does not count: %v", c.outcome)
			}
		}
		w.kill(a, true)
		for _, c := range []*townConn{b.login("ben", false, 1), b.login("carl", true, 0)} {
			if <-c.decided; !c.online {
				t.Errorf("a dead node's connection counts: %v", c.outcome)
			}
		}
		again := w.node(1, 200)
		w.nodes[0] = again
		w.settle(again)
		if c := again.login("ben", false, 2); true {
			if <-c.decided; !c.online {
				t.Errorf("with its id given again: %v", c.outcome)
			}
		}
		if err := w.close(true); err != nil {
			t.Error(err)
		}
		a.names.close(context.Background())
	})
}

// A node that is cut off goes by its own rules; when it is back the later connection stays.
func TestNamesCutOff(t *testing.T) {
	for _, later := range []bool{true, false} {
		faketime.Test(t, func(t *testing.T) {
			w := newTown(t, 1, 2)
			a, b := w.nodes[0], w.nodes[1]
			<-a.login("ann", true, 0).decided
			b.cut.Store(true)
			first, second := b, a
			if later {
				first, second = a, b
			}
			<-first.login("ann", true, 0).decided
			time.Sleep(time.Second)
			c := second.login("ann", true, 0)
			begun := time.Now()
			if <-c.decided; !c.online || time.Since(begun) > 100*time.Millisecond {
				t.Fatalf("cut off: %v", c.outcome)
			}
			if s := b.stats(); s.Local == 0 || s.Away == 0 || s.Times != 1 {
				t.Errorf("it is not told: %+v", s)
			}
			b.cut.Store(false)
			time.Sleep(5 * time.Second)
			if on := w.online("ann"); len(on) != 1 || on[0] != c {
				t.Errorf("later on the cut-off node %v: %d connections stay, or another", later, len(on))
			}
			if s := b.stats(); s.Away != 0 || s.Queued != 0 {
				t.Errorf("it is not over: %+v", s)
			}
			if err := w.close(true); err != nil {
				t.Error(err)
			}
		})
	}
}

// A bucket that can be read and takes no writes, as one that is full, is away until it does: that it can be
// read does not make it be there again each second.
func TestNamesBucketFull(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		w := newTown(t, 1, 2)
		a, b := w.nodes[0], w.nodes[1]
		w.store.set(func(s *fakeStore) { s.refuses = func(string) bool { return true } })
		first := a.login("ann", true, 0)
		<-first.decided
		time.Sleep(10 * time.Second)
		if s := a.stats(); !first.online || s.Times != 1 || s.Away < 9*time.Second || s.Queued != 1 {
			t.Errorf("online %v, %+v", first.online, s)
		}
		w.store.set(func(s *fakeStore) { s.refuses = nil })
		time.Sleep(3 * time.Second)
		if s := a.stats(); s.Times != 1 || s.Away != 0 || s.Queued != 0 {
			t.Errorf("it is not over: %+v", s)
		}
		if c := b.login("ann", true, 0); true {
			if <-c.decided; !c.online {
				t.Error(c.outcome)
			}
		}
		if n := len(w.online("ann")); n != 1 {
			t.Errorf("%d connections stay", n)
		}
		if err := w.close(true); err != nil {
			t.Error(err)
		}
	})
}

// However nodes are cut off from the bucket and one another while users come and go everywhere, in the end a
// user has one connection at most, that of his last login unless it has ended, and nothing is left over.
func TestNamesThroughPartitions(t *testing.T) {
	for seed := range seeds() / 3 {
		faketime.Test(t, func(t *testing.T) {
			w := newTown(t, seed, 3, func(w *town) { w.lost = 0.05 })
			last := make(map[string]*townConn)
			var all []*townConn
			alone := 0
			for range 40 {
				d := w.pick()
				switch w.upTo(10) {
				case 0, 1:
					d.cut.Store(!d.cut.Load())
				case 2:
					if len(all) > 0 {
						c := all[w.upTo(time.Duration(len(all)-1))]
						c.node.end(c.ref, gateway.LoginOK)
					}
				default:
					user := []string{"ann", "ben"}[w.upTo(1)]
					if d.cut.Load() {
						alone++
					}
					last[user] = d.login(user, true, 0)
					all = append(all, last[user])
				}
				time.Sleep(time.Millisecond + w.upTo(time.Second))
			}
			for _, d := range w.nodes {
				d.cut.Store(false)
			}
			w.mend()
			time.Sleep(20 * time.Second)
			for user, c := range last {
				<-c.decided
				on := w.online(user)
				c.node.mu.Lock()
				over := c.over
				c.node.mu.Unlock()
				if len(on) > 1 || !over && (len(on) == 0 || on[0] != c) || c.outcome != gateway.LoginOK {
					t.Errorf("seed %d: %s has %d connections, and the last login, %v, is over: %v", seed, user, len(on), c.outcome, over)
				}
			}
			if alone == 0 && seed == 0 {
				t.Error("nobody logs in on a node that is cut off")
			}
			if err := w.close(true); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// A bucket that has lost its keys gets them again, and one whose keys are old new ones.
func TestNamesAreWrittenAgain(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		w := newTown(t, 1, 2)
		c := w.nodes[0].login("ann", true, 0)
		<-c.decided
		<-w.nodes[0].login("ben", true, 0).decided
		time.Sleep(time.Second)
		for range 2 {
			w.store.set(func(s *fakeStore) { clear(s.keys) })
			time.Sleep(sampleEvery + 3*time.Second)
			if w.keys() != 2 {
				t.Error("lost keys were not written again")
			}
		}
		if n := w.nodes[0].stats().Emptied; n != 2 {
			t.Errorf("%d losses were noted, want 2", n)
		}
		time.Sleep(3 * time.Hour)
		if _, err := w.store.Get(t.Context(), nameKey('u', "ann")); err != nil {
			t.Errorf("a key was not renewed: %v", err)
		}
		if err := w.close(true); err != nil {
			t.Error(err)
		}
	})
}

// A key that is gone since another node's login took this node's connection out of it, and has ended, is
// no loss of the bucket's.
func TestNamesOfLoginsThatAreGivenUp(t *testing.T) {
	for seed := range seeds() {
		faketime.Test(t, func(t *testing.T) {
			w := newTown(t, seed, 2)
			<-w.nodes[0].login("ann", true, 0).decided
			for range 5 {
				c := w.nodes[1].login("ann", true, 0)
				time.Sleep(w.upTo(10 * time.Millisecond))
				w.nodes[1].end(c.ref, gateway.LoginOK)
				for range 5 {
					w.nodes[0].again()
					time.Sleep(w.upTo(2 * time.Millisecond))
				}
				time.Sleep(3 * time.Second)
				<-w.nodes[0].login("ann", true, 0).decided
			}
			if n := w.nodes[0].stats().Emptied; n != 0 {
				t.Errorf("seed %d: %d losses were noted", seed, n)
			}
			if err := w.close(true); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// A uniqId is the last one's who was given it.
func TestNamesOfIDs(t *testing.T) {
	for seed := range seeds() / 3 {
		faketime.Test(t, func(t *testing.T) {
			w := newTown(t, seed, 3, func(w *town) { w.lost = 0.1 })
			var last *townConn
			for range 8 {
				last = w.pick().name("custom")
				time.Sleep(w.upTo(3*time.Millisecond) + time.Microsecond)
			}
			w.mend()
			time.Sleep(10 * time.Second)
			if on := w.online(""); len(on) != 1 || on[0] != last {
				t.Fatalf("seed %d: %d have the id, or another than the last", seed, len(on))
			}
			last.node.Unname("custom", last.ref)
			time.Sleep(time.Second)
			if w.keys() != 0 {
				t.Errorf("seed %d: an id that nobody has is left", seed)
			}
			if err := w.close(true); err != nil {
				t.Error(err)
			}
		})
	}
}

// A token is good once, at whatever node it is shown, and not at all where nobody can be asked.
func TestNamesRedeem(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		w := newTown(t, 1, 3)
		tokens, err := session.NewOneTime(session.OneTimeConfig{Rand: zeros{}})
		if err != nil {
			t.Fatal(err)
		}
		tokens.IssueAs(2)
		token, err := tokens.Issue(time.Now(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		w.nodes[1].taken[token] = true
		redeem := func(d *townNode, token string) error {
			result := make(chan error, 1)
			d.Redeem(gateway.LoginToken, token, time.Now().Add(5*time.Second), func(user string, err error) {
				if err == nil && user != "ann" {
					err = fmt.Errorf("it stands for %q", user)
				}
				result <- err
			})
			return <-result
		}
		var good atomic.Int32
		var all sync.WaitGroup
		for _, d := range []*townNode{w.nodes[0], w.nodes[2], w.nodes[0]} {
			all.Go(func() {
				switch err := redeem(d, token); {
				case err == nil:
					good.Add(1)
				case !errors.Is(err, login.ErrRefused):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if good.Load() != 1 {
			t.Errorf("a token was good %d times", good.Load())
		}
		if err := redeem(w.nodes[0], "09"+token[2:]); !errors.Is(err, login.ErrRefused) {
			t.Errorf("of a node that there is not: %v", err)
		}
		w.nodes[1].cut.Store(true)
		if err := redeem(w.nodes[0], token); !errors.Is(err, login.ErrUnavailable) {
			t.Errorf("of a node that does not answer: %v", err)
		}
		if err := w.close(true); err != nil {
			t.Error(err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Requests and values of others do no harm.
func TestNamesForeign(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		w := newTown(t, 1, 2)
		d := w.nodes[0]
		for _, body := range []string{"", "x", "{}", `{"op":"end"}`, `{"op":"end","refs":[1,2]}`, `{"op":"what","refs":[1]}`, "null", "[1]"} {
			if err := d.serve([]byte(body), func([]byte) { t.Errorf("%q has an answer", body) }); err == nil {
				t.Errorf("%q can be read", body)
			}
		}
		for _, value := range []string{"", "x", `{"connections":[{"incarnation":"x","sole":true,"since":1}]}`, `{"connections":[{}]}`} {
			w.store.set(func(s *fakeStore) {
				s.revision++
				s.keys[nameKey('u', "ann")] = fakeKey{Entry{nameKey('u', "ann"), []byte(value), s.revision, time.Now()}, time.Now()}
			})
			c := d.login("ann", true, 1)
			if <-c.decided; !c.online {
				t.Errorf("%q: %v", value, c.outcome)
			}
			d.end(c.ref, gateway.LoginOK)
		}
		if d.stats().Foreign == 0 {
			t.Error("nothing was counted")
		}
		if err := w.close(true); err != nil {
			t.Error(err)
		}
	})
}

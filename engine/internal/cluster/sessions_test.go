package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// A resort is several nodes' sessions in one process: one bucket, and commands between them.
type resort struct {
	t      tester
	rand   *mrand.Rand
	store  *fakeStore
	mu     sync.Mutex
	guests []*guesthouse // mu guards it from those who send commands
	opened session.Ref   // processes so far: no two have connections of one number
	delays *mrand.Rand   // mu guards it
	news   newsLog
}

// A guesthouse is a node with a session store and connections that are numbers.
type guesthouse struct {
	*sessions
	resort *resort
	table  *nodes
	local  *session.Store
	bytes  int

	mu    sync.Mutex
	conns map[session.Ref]*guest
	next  session.Ref
	dead  bool
	late  time.Duration // of connections that come; 0: some are slow
	deaf  atomic.Bool   // commands of others get no answer
	mute  atomic.Bool   // they are done, and their answers are lost
}

// A guest is a connection and what it has of its session.
type guest struct {
	ref    session.Ref
	issued session.Issued
	topics []string
	mail   mailbag
}

// A tester is what of a testing.T tests need that may look for planted faults.
type tester interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Output() io.Writer
}

func newResort(t tester, seed uint64, n int) *resort {
	r := &resort{
		t: t, rand: mrand.New(mrand.NewPCG(seed, 1)), store: newFakeStore(time.Hour), delays: mrand.New(mrand.NewPCG(seed, 2)),
	}
	r.store.delay = r.delay
	for range n {
		r.guests = append(r.guests, nil)
	}
	for i := range r.guests {
		r.open(i)
	}
	return r
}

// delay waits as long as a message to the bucket, or between nodes, may take.
func (r *resort) delay() {
	r.mu.Lock()
	d := time.Duration(r.delays.IntN(1000)) * time.Microsecond
	r.mu.Unlock()
	time.Sleep(d)
}

func (r *resort) at(i int) *guesthouse {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.guests[i]
}

// open starts a process on a node.
func (r *resort) open(i int) {
	config := &Config{Self: uint8(i), Incarnation: r.rand.Uint64() | 1, Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil))}
	r.opened++
	g := &guesthouse{resort: r, table: new(nodes), conns: make(map[session.Ref]*guest), next: r.opened << 20}
	g.sessions = newSessions(config, r.store, g.table, 1<<20)
	g.charge = func(n int) { g.bytes += n } // under its lock
	g.local, _ = session.NewStore(session.StoreConfig{Key: [session.KeySize]byte{1}, Rand: rand.Reader, TTL: 30 * time.Minute})
	g.local.Watch(g.sessions)
	g.reach, g.on = r.news.reach, func() bool { return true }
	r.mu.Lock()
	r.guests[i] = g
	r.mu.Unlock()
	for _, a := range r.guests {
		for _, b := range r.guests {
			if a != nil && b != nil && a != b && !a.dead && !b.dead {
				a.table.put(Member{ID: b.self.id, Incarnation: b.self.incarnation})
			}
		}
	}
	g.start(g, g)
	g.changed(true)
}

func (g *guesthouse) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

func (g *guesthouse) tell(nodes []uint8, payload []byte) error {
	for id := range uint8(len(g.resort.guests)) {
		if id == g.self.id || nodes != nil && !slices.Contains(nodes, id) {
			continue
		}
		go func() {
			if to := g.resort.at(int(id)); !to.isDead() && !to.deaf.Load() {
				to.handle(g.self.id, payload, nil)
			}
		}()
	}
	return nil
}

func (g *guesthouse) ask(nodes []uint8, payload []byte, wait time.Duration, each func(uint8, []byte, error), _ func()) {
	var once sync.Once
	answer := func(b []byte, err error) { once.Do(func() { each(nodes[0], b, err) }) }
	time.AfterFunc(wait, func() { answer(nil, ErrSilent) })
	go func() {
		to := g.resort.at(int(nodes[0]))
		g.resort.delay()
		if !to.isDead() && !to.deaf.Load() {
			to.handle(g.self.id, payload, func(b []byte) {
				if !to.mute.Load() {
					b := slices.Clone(b)
					go func() {
						g.resort.delay()
						answer(b, nil)
					}()
				}
			})
		}
	}()
}

func (g *guesthouse) ShareSession(id session.SessionID, upTo topic.Position, done func(session.Shared, error)) {
	shared, holder, err := g.local.Share(id)
	if err != nil {
		done(shared, err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if holder != 0 {
		c := g.conns[holder]
		if c == nil {
			done(shared, session.ErrHeld)
			return
		}
		shared.Snapshot = session.Snapshot{Topics: slices.Clone(c.topics), Marks: c.marks(&g.resort.news)}
		shared.Behind = c.mail.at().Before(upTo)
	}
	done(shared, nil)
}

func (g *guesthouse) StepSession(shared *session.Shared, t session.Ticket) error {
	return g.local.Step(time.Now(), shared, t)
}

func (g *guesthouse) GiveSession(id session.SessionID, serial uint32, done func(session.Shared, error)) {
	holder, former, err := g.local.MayGive(time.Now(), id, serial)
	if err != nil {
		done(session.Shared{}, err)
		return
	}
	go func() {
		g.leave(former)
		g.leave(holder)
		done(g.local.Give(time.Now(), id, serial))
	}()
}

func (g *guesthouse) LoseSession(id session.SessionID) {
	holder, former := g.local.Lose(id)
	g.leave(holder)
	g.leave(former)
}

func (g *guesthouse) EndShared(id session.SessionID) {
	holder, _ := g.local.End(time.Now(), id)
	g.leave(holder)
}

func (g *guesthouse) SharedSessions() []session.SessionID { return g.local.IDs() }

// leave ends a connection, which leaves its session behind.
func (g *guesthouse) leave(ref session.Ref) {
	g.mu.Lock()
	c := g.conns[ref]
	delete(g.conns, ref)
	if c == nil {
		g.mu.Unlock()
		return
	}
	c.mail.stop()
	snapshot := session.Snapshot{Topics: slices.Clone(c.topics), Marks: c.marks(&g.resort.news)}
	g.mu.Unlock()
	g.local.Detach(time.Now(), c.issued.ID, ref, snapshot)
}

func (g *guesthouse) login(user string) *guest {
	g.mu.Lock()
	g.next++
	c := g.newGuest()
	g.mu.Unlock()
	issued, err := g.local.Begin(time.Now(), c.ref, session.Login{User: user})
	if err != nil {
		g.resort.t.Errorf("%v", err)
	}
	c.issued = issued
	g.mu.Lock()
	g.conns[c.ref] = c
	g.mu.Unlock()
	return c
}

func (g *guesthouse) subscribe(c *guest, topic string) {
	g.mu.Lock()
	c.topics = append(c.topics, topic)
	g.mu.Unlock()
	g.resort.news.add(topic)
	g.Changed(c.issued.ID)
}

// resume is what a gateway does with a ticket.
func (g *guesthouse) resume(text string) (*guest, error) {
	ticket, err := g.local.Open(time.Now(), []byte(text))
	if err != nil {
		return nil, err
	}
	if err := g.local.Check(time.Now(), ticket); errors.Is(err, session.ErrUnknown) {
		ch := make(chan error, 1)
		g.Take(ticket, func(shared session.Shared, err error) {
			if err == nil {
				if err = g.local.Adopt(time.Now(), shared); err != nil {
					g.Forgotten(shared.ID)
				}
			} else if errors.Is(err, session.ErrHeld) {
				err = nil
			}
			ch <- err
		})
		if err := <-ch; err != nil {
			return nil, err
		}
	}
	g.mu.Lock()
	g.next++
	c := g.newGuest()
	g.mu.Unlock()
	r, err := g.local.Resume(time.Now(), ticket, c.ref)
	if err != nil {
		return nil, err
	}
	g.leave(r.Holder)
	c.issued = r.Issued
	g.mu.Lock()
	c.restore(&g.resort.news, &r.Snapshot)
	if more, ok := g.local.Handover(r.ID, c.ref); ok {
		c.restore(&g.resort.news, &more)
	}
	g.conns[c.ref] = c
	g.mu.Unlock()
	g.Changed(r.ID)
	return c, nil
}

// kill ends a process as SIGKILL does: nothing more is written.
func (r *resort) kill(i int) {
	g := r.guests[i]
	g.mu.Lock()
	g.dead = true
	for _, c := range g.conns {
		c.mail.stop()
	}
	g.mu.Unlock()
	for _, o := range r.guests {
		if o != g {
			o.table.remove(g.self.id)
		}
	}
	g.changed(false)
	g.close(context.Background())
}

// holders counts the connections that have a session, on all nodes.
func (r *resort) holders(id session.SessionID) (n int) {
	for _, g := range r.guests {
		if !g.isDead() {
			g.mu.Lock()
			for _, c := range g.conns {
				if c.issued.ID == id {
					n++
				}
			}
			g.mu.Unlock()
		}
	}
	return n
}

func (r *resort) close() {
	for _, g := range r.guests {
		if g.isDead() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		g.close(ctx)
		cancel()
		if g.bytes != 0 {
			r.t.Errorf("node %d: %d bytes are still charged", g.self.id, g.bytes)
		}
	}
}

func TestSessionsFollowTheirClients(t *testing.T) {
	seeds := uint64(150)
	if raceEnabled { // each takes five times as long
		seeds = 30
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) { wander(t, seed) })
		})
	}
}

// A session that is being written cannot be resumed elsewhere yet: it counts among those that wait.
func TestSessionBeingWrittenWaits(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		r := newResort(t, 1, 1)
		defer r.close()
		r.store.set(func(s *fakeStore) { s.slow = time.Second })
		g := r.guests[0]
		g.login("ann")
		time.Sleep(500 * time.Millisecond)
		if s := g.counts(); s.Waiting != 1 || s.Written != 0 {
			t.Errorf("%d wait and %d are written, want 1 and 0", s.Waiting, s.Written)
		}
		time.Sleep(time.Second)
		if s := g.counts(); s.Waiting != 0 || s.Written != 1 {
			t.Errorf("%d wait and %d are written, want 0 and 1", s.Waiting, s.Written)
		}
	})
}

// wander has clients come, go, come back elsewhere, race and be ended, while nodes die and the bucket
// fails, and compares with what must have become of them.
func wander(t tester, seed uint64) {
	r := newResort(t, seed, 3)
	defer r.close()
	type client struct {
		at     int // its node
		conn   *guest
		ticket string
		old    string // the ticket before the one before
		topics []string
		ended  bool
		reader
	}
	var clients []*client
	stop := r.publishNews()
	defer stop()
	pick := func() int { return r.rand.IntN(len(r.guests)) }
	settle := func() { time.Sleep(20 * time.Second) }
	for step := range 40 {
		i := pick()
		if len(clients) < 3 {
			c := &client{at: i, conn: r.guests[i].login(fmt.Sprint("user", len(clients))), reader: newReader(&r.news)}
			c.ticket = c.conn.issued.Ticket
			clients = append(clients, c)
			settle()
			continue
		}
		c := clients[r.rand.IntN(len(clients))]
		back := func(err error, got *guest) {
			if c.ended {
				if err == nil {
					t.Fatalf("step %d: a session that has ended was resumed", step)
				}
				return
			}
			if err != nil {
				t.Fatalf("step %d: not resumed on node %d after %d: %v", step, i, c.at, err)
			}
			slices.Sort(got.topics)
			if !slices.Equal(got.topics, c.topics) {
				t.Fatalf("step %d: topics %q, want %q", step, got.topics, c.topics)
			}
			c.read(t, step, &c.conn.mail)
			c.old, c.ticket, c.at, c.conn = c.ticket, got.issued.Ticket, i, got
		}
		op := r.rand.IntN(9)
		t.Logf("%v step %d: op %d on client %s of node %d, at node %d", time.Now().Format("04:05.000"), step, op, c.topics, c.at, i)
		switch op {
		case 0:
			if !c.ended {
				topic := fmt.Sprintf("t%03d", step)
				r.guests[c.at].subscribe(c.conn, topic)
				c.topics = append(c.topics, topic)
				c.begin(topic)
				time.Sleep(2 * time.Second)
			}
		case 1: // gone, and back somewhere at once
			r.guests[c.at].leave(c.conn.ref)
			got, err := r.guests[i].resume(c.ticket)
			back(err, got)
		case 2: // a connection that is alive is taken over
			time.Sleep(time.Second)
			got, err := r.guests[i].resume(c.ticket)
			back(err, got)
		case 3: // its node is killed
			time.Sleep(2 * time.Second)
			dead := c.at
			r.kill(dead)
			i = (dead + 1) % 3
			c.repeats()
			got, err := r.guests[i].resume(c.ticket)
			back(err, got)
			for _, o := range clients {
				if o.at == dead && !o.ended {
					c, i = o, (dead+2)%3
					c.repeats()
					got, err := r.guests[i].resume(o.ticket)
					back(err, got)
				}
			}
			r.open(dead)
		case 4: // several race, on some nodes or all
			if c.ended {
				continue
			}
			time.Sleep(time.Second)
			if r.rand.IntN(2) == 0 {
				r.guests[c.at].leave(c.conn.ref)
				time.Sleep(time.Duration(r.rand.IntN(3)) * time.Second)
			}
			type result struct {
				at  int
				got *guest
				err error
			}
			racers := r.rand.Perm(3)[:2+r.rand.IntN(2)]
			results := make(chan result, len(racers))
			for _, at := range racers {
				wait := time.Duration(r.rand.IntN(4000)) * time.Microsecond
				go func() {
					time.Sleep(wait)
					got, err := r.guests[at].resume(c.ticket)
					results <- result{at, got, err}
				}()
			}
			var a result
			won := 0
			for range racers {
				if b := <-results; b.err == nil {
					a, won = b, won+1
				}
			}
			if won != 1 {
				t.Fatalf("step %d: of racing takers on nodes %v %d won", step, racers, won)
			}
			i = a.at
			back(nil, a.got)
			time.Sleep(100 * time.Millisecond)
			if n := r.holders(c.conn.issued.ID); n != 1 {
				t.Fatalf("step %d: %d connections have one session", step, n)
			}
		case 5: // it is ended, here or elsewhere
			if r.rand.IntN(3) > 0 {
				continue
			}
			holder, _ := r.guests[i].local.End(time.Now(), c.conn.issued.ID)
			r.guests[i].leave(holder)
			c.ended = true
			time.Sleep(2 * time.Second)
			if n := r.holders(c.conn.issued.ID); n != 0 {
				t.Fatalf("step %d: %d connections have a session that has ended", step, n)
			}
		case 6: // a used ticket
			time.Sleep(16 * time.Second)
			if c.old != "" {
				if _, err := r.guests[i].resume(c.old); err == nil {
					t.Fatalf("step %d: a spent ticket was good on node %d", step, i)
				}
			}
		case 7: // the bucket fails for a while: who is here can come back here
			r.store.set(func(s *fakeStore) { s.down = true })
			r.guests[c.at].leave(c.conn.ref)
			elsewhere := (c.at + 1) % 3
			if _, err := r.guests[elsewhere].resume(c.ticket); err == nil {
				t.Fatalf("step %d: resumed on another node without the bucket", step)
			}
			i = c.at
			if r.guests[i].local.Has(c.conn.issued.ID) {
				got, err := r.guests[i].resume(c.ticket)
				back(err, got)
			}
			r.store.set(func(s *fakeStore) { s.down = false })
			settle()
		case 8: // the answer to a write is lost, or the owner does not answer
			if r.rand.IntN(2) == 0 {
				r.store.set(func(s *fakeStore) { s.deaf = true })
				settle()
				r.store.set(func(s *fakeStore) { s.deaf = false })
				continue
			}
			time.Sleep(2 * time.Second)
			was := r.guests[c.at]
			was.deaf.Store(true)
			was.mu.Lock()
			c.conn.mail.stop() // the client has given up the older connection
			was.mu.Unlock()
			c.repeats()
			got, err := r.guests[i].resume(c.ticket)
			back(err, got)
			was.deaf.Store(false)
			was.changed(false)
			was.changed(true)
			time.Sleep(2 * time.Second)
			if n := r.holders(c.conn.issued.ID); n > 1 {
				t.Fatalf("step %d: %d connections have a session after its owner was silent", step, n)
			}
		}
	}
	settle()
	stop()
	settle()
	for _, c := range clients {
		if !c.ended {
			c.read(t, -1, &c.conn.mail)
			c.hasAll(t, c.topics)
		}
		if n := r.holders(c.conn.issued.ID); n > 1 || c.ended && n > 0 {
			t.Errorf("in the end %d connections have a session, ended: %v", n, c.ended)
		}
	}
}

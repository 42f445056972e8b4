package topic

import (
	"iter"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// ID is a topic's number: dense, from 1, used again after the topic is gone.
type ID uint32

// A Key is an ID with the generation that tells two topics with the same ID apart.
// The zero Key names no topic.
type Key struct {
	ID  ID
	Gen uint32
}

const (
	dirShards = 64  // power of two; keeps lock contention between loops low
	pageSize  = 256 // records per page; a page never moves, so records have stable addresses
)

// A Directory interns topic names. All methods may be called from any goroutine.
type Directory struct {
	loops  int
	shards [dirShards]dirShard

	mu    sync.Mutex // guards growth of pages and free
	pages atomic.Pointer[[]*page]
	next  ID
	free  []ID
	count atomic.Int64

	first, last func(name string) // of Watch; nil: nobody
}

type dirShard struct {
	mu    sync.RWMutex
	names map[string]ID
	_     [96]byte // one shard's lock does not share a cache line with the next one's
}

type page struct {
	records [pageSize]record
	counts  []atomic.Int32 // per record, the subscribers on each loop
	// pressed is made when a subscriber to one of the page's topics becomes congested: most pages
	// never have one.
	pressed atomic.Pointer[[]pressed]
}

// pressed is how one loop's subscribers to a topic take what is published.
type pressed struct {
	congested, excluded atomic.Int32
	progress            atomic.Int64 // see Pressed
	standing            atomic.Int64
	behind              atomic.Int64
	next                stand // the loop's, while it finds out standing and behind anew
}

// A stand is what one look at the congested of a topic on a loop comes to.
type stand struct {
	at, n, behind int64 // when one has last taken bytes; how many they are; the sum
}

// A Pressed is how one loop's subscribers to a topic take what is published.
type Pressed struct {
	Congested, Excluded int
	// Progress is when one has last taken bytes while it was congested, on the caller's clock;
	// Standing is the same of those alone that are congested still.
	Progress, Standing int64
	// Behind is how much of their limits those congested have used up on the average, in millionths.
	Behind int64
}

type record struct {
	name     string // guarded by the shard's lock
	total    int32  // subscribers on all loops, guarded by the shard's lock
	gen      atomic.Uint32
	dialects atomic.Uint32
}

// NewDirectory makes a Directory for loops numbered 0 to loops-1.
func NewDirectory(loops int) *Directory {
	d := &Directory{loops: loops, next: 1}
	for i := range d.shards {
		d.shards[i].names = make(map[string]ID)
	}
	d.pages.Store(&[]*page{newPage(loops)})
	// ID 0 has a record too, which the zero Key does not match: it names no topic.
	_, none, _ := d.record(0)
	none.gen.Store(1)
	return d
}

// Watch has first called when a topic gets its first subscriber, and last when its last one has left.
// Of one topic they are called in turn, in the order in which it happens, with a lock of the
// Directory's held: they must neither block nor call it. Watch must be called before anything else.
func (d *Directory) Watch(first, last func(name string)) { d.first, d.last = first, last }

func newPage(loops int) *page {
	return &page{counts: make([]atomic.Int32, pageSize*loops)}
}

func (d *Directory) shard(name []byte) *dirShard {
	return &d.shards[xxhash.Sum64(name)&(dirShards-1)]
}

func (d *Directory) shardOf(name string) *dirShard {
	return &d.shards[xxhash.Sum64String(name)&(dirShards-1)]
}

func (d *Directory) record(id ID) (*page, *record, int) {
	i := int(id)
	p := (*d.pages.Load())[i/pageSize]
	return p, &p.records[i%pageSize], i % pageSize
}

// Lookup returns the Key of a topic that has subscribers. It does not keep name.
func (d *Directory) Lookup(name []byte) (Key, bool) {
	s := d.shard(name)
	s.mu.RLock()
	id, ok := s.names[string(name)]
	var k Key
	if ok {
		_, r, _ := d.record(id)
		k = Key{id, r.gen.Load()}
	}
	s.mu.RUnlock()
	return k, ok
}

// Live reports whether k still names the topic it was looked up for.
func (d *Directory) Live(k Key) bool {
	_, r, _ := d.record(k.ID)
	return r.gen.Load() == k.Gen
}

// Dialects returns the set of wire dialects (bit n: dialect n) that subscribers of k have
// used since the topic came to be.
func (d *Directory) Dialects(k Key) uint32 {
	_, r, _ := d.record(k.ID)
	return r.dialects.Load()
}

// Subscribers returns how many subscribers k has on a loop.
func (d *Directory) Subscribers(k Key, loop int) int {
	p, _, i := d.record(k.ID)
	return int(p.counts[i*d.loops+loop].Load())
}

// Pressure returns how the subscribers of k on a loop take what is published.
func (d *Directory) Pressure(k Key, loop int) Pressed {
	p, _, i := d.record(k.ID)
	all := p.pressed.Load()
	if all == nil {
		return Pressed{}
	}
	c := &(*all)[i*d.loops+loop]
	return Pressed{
		Congested: int(c.congested.Load()), Excluded: int(c.excluded.Load()),
		Progress: c.progress.Load(), Standing: c.standing.Load(), Behind: c.behind.Load(),
	}
}

// press adds n to the count of a pressure. The caller has a subscription to id, so the record cannot
// be given to another topic meanwhile.
func (d *Directory) press(id ID, loop int, pressure Pressure, n int) {
	if pressure == Flowing {
		return
	}
	c := d.pressed(id, loop)
	if pressure == Congested {
		c.congested.Add(int32(n))
	} else {
		c.excluded.Add(int32(n))
	}
}

// progressed notes that a congested subscriber has taken bytes.
func (d *Directory) progressed(id ID, loop int, at int64) {
	c := d.pressed(id, loop)
	c.progress.Store(max(at, c.progress.Load()))
	c.standing.Store(max(at, c.standing.Load()))
}

// fell adds to how far the congested of a topic are behind, if there are any.
func (d *Directory) fell(id ID, loop int, by int64) {
	p, _, i := d.record(id)
	if all := p.pressed.Load(); all != nil {
		if c := &(*all)[i*d.loops+loop]; c.congested.Load() > 0 {
			c.behind.Add(by)
		}
	}
}

func (d *Directory) pressed(id ID, loop int) *pressed {
	p, _, i := d.record(id)
	all := p.pressed.Load()
	if all == nil {
		fresh := make([]pressed, pageSize*d.loops)
		if p.pressed.CompareAndSwap(nil, &fresh) {
			all = &fresh
		} else {
			all = p.pressed.Load()
		}
	}
	return &(*all)[i*d.loops+loop]
}

// join counts one more subscriber of name on a loop, interning the name when it is new.
func (d *Directory) join(name []byte, loop int, dialect uint8) Key {
	s := d.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.names[string(name)]
	if !ok {
		id = d.allocate()
		_, r, _ := d.record(id)
		r.name = string(name)
		r.dialects.Store(0)
		s.names[r.name] = id
		d.count.Add(1)
		if d.first != nil {
			d.first(r.name)
		}
	}
	p, r, i := d.record(id)
	r.total++
	p.counts[i*d.loops+loop].Add(1)
	if bit := uint32(1) << dialect; r.dialects.Load()&bit == 0 {
		r.dialects.Or(bit)
	}
	return Key{id, r.gen.Load()}
}

// leave counts one subscriber less; the last one takes the name with it.
func (d *Directory) leave(id ID, loop int) {
	p, r, i := d.record(id)
	// The name cannot change while the caller's subscription is counted in total.
	s := d.shardOf(r.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.counts[i*d.loops+loop].Add(-1)
	r.total--
	if r.total > 0 {
		return
	}
	delete(s.names, r.name)
	if d.last != nil {
		d.last(r.name)
	}
	r.name = ""
	r.gen.Add(1)
	d.count.Add(-1)
	d.mu.Lock()
	d.free = append(d.free, id)
	d.mu.Unlock()
}

func (d *Directory) allocate() ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.free); n > 0 {
		id := d.free[n-1]
		d.free = d.free[:n-1]
		return id
	}
	id := d.next
	d.next++
	pages := *d.pages.Load()
	if int(id)/pageSize == len(pages) {
		grown := append(pages[:len(pages):len(pages)], newPage(d.loops))
		d.pages.Store(&grown)
	}
	return id
}

// Name returns the name of a topic the caller's loop has a subscription to.
func (d *Directory) Name(id ID) string {
	_, r, _ := d.record(id)
	return r.name
}

// Len returns the number of topics that have subscribers.
func (d *Directory) Len() int { return int(d.count.Load()) }

// Names appends the names of all topics that have subscribers, in no order. Topics that come
// or go meanwhile may be missing or listed.
func (d *Directory) Names(dst []string) []string {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.RLock()
		for name := range s.names {
			dst = append(dst, name)
		}
		s.mu.RUnlock()
	}
	return dst
}

// Names yields names as the bytes that a publish wants.
func Names(list []string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, name := range list {
			if !yield([]byte(name)) {
				return
			}
		}
	}
}

// Count returns how many subscribers a topic has on all loops; 0 when it has none.
func (d *Directory) Count(name []byte) int {
	s := d.shard(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if id, ok := s.names[string(name)]; ok {
		_, r, _ := d.record(id)
		return int(r.total)
	}
	return 0
}

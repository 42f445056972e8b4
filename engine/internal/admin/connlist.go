package admin

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// sortKeys are what connections may be sorted by.
var sortKeys = map[string]func(*engine.Conn) int64{
	"since":           func(c *engine.Conn) int64 { return c.Traffic().Since },
	"bytesIn":         func(c *engine.Conn) int64 { return int64(c.Traffic().BytesIn) },
	"bytesOut":        func(c *engine.Conn) int64 { return int64(c.Traffic().BytesOut) },
	"messagesIn":      func(c *engine.Conn) int64 { return int64(c.Traffic().PacketsIn) },
	"messagesOut":     func(c *engine.Conn) int64 { return int64(c.Traffic().PacketsOut) },
	"unsentBytes":     func(c *engine.Conn) int64 { return int64(c.Holding().Unsent) },
	"lagBytes":        func(c *engine.Conn) int64 { return int64(c.Holding().Lag) },
	"memoryBytes":     func(c *engine.Conn) int64 { return int64(c.Holding().Account) },
	"topics":          func(c *engine.Conn) int64 { return int64(c.TopicCount()) },
	"pendingRequests": pendingOf,
}

func pendingOf(c *engine.Conn) int64 {
	if s, ok := c.Handler().(gateway.Session); ok {
		return int64(s.Base().Pending())
	}
	return 0
}

var sortNames = func() []string {
	names := []string{"user", "-user"}
	for name := range sortKeys {
		names = append(names, name, "-"+name)
	}
	slices.Sort(names)
	return names
}()

func (s *Server) apiConnections(r *http.Request) (any, error) {
	q := parameters(r, "limit", "cursor", "sort", "protocol", "user", "state", "search", "topic", "peer", "listener", "congested", "once")
	limit, cursor, order := q.limit(), q.text("cursor"), q.oneOf("sort", sortNames...)
	once := q.oneOf("once", "true", "false") == "true"
	if once && (order == "" || cursor != "") {
		q.fail("once=true: goes with sort, and without a cursor")
	}
	f := readFilter(q)
	if q.err != nil {
		return nil, q.err
	}
	if order == "" && !strings.HasPrefix(cursor, "s") {
		return s.listSlots(r.Context(), &f, cursor, limit)
	}
	if cursor == "" {
		most := 0
		if once {
			most = limit
		}
		refs, matched, err := s.sorted(r.Context(), &f, order, most)
		if err != nil {
			return nil, err
		}
		return s.pageOf(r.Context(), sortedPage{refs: refs, limit: limit, matched: matched})
	}
	id, refs, offset, err := s.cursors.find(cursor, time.Now())
	if err != nil {
		return nil, err
	}
	return s.pageOf(r.Context(), sortedPage{id: id, refs: refs, offset: offset, limit: limit, matched: len(refs)})
}

// listSlots lists connections in the order of their places, loop by loop. The cursor is the loop and
// the place to go on from, so that it needs no memory, and whoever stays is listed once.
func (s *Server) listSlots(ctx context.Context, f *connFilter, cursor string, limit int) (any, error) {
	loop, slot := 0, uint64(0)
	if cursor != "" {
		a, b, ok := strings.Cut(cursor, ".")
		var err1, err2 error
		loop, err1 = strconv.Atoi(a)
		slot, err2 = strconv.ParseUint(b, 10, 32)
		if !ok || err1 != nil || err2 != nil || loop < 0 || loop >= s.engine.Loops() {
			return nil, badRequest("cursor=%s: want what an earlier answer has as next", clip(cursor))
		}
	}
	page := connectionsPage{Connections: []connection{}}
	for ; loop < s.engine.Loops(); loop, slot = loop+1, 0 {
		for more := true; more; {
			var next uint32
			seen := make([]sight, 0, min(limit-len(page.Connections), sightsAtOnce))
			err := s.onLoop(ctx, loop, func(l *engine.Loop) {
				sl := newSlice(16)
				next, more = l.Walk(uint32(slot), func(c *engine.Conn) bool {
					if s.wants(f, c) {
						seen = append(seen, sightOf(c))
					}
					return len(seen) < cap(seen) && !sl.over()
				})
			})
			if err != nil {
				return nil, err
			}
			page.Connections = slices.Grow(page.Connections, len(seen))
			for _, v := range seen {
				page.Connections = append(page.Connections, s.row(v))
			}
			slot = uint64(next)
			if len(page.Connections) < limit {
				continue
			}
			if !more {
				loop, slot = loop+1, 0
			}
			if loop < s.engine.Loops() {
				page.Next = new(strconv.Itoa(loop) + "." + strconv.FormatUint(slot, 10))
			}
			return page, nil
		}
	}
	return page, nil
}

// sightsAtOnce is how many rows are taken in a slice: 128 KiB of them.
const sightsAtOnce = 512

// eachLoop calls f for all loops at the same time, and returns its first error: then a loop may still
// come to what it was told, and what that writes must not be read.
func (s *Server) eachLoop(f func(loop int) error) error {
	failed := make([]error, s.engine.Loops())
	var all sync.WaitGroup
	for i := range failed {
		all.Go(func() { failed[i] = f(i) })
	}
	all.Wait()
	return cmp.Or(failed...)
}

// sorted returns the connections that f wants, in order, and how many there are. most bounds how many
// are returned; 0: all of them.
func (s *Server) sorted(ctx context.Context, f *connFilter, order string, most int) (refs []engine.Ref, matched int, err error) {
	name, down := strings.CutPrefix(order, "-")
	key := sortKeys[name]
	parts := make([]ranking, s.engine.Loops())
	if err := s.eachLoop(func(loop int) error {
		parts[loop] = newRanking(down, most)
		return s.rank(ctx, loop, f, key, &parts[loop])
	}); err != nil {
		return nil, 0, err // the lists are left to the collector
	}
	all := newRanking(down, most)
	for i := range parts {
		matched += parts[i].matched
		all.list = append(all.list, parts[i].list...)
		parts[i].free()
	}
	refs = all.refs()
	all.free()
	return refs, matched, nil
}

// rank walks over a loop's connections, slice by slice. A nil key means the user.
func (s *Server) rank(ctx context.Context, loop int, f *connFilter, key func(*engine.Conn) int64, r *ranking) error {
	for from, more := uint32(0), true; more; r.cut() {
		r.makeRoom(sliceSteps)
		err := s.onLoop(ctx, loop, func(l *engine.Loop) { from, more = s.rankSlice(l, from, f, key, r) })
		if err != nil {
			return err
		}
	}
	return nil
}

// rankSlice is a slice of rank, on the loop.
func (s *Server) rankSlice(l *engine.Loop, from uint32, f *connFilter, key func(*engine.Conn) int64, r *ranking) (next uint32, more bool) {
	sl := newSlice(16)
	return l.Walk(from, func(c *engine.Conn) bool {
		if s.wants(f, c) {
			k := keyedConn{ref: c.Ref()}
			if key != nil {
				k.key = key(c)
			} else if h, ok := c.Handler().(gateway.Session); ok {
				k.text = h.Base().User()
			}
			r.add(k)
		}
		return !sl.over()
	})
}

// A sortedPage is some of a sorted list.
type sortedPage struct {
	id            string // of the list among the cursors; empty: it is not there
	refs          []engine.Ref
	offset, limit int
	matched       int
}

// pageOf describes a page of a sorted list; those that are gone are left out.
func (s *Server) pageOf(ctx context.Context, p sortedPage) (any, error) {
	here := p.refs[p.offset:min(p.offset+p.limit, len(p.refs))]
	page := connectionsPage{Connections: make([]connection, 0, len(here)), Matched: new(p.matched)}
	seen, err := s.sights(ctx, here)
	if err != nil {
		return nil, err
	}
	for _, v := range seen {
		if v.ref != 0 {
			page.Connections = append(page.Connections, s.row(v))
		}
	}
	if end := p.offset + len(here); end < len(p.refs) {
		if p.id == "" {
			p.id = s.cursors.keep(p.refs, time.Now())
		}
		page.Next = new("s" + p.id + "." + strconv.Itoa(end))
	}
	return page, nil
}

// sights looks at connections. Those that are gone are zero.
func (s *Server) sights(ctx context.Context, refs []engine.Ref) ([]sight, error) {
	seen := make([]sight, len(refs))
	err := s.eachLoop(func(loop int) error {
		var of []int
		for i, ref := range refs {
			if ref.Loop() == loop {
				of = append(of, i)
			}
		}
		for n := 0; n < len(of); {
			if err := s.onLoop(ctx, loop, func(l *engine.Loop) {
				for sl := newSlice(4); n < len(of) && !sl.over(); n++ {
					if c := l.Conn(refs[of[n]]); c != nil {
						seen[of[n]] = sightOf(c)
					}
				}
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return seen, err
}

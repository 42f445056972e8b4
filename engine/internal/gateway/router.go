package gateway

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// A Handler answers requests on the loop of their connection. It must not block: what takes time
// is deferred (Request.Defer) and answered from another goroutine.
type Handler interface {
	ServeRequest(r *Request)
}

// A StandIn is a Handler for SetWorker that makes way for workers: once one of its id has been
// attached, it serves what StandsIn says, and the rest waits for the worker to come back.
type StandIn interface {
	Handler
	StandsIn(r *Request) bool
}

// HandlerFunc makes a function a Handler.
type HandlerFunc func(r *Request)

// ServeRequest calls f.
func (f HandlerFunc) ServeRequest(r *Request) { f(r) }

// DefaultWorker serves what no route names.
const DefaultWorker = 1

// MaxWorker is the highest worker id; the lowest is 1.
const MaxWorker = 999

// A router finds the handler of a request: an in-process handler of its route, else the worker
// that its route names. It is read on every request and changed rarely, so readers take a
// snapshot.
type router struct {
	mu    sync.Mutex // serialises changes
	table atomic.Pointer[table]
	// ignoreCase is set before the first request.
	ignoreCase bool
}

type table struct {
	routes  []route
	workers []served // by id; of those beyond its end nobody is known
}

// served is who answers for a worker id.
type served struct {
	link    Handler // attached, which comes first
	own     Handler // in this process
	standIn StandIn // own, if it makes way for workers
	seen    bool    // a worker was attached once
}

type route struct {
	exact    string // the whole route
	prefix   string // or its beginning
	commands bool   // or a range of commands
	low      uint8
	high     uint8
	handler  Handler // nil: worker
	worker   int
}

func (t *table) clone() *table {
	if t == nil {
		return new(table)
	}
	return &table{routes: slices.Clone(t.routes), workers: slices.Clone(t.workers)}
}

// nobody serves a worker id that is not in the table.
var nobody served

// served returns who answers for a worker id.
func (t *table) served(id int) *served {
	if t != nil && uint(id) < uint(len(t.workers)) {
		return &t.workers[id]
	}
	return &nobody
}

// serve returns the place of a worker id, which is to be changed.
func (t *table) serve(id int) *served {
	if more := id + 1 - len(t.workers); more > 0 {
		t.workers = append(t.workers, make([]served, more)...)
	}
	return &t.workers[id]
}

// find returns who answers r, nil when nobody does, and the worker id whose links are to, 0 when that
// is a handler in this process.
func (rt *router) find(r *Request) (Handler, int) {
	t := rt.table.Load()
	if t == nil {
		return nil, DefaultWorker
	}
	for i := range t.routes {
		if e := &t.routes[i]; e.matches(r, rt.ignoreCase) {
			if e.handler != nil {
				return e.handler, 0
			}
			return t.worker(e.worker, r)
		}
	}
	return t.worker(DefaultWorker, r)
}

func (t *table) worker(id int, r *Request) (Handler, int) {
	s := t.served(id)
	switch {
	case s.link != nil:
		return s.link, id
	case s.own == nil || s.seen && s.standIn != nil && !s.standIn.StandsIn(r):
		return nil, id
	}
	return s.own, 0
}

// attached returns the handler of a worker id that is attached, nil when there is none.
func (rt *router) attached(id int) Handler {
	return rt.table.Load().served(id).link
}

func (e *route) matches(r *Request, ignoreCase bool) bool {
	switch {
	case r.Route == nil:
		return e.commands && e.low <= r.Cmd && r.Cmd <= e.high
	case e.commands:
		return false
	case ignoreCase:
		rest, ok := cutPrefixFold(r.Route, e.exact+e.prefix) // one of them is empty
		return ok && (e.exact == "" || len(rest) == 0)
	case e.exact != "":
		return string(r.Route) == e.exact
	}
	return len(r.Route) >= len(e.prefix) && string(r.Route[:len(e.prefix)]) == e.prefix
}

// cutPrefixFold returns what follows prefix in s, where letters that differ in case alone are the
// same. Both may take different numbers of bytes for them.
func cutPrefixFold(s []byte, prefix string) (rest []byte, ok bool) {
	for prefix != "" {
		want, n := utf8.DecodeRuneInString(prefix)
		got, m := utf8.DecodeRune(s)
		if m == 0 || !sameLetter(want, got) {
			return nil, false
		}
		if want == utf8.RuneError && prefix[0] != s[0] { // bytes that are not UTF-8 are themselves
			return nil, false
		}
		prefix, s = prefix[n:], s[m:]
	}
	return s, true
}

func sameLetter(a, b rune) bool {
	for r := a; ; {
		if r == b {
			return true
		}
		if r = unicode.SimpleFold(r); r == a {
			return false
		}
	}
}

// parsePattern reads "chat.AddMessage", "chat.*", "*", "cmd:6" or "cmd:6-20".
func parsePattern(pattern string) (route, error) {
	if cmds, ok := strings.CutPrefix(pattern, "cmd:"); ok {
		low, high, isRange := strings.Cut(cmds, "-")
		if !isRange {
			high = low
		}
		l, err1 := strconv.ParseUint(low, 10, 8)
		h, err2 := strconv.ParseUint(high, 10, 8)
		if err1 != nil || err2 != nil || l > h {
			return route{}, fmt.Errorf("route %q: want cmd:N or cmd:N-M with 0 <= N <= M <= 255", pattern)
		}
		return route{commands: true, low: uint8(l), high: uint8(h)}, nil
	}
	prefix, wild := strings.CutSuffix(pattern, "*")
	if pattern == "" || strings.Contains(prefix, "*") {
		return route{}, fmt.Errorf("route %q: want a name, or a beginning and one * at the end", pattern)
	}
	if wild {
		return route{prefix: prefix}, nil
	}
	return route{exact: pattern}, nil
}

// Handle has requests whose route matches pattern answered by h, in this process. Patterns are
// "chat.AddMessage", "chat.*", or "cmd:6-20" for commands; the first that matches, in the order of
// the calls to Handle and Route, decides. It may be called at any time.
func (g *Gateway) Handle(pattern string, h Handler) error {
	e, err := parsePattern(pattern)
	if err != nil {
		return err
	}
	e.handler = h
	g.router.change(func(t *table) { t.routes = append(t.routes, e) })
	return nil
}

// Route has requests that match pattern answered by the workers of an id, 1 to 999. Requests that
// no pattern matches go to worker 1.
func (g *Gateway) Route(pattern string, worker int) error {
	e, err := parseRoute(pattern, worker)
	if err != nil {
		return err
	}
	g.router.change(func(t *table) { t.routes = append(t.routes, e) })
	return nil
}

// SetWorker has h answer in this process for a worker id, 1 to MaxWorker, while no worker of that id is
// attached.
func (g *Gateway) SetWorker(id int, h Handler) {
	g.router.change(func(t *table) {
		s := t.serve(id)
		s.own = h
		s.standIn, _ = h.(StandIn)
	})
}

// Attach has h answer for a worker id in place of what SetWorker set; nil ends that. Requests that
// wait for a worker of that id are passed on to h.
func (g *Gateway) Attach(id int, h Handler) {
	g.router.change(func(t *table) {
		s := t.serve(id)
		s.link, s.seen = h, s.seen || h != nil
	})
	if h != nil {
		g.releaseAll(id)
	}
}

// SetElsewhere has f say who serves requests for a worker id that nobody in this process serves and no
// attached worker does; nil: nobody. It must be called before the first request, and f may be called
// on any goroutine. It is no method, since a Gateway's are for programs, too.
func SetElsewhere(g *Gateway, f func(worker int) Handler) { g.workersElsewhere = f }

// ReleaseWaiting has requests that wait for a worker id passed on, if somebody serves them now.
func ReleaseWaiting(g *Gateway, worker int) { g.releaseAll(worker) }

// reachable returns the handler of a worker id that is attached or elsewhere, nil when there is none.
func (g *Gateway) reachable(worker int) Handler {
	if h := g.router.attached(worker); h != nil || g.workersElsewhere == nil {
		return h
	}
	return g.workersElsewhere(worker)
}

// WorkerHere returns the handler that SetWorker set for an id, if no worker of that id is attached.
func (g *Gateway) WorkerHere(id int) Handler {
	s := g.router.table.Load().served(id)
	if s.link != nil {
		return nil
	}
	return s.own
}

func (rt *router) change(f func(*table)) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	t := rt.table.Load().clone()
	f(t)
	rt.table.Store(t)
}

package gateway

import (
	"fmt"
	"strings"
)

// A WorkerRoute has requests whose route or command matches Pattern answered by the workers of an id,
// 1 to 999. See Gateway.Handle for patterns.
type WorkerRoute struct {
	Pattern string
	Worker  int
}

// SetRoutes replaces all routes to workers, those of Route and of an earlier SetRoutes. They come
// behind the handlers of Handle; the first that matches decides. A route that never could, because
// those before it leave it nothing, is an error, as is one that cannot be read; then the old ones
// stay. Any goroutine may call it, at any time: requests that begin afterwards take the new ones.
func (g *Gateway) SetRoutes(list []WorkerRoute) error {
	routes, err := parseRoutes(list, g.router.ignoreCase)
	if err != nil {
		return err
	}
	g.router.change(func(t *table) {
		kept := make([]route, 0, len(t.routes)+len(routes))
		for _, e := range t.routes {
			if e.handler != nil {
				kept = append(kept, e)
			}
		}
		t.routes = append(kept, routes...)
	})
	return nil
}

// CheckRoutes says what SetRoutes of a Gateway would: ignoreCase is its Config.RouteIgnoreCase.
func CheckRoutes(list []WorkerRoute, ignoreCase bool) error {
	_, err := parseRoutes(list, ignoreCase)
	return err
}

// parseRoutes reads routes to workers, and refuses one that never matches.
func parseRoutes(list []WorkerRoute, ignoreCase bool) ([]route, error) {
	routes := make([]route, 0, len(list))
	for _, r := range list {
		e, err := parseRoute(r.Pattern, r.Worker)
		if err != nil {
			return nil, err
		}
		routes = append(routes, e)
	}
	if i, j := shadowed(routes, ignoreCase); i >= 0 {
		before := fmt.Sprintf("%q before it takes", list[max(j, 0)].Pattern)
		if j < 0 {
			before = "those before it take"
		}
		return nil, fmt.Errorf("route %q never matches: %s all of it", list[i].Pattern, before)
	}
	return routes, nil
}

// parseRoute reads a route to a worker.
func parseRoute(pattern string, worker int) (route, error) {
	e, err := parsePattern(pattern)
	if err != nil {
		return route{}, err
	}
	if worker < 1 || worker > MaxWorker {
		return route{}, fmt.Errorf("route %q: worker id %d, want 1 to %d", pattern, worker, MaxWorker)
	}
	e.worker = worker
	return e, nil
}

// shadowed returns the first route that can never match, and the one before it that takes all of it,
// or -1 when it takes several; i is -1 when there is no such route.
func shadowed(routes []route, ignoreCase bool) (i, j int) {
	var taken [256]bool // commands
	for i := range routes {
		e := &routes[i]
		for j := range i {
			if routes[j].covers(e, ignoreCase) {
				return i, j
			}
		}
		if e.commands {
			free := false
			for cmd := int(e.low); cmd <= int(e.high); cmd++ {
				free = free || !taken[cmd]
				taken[cmd] = true
			}
			if !free {
				return i, -1
			}
		}
	}
	return -1, -1
}

// covers reports whether e matches whatever other does.
func (e *route) covers(other *route, ignoreCase bool) bool {
	if e.commands || other.commands {
		return e.commands && other.commands && e.low <= other.low && other.high <= e.high
	}
	// Of exact and prefix one is empty.
	rest, ok := strings.CutPrefix(other.exact+other.prefix, e.exact+e.prefix)
	if ignoreCase {
		var after []byte
		after, ok = cutPrefixFold([]byte(other.exact+other.prefix), e.exact+e.prefix)
		rest = string(after)
	}
	return ok && (e.exact == "" || other.exact != "" && rest == "")
}

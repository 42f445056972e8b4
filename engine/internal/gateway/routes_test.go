package gateway

import (
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/login"
)

func TestSetRoutes(t *testing.T) {
	for _, tc := range []struct {
		patterns string // separated by blanks
		err      string
	}{
		{"chat.Add chat.* *", ""},
		{"cmd:0-5 cmd:3-6 cmd:6-9 *", ""},
		{"chat.* chat", ""}, // the dot is part of the beginning
		{"a* b* ab", `route "ab" never matches: "a*" before it takes all of it`},
		{"* chat.Add", `route "chat.Add" never matches: "*" before it`},
		{"chat.* chat.room.*", `route "chat.room.*" never matches: "chat.*"`},
		{"chat.Add chat.Add", `route "chat.Add" never matches: "chat.Add"`},
		{"cmd:0-9 cmd:3", `route "cmd:3" never matches: "cmd:0-9"`},
		{"cmd:0-5 cmd:6-9 cmd:3-8", `route "cmd:3-8" never matches: those before it take all of it`},
		{"* cmd:1 * ", `route "*" never matches`},
		{"a**", "one * at the end"},
	} {
		g, err := New(Config{Login: login.Open{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Handle("own", HandlerFunc(func(*Request) {})); err != nil {
			t.Fatal(err)
		}
		if err := g.Route("old", 9); err != nil {
			t.Fatal(err)
		}
		var list []WorkerRoute
		for _, p := range strings.Fields(tc.patterns) {
			list = append(list, WorkerRoute{p, 2})
		}
		err = g.SetRoutes(list)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, want %q", tc.patterns, err, tc.err)
		}
		routes := g.router.table.Load().routes
		want, last := 1+len(list), 2
		if err != nil {
			want, last = 2, 9 // the old ones stay
		}
		if len(routes) != want || routes[0].handler == nil || routes[want-1].worker != last {
			t.Errorf("%s: the table is %+v", tc.patterns, routes)
		}
	}
}

package gateway

import "testing"

func TestRouter(t *testing.T) {
	g := &Gateway{}
	name := func(s string) Handler { return named(s) }
	if err := g.Handle("chat.Add", name("exact")); err != nil {
		t.Fatal(err)
	}
	if err := g.Handle("chat.*", name("chat")); err != nil {
		t.Fatal(err)
	}
	if err := g.Route("cmd:6-20", 2); err != nil {
		t.Fatal(err)
	}
	if err := g.Route("stock.*", 3); err != nil {
		t.Fatal(err)
	}
	g.SetWorker(1, name("one"))
	g.SetWorker(2, name("two"))

	for _, tc := range []struct {
		route string
		cmd   uint8
		want  Handler
	}{
		{"chat.Add", 0, named("exact")},
		{"chat.AddMore", 0, named("chat")},
		{"chat.", 0, named("chat")},
		{"chat", 0, named("one")},
		{"other.X", 0, named("one")},
		{"stock.X", 0, nil}, // its worker is not there: nobody else may answer
		{"", 6, named("two")},
		{"", 20, named("two")},
		{"", 5, named("one")},
		{"", 21, named("one")},
		{"cmd:6-20", 0, named("one")}, // a route that looks like a pattern
		{"empty", 0, named("one")},
		{"empty", 6, named("one")}, // an empty route is no command
	} {
		r := &Request{Route: []byte(tc.route), Cmd: tc.cmd}
		switch tc.route {
		case "":
			r.Route = nil
		case "empty":
			r.Route = []byte{}
		}
		if got := found(g, r); got != tc.want {
			t.Errorf("route %q, cmd %d: %v, want %v", tc.route, tc.cmd, got, tc.want)
		}
	}

	g.Attach(1, name("attached"))
	if got := found(g, &Request{Route: []byte("other.X")}); got != named("attached") {
		t.Errorf("with a worker attached: %v", got)
	}
	for id, want := range map[int]Handler{0: nil, 1: nil, 2: named("two"), 3: nil, MaxWorker: nil} {
		if got := g.WorkerHere(id); got != want {
			t.Errorf("here for %d: %v, want %v", id, got, want)
		}
	}
	if g.WorkerHere(1) != nil {
		t.Error("the in-process worker still serves messages")
	}
	g.Attach(1, nil)
	if got := found(g, &Request{Route: []byte("other.X")}); got != named("one") {
		t.Errorf("after it left: %v", got)
	}
}

// An empty route is matched by * and by nothing else.
func TestEmptyRoute(t *testing.T) {
	for _, ignoreCase := range []bool{false, true} {
		g := &Gateway{}
		g.router.ignoreCase = ignoreCase
		for pattern, id := range map[string]int{"cmd:0-5": 2, "a*": 3, "a": 4} {
			if err := g.Route(pattern, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Route("*", 5); err != nil {
			t.Fatal(err)
		}
		g.SetWorker(5, named("any"))
		if got := found(g, &Request{Route: []byte{}, Cmd: 0}); got != named("any") {
			t.Errorf("ignore case %v: an empty route goes to %v", ignoreCase, got)
		}
	}
}

func TestRouteIgnoreCase(t *testing.T) {
	g := &Gateway{}
	g.router.ignoreCase = true
	for i, pattern := range []string{"Chat.Add", "chat.*", "KELVIN.*", "\xff.*", "straße"} {
		if err := g.Route(pattern, i+1); err != nil {
			t.Fatal(err)
		}
		g.SetWorker(i+1, named(pattern))
	}
	g.SetWorker(1, named("Chat.Add"))
	for route, want := range map[string]named{
		"chat.add": "Chat.Add", "CHAT.ADD": "Chat.Add", "Chat.Add": "Chat.Add",
		"CHAT.Other": "chat.*", "cHaT.": "chat.*", "chat.addmore": "chat.*",
		"kelvin.x": "KELVIN.*", "\u212aelvin.x": "KELVIN.*", // three bytes for a K
		"STRAßE": "straße", "STRASSE": "Chat.Add", // which worker 1 serves, as all that is not routed
		"\xff.x": "\xff.*", "\xfe.x": "Chat.Add", "cha": "Chat.Add",
	} {
		if got := found(g, &Request{Route: []byte(route)}); got != want {
			t.Errorf("route %q: %v, want %v", route, got, want)
		}
	}
	r := &Request{Route: []byte("CHAT.ADD")}
	if n := testing.AllocsPerRun(100, func() { g.router.find(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type named string

func (named) ServeRequest(*Request) {}

func TestPatterns(t *testing.T) {
	g := &Gateway{}
	for _, bad := range []string{"", "a*b", "**", "cmd:", "cmd:x", "cmd:7-6", "cmd:1-256", "cmd:-1"} {
		if err := g.Route(bad, 1); err == nil {
			t.Errorf("pattern %q was accepted", bad)
		}
	}
	for _, id := range []int{0, -1, 1000} {
		if err := g.Route("a.*", id); err == nil {
			t.Errorf("worker id %d was accepted", id)
		}
	}
}

// found returns who answers r.
func found(g *Gateway, r *Request) Handler {
	h, _ := g.router.find(r)
	return h
}

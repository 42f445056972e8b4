package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// As the runtime writes it: a blank before the numbers of a stack, tabs in the comments that name its functions.
const heapPage = `heap profile: 2: 96 [%d: 4096] @ heap/2
1: 48 [%d: 480] @ 0x1 0x2 0x3
#	0x1	runtime.newobject+0x1f	/go/malloc.go:1
#	0x2	github.com/a/engine.(*Loop).wake+0x2	/a/loop.go:9
#	0x3	github.com/a/engine.(*Loop).run+0x5	/a/loop.go:1

0: 0 [%d: 960] @ 0x4 0x5
#	0x4	bufio.NewWriter+0x1	/go/bufio.go:1
#	0x5	net/http.(*conn).serve+0x2	/go/server.go:2

0: 0 [3: 24] @ 0x6
#	0x6	main.main+0x1	/a/main.go:1


# runtime.MemStats
# Mallocs = 77
`

func TestParseHeap(t *testing.T) {
	got, err := parseHeap(strings.NewReader(fmt.Sprintf(heapPage, 33, 10, 20)))
	want := map[string]float64{
		"runtime.newobject < github.com/a/engine.(*Loop).wake < github.com/a/engine.(*Loop).run": 10,
		"bufio.NewWriter < net/http.(*conn).serve":                                               20,
		"main.main": 3,
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	for name, page := range map[string]string{"empty": "", "other": "<html>", "numbers": "heap profile: 1\n1: 2 [x: 3] @ 0x1\n"} {
		if _, err := parseHeap(strings.NewReader(page)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAllocations(t *testing.T) {
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		fmt.Fprintf(w, heapPage, 0, 10*n, 1000*n)
	}))
	defer srv.Close()
	a := &allocations{admin: srv.URL}
	a.phase("warm up")
	a.phase("measure")
	a.phase("drain")
	rec := record{Metrics: map[string]float64{}}
	if err := a.fill(&rec, 100); err != nil {
		t.Fatal(err)
	}
	if rec.Metrics["objects"] != 10 || rec.Metrics["allocs"] != 0.1 || len(rec.Notes) != 1 || rec.Notes[0] != "10 objects in engine.(*Loop).wake < engine.(*Loop).run" {
		t.Errorf("%v %q", rec.Metrics, rec.Notes)
	}
	srv.Close()
	a.phase("drain")
	if err := a.fill(&rec, 100); err == nil {
		t.Error("no profile, and no error")
	}
}

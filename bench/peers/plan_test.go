package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/bench"
)

func someRows() []row {
	return []row{
		{Name: "fanout1k", Peers: []string{sluice, sender}, Points: []point{{Config: bench.Config{Scenario: "fanout", Duration: time.Second}}}},
		{Name: "size", Axis: "bytes", Peers: []string{sluice, mosquitto}, Points: []point{{X: 1}, {X: 2}}},
	}
}

// everybody but mosquitto is there.
func present(r row) (there []string) {
	for _, name := range r.Peers {
		if name != mosquitto {
			there = append(there, name)
		}
	}
	return there
}

func TestPlan(t *testing.T) {
	s := settings{repeat: 5, growthRepeat: 2, duration: time.Second, genLoops: 1}
	r := &results{}
	todo := r.plan(someRows(), s, present, "v1")
	if len(todo) != 5*2+2*2 || len(r.Rows) != 2 {
		t.Fatalf("%d runs of %d rows", len(todo), len(r.Rows))
	}
	if todo[0].peer != sluice || todo[1].peer != sender || todo[2].peer != sender || todo[3].peer != sluice {
		t.Errorf("peers do not take turns to be first: %+v", todo[:4])
	}
	made := func(n int) {
		for _, task := range todo[:n] {
			r.add(record{Row: task.row.Name, X: task.point.X, Peer: task.peer, Repeat: task.repeat})
		}
	}
	made(3)
	s.resume = true
	if left := r.plan(someRows(), s, present, "v1"); len(left) != len(todo)-3 || len(r.Rows) != 2 || len(r.Records) != 3 {
		t.Errorf("resumed: %d runs left, %d rows, %d records", len(left), len(r.Rows), len(r.Records))
	}
	if left := r.plan(someRows()[:1], s, present, "v2"); len(left) != 10 || len(r.Records) != 0 {
		t.Errorf("another version: %d runs left, %d records", len(left), len(r.Records))
	}
	todo = r.plan(someRows(), s, present, "v2")
	made(len(todo))
	longer := someRows()[:1]
	longer[0].Points[0].Config.Duration *= 2
	if left := r.plan(longer, s, present, "v2"); len(left) != 10 || len(r.Records) != 4 {
		t.Errorf("another load: %d runs left, %d records", len(left), len(r.Records))
	}
	s.resume = false
	if left := r.plan(someRows()[1:], s, present, "v2"); len(left) != 4 || len(r.Records) != 0 || len(r.Rows) != 2 {
		t.Errorf("anew: %d runs, %d records, %d rows", len(left), len(r.Records), len(r.Rows))
	}
}

func TestCountdown(t *testing.T) {
	todo := make([]task, 40)
	for i := range todo {
		todo[i] = task{row: &row{}, point: point{Config: bench.Config{Duration: 4 * time.Second, Warmup: time.Second}}}
	}
	var c countdown
	c.begin(todo)
	if c.left() < 160*time.Second {
		t.Errorf("%v for 40 runs of 5 s", c.left())
	}
	before := c.left()
	for _, done := range todo[:20] {
		c.done(done, 2*done.expected())
	}
	if left := c.left(); left < before*9/10 || left > before*11/10 {
		t.Errorf("half is done, at half the speed: %v left of %v", left, before)
	}
}

func TestPublish(t *testing.T) {
	dir := t.TempDir()
	s := settings{into: filepath.Join(dir, "PAGE.md"), plots: "img"}
	const text = "# Mine\n\n<!-- bench-peers:targets -->\nold\n<!-- /bench-peers:targets -->\n\nWords.\n<!-- bench-peers:rows -->\n<!-- /bench-peers:rows -->\nEnd.\n"
	for range 2 { // the second time there is something to replace
		if err := os.WriteFile(s.into, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := sample().publish(s); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile(s.into)
	page := string(b)
	for _, want := range []string{"# Mine\n", "| A < row | CPU: at most", "### A < row", "(img/r.svg)", "Words.", "End.\n", "<!-- /bench-peers:rows -->"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if strings.Contains(page, "old") {
		t.Error("what was there before is still there")
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "img", "r.svg")); err != nil || !wellFormed(svg) {
		t.Errorf("plot: %v", err)
	}
	if err := os.WriteFile(s.into, []byte("# Mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sample().publish(s); err == nil {
		t.Error("a page without markers is no error")
	}
}

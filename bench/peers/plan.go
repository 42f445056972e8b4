package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// A task is one run.
type task struct {
	row    *row
	point  point
	peer   string
	repeat int
}

// plan makes room for the chosen rows in r and says what is to be run. With -resume, rows that were begun in the same way, with the same
// version, are gone on with; else they begin anew. Other rows stay as they are.
func (r *results) plan(chosen []row, s settings, present func(row) []string, version string) (todo []task) {
	for _, c := range chosen {
		have := slices.IndexFunc(r.Rows, func(o row) bool { return o.Name == c.Name })
		if have >= 0 && !(s.resume && r.Rows[have].sameAs(c, version)) {
			r.forget(c.Name)
			have = -1
		}
		repeats := s.repeatsOf(c)
		if have < 0 {
			c.Measured = &measured{Started: time.Now(), Sluice: version}
			r.Rows = append(r.Rows, c)
			have = len(r.Rows) - 1
		}
		r.Rows[have].Measured.Repeats = repeats
		there := present(c)
		for _, pt := range c.Points {
			for repeat := range repeats {
				for i := range there {
					t := task{point: pt, peer: there[(i+repeat)%len(there)], repeat: repeat}
					if !r.has(c.Name, t) {
						t.row = &row{}
						*t.row = r.Rows[have]
						todo = append(todo, t)
					}
				}
			}
		}
	}
	order := map[string]int{}
	for i, o := range rows(s) {
		order[o.Name] = i
	}
	slices.SortStableFunc(r.Rows, func(a, b row) int { return order[a.Name] - order[b.Name] })
	return todo
}

// repeatsOf is how often a row is repeated: growth rows less often.
func (s settings) repeatsOf(r row) int {
	if r.Axis != "" || r.How == inProcess || r.How == objects {
		return min(s.repeat, s.growthRepeat)
	}
	return s.repeat
}

// sameAs reports whether what was measured as r is what c asks for.
func (r row) sameAs(c row, version string) bool {
	if r.Measured == nil || r.Measured.Sluice != version {
		return false
	}
	a, _ := json.Marshal(r.Points)
	b, _ := json.Marshal(c.Points)
	return string(a) == string(b)
}

func (r *results) forget(name string) {
	r.Rows = slices.DeleteFunc(r.Rows, func(o row) bool { return o.Name == name })
	r.Records = slices.DeleteFunc(r.Records, func(rec record) bool { return rec.Row == name })
}

// has reports whether a run was made.
func (r *results) has(name string, t task) bool {
	return slices.ContainsFunc(r.Records, func(rec record) bool {
		return rec.Row == name && rec.X == t.point.X && rec.Peer == t.peer && rec.Repeat == t.repeat
	})
}

// A countdown says how long what is left will take: as the loads are long, corrected by how long the runs so far took.
type countdown struct {
	ahead       time.Duration // of runs to come, by their loads
	spent, load time.Duration // of runs that were made, really and by their loads
}

func (c *countdown) begin(todo []task) {
	for _, t := range todo {
		c.ahead += t.expected()
	}
}

func (c *countdown) done(t task, took time.Duration) {
	c.ahead -= t.expected()
	c.spent += took
	c.load += t.expected()
}

func (c *countdown) left() time.Duration {
	if c.load < time.Minute/2 { // too little to judge by
		return c.ahead
	}
	return time.Duration(float64(c.ahead) * float64(c.spent) / float64(c.load))
}

// expected is how long a run takes, start and end of the server included.
func (t task) expected() time.Duration {
	const fixed, perConnection, perEntry = 700 * time.Millisecond, 200 * time.Microsecond, 8 * time.Microsecond
	c := t.point.Config
	n := time.Duration(c.Connections)
	switch {
	case t.row.How == inProcess:
		return fixed + n*perEntry + c.Duration
	case c.Scenario == "connect":
		return fixed + n*perConnection
	}
	return fixed + n*perConnection + c.Warmup + c.Duration
}

func minutes(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", math.Ceil(d.Minutes()))
}

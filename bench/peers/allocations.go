package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// allocations counts the objects that a gateway allocates while it is measured, from its heap profile. Serving the profile allocates
// too: stacks that do so do not count.
type allocations struct {
	admin         string
	before, after map[string]float64 // objects by stack
	err           error
}

// phase is for a bench.Observer.
func (a *allocations) phase(name string) {
	switch name {
	case "measure":
		a.before = a.read()
	case "drain":
		a.after = a.read()
	}
}

func (a *allocations) read() map[string]float64 {
	client := http.Client{Timeout: 30 * time.Second}
	// The garbage collection publishes what was allocated before it.
	resp, err := client.Get(a.admin + "/debug/pprof/heap?gc=1&debug=1")
	if err == nil {
		defer resp.Body.Close()
		var stacks map[string]float64
		if stacks, err = parseHeap(resp.Body); err == nil {
			return stacks
		}
	}
	a.err = fmt.Errorf("heap profile: %w", err)
	return nil
}

// served are packages in whose stacks the profile itself is served. The samplers of runtime/metrics and the like are not among them.
var served = []string{"net/http.", "runtime/pprof."}

// parseHeap reads the text form of a heap profile: for each stack a line "inuse: bytes [allocated: bytes] @ addresses", and its
// functions in comment lines behind it. It returns the objects allocated by stack, named by its functions.
func parseHeap(r io.Reader) (map[string]float64, error) {
	stacks := map[string]float64{}
	var objects float64
	var functions []string
	end := func() {
		if len(functions) > 0 {
			stacks[strings.Join(functions, " < ")] += objects
		}
		functions = functions[:0]
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "heap profile:") {
		return nil, fmt.Errorf("begins with %.60q", lines.Text())
	}
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "# runtime.MemStats") {
			break
		}
		if frame, ok := strings.CutPrefix(line, "#\t"); ok {
			if f := strings.Fields(frame); len(f) > 1 {
				name, _, _ := strings.Cut(f[1], "+")
				functions = append(functions, name)
			}
			continue
		}
		if _, rest, ok := strings.Cut(line, "["); ok {
			end()
			text, _, _ := strings.Cut(rest, ":")
			n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				return nil, fmt.Errorf("line %.60q: %w", line, err)
			}
			objects = n
		}
	}
	end()
	return stacks, lines.Err()
}

// fill puts into rec what was allocated per unit, and names the stacks behind most of it.
func (a *allocations) fill(rec *record, units uint64) error {
	if a.err != nil {
		return a.err
	}
	if a.before == nil || a.after == nil || units == 0 {
		return fmt.Errorf("nothing was counted")
	}
	grown, total := map[string]float64{}, 0.0
	for stack, n := range a.after {
		ours := !slices.ContainsFunc(served, func(name string) bool { return strings.Contains(stack, name) })
		if d := n - a.before[stack]; d > 0 && ours {
			grown[stack] = d
			total += d
		}
	}
	rec.Metrics["objects"], rec.Metrics["units"], rec.Metrics["allocs"] = total, float64(units), total/float64(units)
	names := slices.SortedFunc(maps.Keys(grown), func(x, y string) int { return int(grown[y] - grown[x]) })
	for _, stack := range names[:min(len(names), 3)] {
		rec.Notes = append(rec.Notes, fmt.Sprintf("%.0f objects in %s", grown[stack], shorten(stack)))
	}
	return nil
}

// shorten leaves the innermost functions outside of the runtime.
func shorten(stack string) string {
	frames := slices.DeleteFunc(strings.Split(stack, " < "), func(f string) bool { return strings.HasPrefix(f, "runtime.") })
	for i, f := range frames {
		frames[i] = f[strings.LastIndexByte(f, '/')+1:]
	}
	return strings.Join(frames[:min(len(frames), 3)], " < ")
}

// Package expect reads and checks conditions on measured numbers: "p99<20ms,lost=0".
//
// # Goroutines
//
// None, and no state.
package expect

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Kind says how the values of a metric are written.
type Kind uint8

// Kinds.
const (
	Count    Kind = iota // 1000, 1.5k, 20M
	Duration             // 20ms, in nanoseconds
	Bytes                // 300MiB, 1.5KB
)

// A Condition compares a metric with a value.
type Condition struct {
	Metric string
	Op     string // < <= > >= = !=
	Value  float64
	Text   string // as written
}

// longest first, so that <= is not taken for <
var operators = []string{"<=", ">=", "!=", "==", "<", ">", "="}

// Parse reads conditions, separated by commas. kind tells which metrics there are.
func Parse(text string, kind func(metric string) (Kind, bool)) ([]Condition, error) {
	var all []Condition
	for part := range strings.SplitSeq(text, ",") {
		c, err := parse(strings.TrimSpace(part), kind)
		if err != nil {
			return nil, fmt.Errorf("expectation %q: %w", part, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func parse(text string, kind func(string) (Kind, bool)) (Condition, error) {
	at := strings.IndexAny(text, "<>=!")
	if at < 0 {
		return Condition{}, fmt.Errorf("want METRIC<VALUE, or another of <= > >= = !=")
	}
	c := Condition{Metric: strings.TrimSpace(text[:at]), Text: text}
	for _, op := range operators {
		if strings.HasPrefix(text[at:], op) {
			c.Op = op
			break
		}
	}
	if c.Op == "" {
		return c, fmt.Errorf("no such comparison")
	}
	k, ok := kind(c.Metric)
	if !ok {
		return c, fmt.Errorf("no metric %q", c.Metric)
	}
	v, err := parseValue(strings.TrimSpace(text[at+len(c.Op):]), k)
	if err != nil {
		return c, err
	}
	if c.Value = v; c.Op == "==" {
		c.Op = "="
	}
	return c, nil
}

var suffixes = map[Kind][]struct {
	name   string
	factor float64
}{
	Count: {{"k", 1e3}, {"M", 1e6}, {"G", 1e9}},
	Bytes: {{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}},
}

func parseValue(s string, k Kind) (float64, error) {
	if k == Duration {
		if s == "0" {
			return 0, nil
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration such as 20ms", s)
		}
		return float64(d), nil
	}
	factor := 1.0
	for _, x := range suffixes[k] {
		if rest, ok := strings.CutSuffix(s, x.name); ok {
			s, factor = strings.TrimSpace(rest), x.factor
			break
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return v * factor, nil
}

// Met reports whether v fulfils c. NaN, what was not measured, fulfils nothing.
func (c Condition) Met(v float64) bool {
	switch c.Op {
	case "<":
		return v < c.Value
	case "<=":
		return v <= c.Value
	case ">":
		return v > c.Value
	case ">=":
		return v >= c.Value
	case "=":
		return v == c.Value
	case "!=":
		return v != c.Value && !math.IsNaN(v)
	}
	return false
}

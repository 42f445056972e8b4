package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A selector is a metric that an expression reads, and how it chooses among its series.
type selector struct {
	metric   string
	matchers []matcher
}

type matcher struct{ label, op, value string }

// An expression is what an expression in PromQL reads. promtool says whether it is one.
type expression struct {
	selectors []selector
	groups    []string // the labels that aggregations and matchings name
	by        []string // of them, those behind a by: the only labels of the result
	joins     bool     // an aggregation is in it
}

// words of PromQL that are followed by labels in parentheses.
var labelWords = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}

// operators are words that are neither functions nor metrics.
var operators = []string{"and", "or", "unless", "offset", "bool", "inf", "nan"}

var aggregations = []string{"sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile", "stddev", "group"}

// parseExpression reads text, in which Grafana's variables are replaced.
func parseExpression(text string) (e expression, err error) {
	tokens, err := tokenize(text)
	if err != nil {
		return e, fmt.Errorf("%s: %w", text, err)
	}
	at := func(i int) string {
		if i < len(tokens) {
			return tokens[i]
		}
		return ""
	}
	for i := 0; i < len(tokens); i++ {
		word := tokens[i]
		switch {
		case !isWord(word[0]):
		case slices.Contains(labelWords, word):
			if at(i+1) != "(" {
				continue // group_left alone
			}
			for i += 2; at(i) != ")"; i++ {
				switch {
				case at(i) == "":
					return e, fmt.Errorf("%s: labels of %s have no end", text, word)
				case at(i) == ",":
				default:
					e.groups = append(e.groups, at(i))
					if word == "by" {
						e.by = append(e.by, at(i))
					}
				}
			}
		case slices.Contains(operators, word):
		case slices.Contains(aggregations, word):
			e.joins = true
		case at(i+1) == "(": // a function
		default:
			s := selector{metric: word}
			if at(i+1) == "{" {
				for i += 2; at(i) != "}"; {
					if at(i) == "," {
						i++
						continue
					}
					if at(i+3) == "" {
						return e, fmt.Errorf("%s: matchers of %s have no end", text, word)
					}
					s.matchers = append(s.matchers, matcher{at(i), at(i + 1), strings.Trim(at(i+2), `"'`)})
					i += 3
				}
			}
			e.selectors = append(e.selectors, s)
		}
	}
	return e, nil
}

func isWord(b byte) bool {
	return b == '_' || b == ':' || 'a' <= b|0x20 && b|0x20 <= 'z'
}

// tokenize cuts text into words, numbers and durations, strings, and signs. Ranges go.
func tokenize(text string) (tokens []string, err error) {
	for i := 0; i < len(text); {
		begin := i
		switch b := text[i]; {
		case strings.IndexByte(" \t\n", b) >= 0:
			i++
			continue
		case isWord(b):
			for i < len(text) && (isWord(text[i]) || '0' <= text[i] && text[i] <= '9') {
				i++
			}
		case '0' <= b && b <= '9':
			for i < len(text) && (isWord(text[i]) || '0' <= text[i] && text[i] <= '9' || text[i] == '.') {
				i++
			}
		case b == '"' || b == '\'':
			end := strings.IndexByte(text[i+1:], b)
			if end < 0 {
				return nil, fmt.Errorf("a string has no end")
			}
			i += end + 2
		case b == '[':
			end := strings.IndexByte(text[i:], ']')
			if end < 0 {
				return nil, fmt.Errorf("a range has no end")
			}
			i += end + 1
			continue
		case strings.HasPrefix(text[i:], "=~"), strings.HasPrefix(text[i:], "!~"), strings.HasPrefix(text[i:], "!="),
			strings.HasPrefix(text[i:], "=="), strings.HasPrefix(text[i:], ">="), strings.HasPrefix(text[i:], "<="):
			i += 2
		case strings.IndexByte("(){},+-*/%^=<>", b) >= 0:
			i++
		default:
			return nil, fmt.Errorf("%q", b)
		}
		tokens = append(tokens, text[begin:i])
	}
	return tokens, nil
}

func TestParseExpression(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want string
	}{
		{`up == 0`, `up`},
		{`up{job="sluice"} == 0`, `up job="sluice"`},
		{`sum by (a, b) (rate(x_total{c!~"d|e", f=""}[5m])) > 0`, `x_total c!~"d|e" f="" [a b]`},
		{`sum(x) by (le)`, `x [le]`},
		{`a < 0.5 * (a offset 5m) and b unless on (c) d:e:f5m{}`, `a a b d:e:f5m [c]`},
		{`histogram_quantile(0.99, sum without (loop) (rate(l_bucket[$__rate_interval])))`, `l_bucket [loop]`},
		{`a > ignoring (x) (0.05 * b)`, `a b [x]`},
		{`a * on (i) group_left c`, `a c [i]`},
		{`time() - a{b="}"} < 14 * 86400`, `a b="}"`},
	} {
		e, err := parseExpression(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for _, s := range e.selectors {
			got = append(got, s.metric)
			for _, m := range s.matchers {
				got = append(got, fmt.Sprintf("%s%s%q", m.label, m.op, m.value))
			}
		}
		if len(e.groups) > 0 {
			got = append(got, fmt.Sprint(e.groups))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %s, want %s", tt.text, text, tt.want)
		}
	}
	for _, bad := range []string{`a{b="c`, `sum by (a`, `a{b=`, `rate(a[5m)`, `a # b`} {
		if e, err := parseExpression(bad); err == nil {
			t.Errorf("%s: %+v", bad, e)
		}
	}
}

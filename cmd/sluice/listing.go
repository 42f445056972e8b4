package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// jsonFlag is of verbs that read.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON as the gateway gives it: of a list an object a line."`
}

// limitFlag is of verbs that list.
type limitFlag struct {
	Limit int `short:"n" help:"How many at most, 0 for all." default:"100" placeholder:"N"`
}

func (f *limitFlag) check() error {
	if f.Limit < 0 {
		return usageError{fmt.Errorf("--limit %d: want a number from 0 on", f.Limit)}
	}
	return nil
}

// A listing is a list of the API and how its rows of type T are shown.
type listing[T any] struct {
	path    string
	query   url.Values
	key     string // of the rows in the answer, and what they are called
	none    string // what it means that there are none; may be empty
	columns []string
	row     func(v *T) []string
}

// print writes rows, at most limit of them. Standard error hears of it when there are more, or none.
func (l *listing[T]) print(s *streams, c *adminapi.Client, limit int, asJSON bool) error {
	var t table.Table
	t.Columns(l.columns...)
	n := 0
	more, err := c.List(context.Background(), l.path, l.query, l.key, limit, func(row json.RawMessage) error {
		n++
		if asJSON {
			return printJSON(s.stdout, row)
		}
		var v T
		if err := json.Unmarshal(row, &v); err != nil {
			return fmt.Errorf("the gateway's answer is not what is wanted: %w", err)
		}
		t.Row(l.row(&v)...)
		return nil
	})
	if err != nil {
		return err
	}
	if t.Len() > 0 {
		if err := t.Write(s.stdout); err != nil {
			return err
		}
	}
	switch {
	case more:
		fmt.Fprintf(s.stderr, "sluice: %d are shown, there are more %s: --limit 0 shows all\n", n, l.key)
	case n == 0 && !asJSON:
		fmt.Fprintf(s.stderr, "sluice: no %s%s\n", l.key, l.none)
	}
	return nil
}

// printJSON writes an answer in one line.
func printJSON(w io.Writer, v json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Compact(&b, v); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// decodeAnswer reads an answer of the gateway.
func decodeAnswer(body json.RawMessage, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("the gateway's answer is not what is wanted: %w", err)
	}
	return nil
}

// set adds a parameter that is not empty.
func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

// pathText is a name as one part of a path. Dots go escaped: a name of dots alone would be a step.
func pathText(name string) string {
	return strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
}

// age is how long ago something was, by this machine's clock.
func age(since time.Time) string {
	if since.IsZero() {
		return ""
	}
	return table.Duration(max(time.Since(since), 0))
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

// marks joins the names of what is true.
func marks(pairs ...any) string {
	var list []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1].(bool) {
			list = append(list, pairs[i].(string))
		}
	}
	return strings.Join(list, ",")
}

// joinSort has flags take values that begin with a hyphen: --sort -lagBytes is --sort=-lagBytes, and
// numbers, of which no short flag has the name: --limit -1 is --limit=-1, which says what is wrong with
// it.
func joinSort(args []string) []string {
	for i := 0; i+1 < len(args); i++ {
		switch v := args[i+1]; {
		case args[i] == "--":
			return args
		case len(v) > 1 && v[0] == '-' && '0' <= v[1] && v[1] <= '9' && isFlag(args[i]):
			sign := "="
			if args[i][1] != '-' {
				sign = ""
			}
			joined := append(args[:i:i], args[i]+sign+v)
			args = append(joined, args[i+2:]...)
		case args[i] == "--sort" && len(v) > 2 && v[0] == '-' && v[1] != '-':
			joined := append(args[:i:i], "--sort="+v)
			args = append(joined, args[i+2:]...)
		}
	}
	return args
}

// isFlag reports whether an argument is a flag that has no value yet: --limit or -n.
func isFlag(arg string) bool {
	if rest, ok := strings.CutPrefix(arg, "--"); ok {
		return rest != "" && !strings.Contains(rest, "=")
	}
	return len(arg) == 2 && arg[0] == '-' && (arg[1] < '0' || arg[1] > '9')
}

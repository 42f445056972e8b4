package table

import (
	"bufio"
	"io"
	"strings"
)

// A Table is rows under a head. The zero Table is ready.
type Table struct {
	head  []string
	right []bool
	rows  [][]string
}

// Columns sets the head. Columns whose names begin with > are for numbers, and aligned at the right.
func (t *Table) Columns(names ...string) {
	t.head, t.right = make([]string, len(names)), make([]bool, len(names))
	for i, name := range names {
		t.head[i], t.right[i] = strings.CutPrefix(name, ">")
	}
}

// Row adds a row. A cell that is empty shows as -.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.head))
	for i := range row {
		row[i] = "-"
		if i < len(cells) && cells[i] != "" {
			row[i] = Text(cells[i])
		}
	}
	t.rows = append(t.rows, row)
}

// Len returns how many rows there are.
func (t *Table) Len() int { return len(t.rows) }

// Write writes the head and all rows, two blanks between columns and none at the end of a line.
func (t *Table) Write(out io.Writer) error {
	widths := make([]int, len(t.head))
	for i, name := range t.head {
		widths[i] = Width(name)
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], Width(cell))
		}
	}
	w := bufio.NewWriter(out)
	t.line(w, t.head, widths)
	for _, row := range t.rows {
		t.line(w, row, widths)
	}
	return w.Flush()
}

func (t *Table) line(w *bufio.Writer, cells []string, widths []int) {
	owed := 0 // blanks that are written only if something follows
	for i, cell := range cells {
		pad := widths[i] - Width(cell)
		if t.right[i] {
			owed += pad
			pad = 0
		}
		for ; owed > 0; owed-- {
			_ = w.WriteByte(' ')
		}
		_, _ = w.WriteString(cell)
		owed = pad + 2
	}
	_ = w.WriteByte('\n')
}

// A List is names and values, a line each. The zero List is ready.
type List struct{ t Table }

// Add adds a line. A value that is empty is left out.
func (l *List) Add(name, value string) {
	if l.t.head == nil {
		l.t.Columns("", "")
	}
	if value != "" {
		l.t.Row(name, value)
	}
}

// Write writes all lines.
func (l *List) Write(out io.Writer) error {
	width0 := 0
	for _, row := range l.t.rows {
		width0 = max(width0, Width(row[0]))
	}
	w := bufio.NewWriter(out)
	for _, row := range l.t.rows {
		l.t.line(w, row, []int{width0, 0})
	}
	return w.Flush()
}

// Len returns how many lines there are.
func (l *List) Len() int { return l.t.Len() }

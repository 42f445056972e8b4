package doctor

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// columns is how wide a Report is written.
const columns = 100

// labels are what a finding begins with. Those that want something done are seen from afar.
var labels = [...]string{"ok", "note", "WARNING", "ERROR"}

const (
	labelWidth = 9  // of the longest and two blanks
	checkWidth = 16 // likewise
)

// Text writes r for people: each finding with why it matters and the lines that fix it; what is in
// order only if all is asked for, a line each.
func (r *Report) Text(out io.Writer, all bool) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "machine  %s\n", table.Text(r.System))
	fmt.Fprintf(w, "gateway  %s\n", table.Text(orNone(r.Gateway)))
	fmt.Fprintf(w, "flags    %s\n", table.Text(orNone(r.Flags)))
	fmt.Fprintf(w, "for      %s (%s)\n", plural(r.Connections, "connection"), r.ForWhom)
	area, last, hidden, sysctls := "", OK, 0, false
	for _, f := range r.Findings {
		if f.Severity == OK && !all {
			hidden++
			continue
		}
		if f.Area != area || f.Severity != OK || last != OK {
			fmt.Fprintln(w)
		}
		area, last = f.Area, f.Severity
		if f.Severity == OK {
			wrap(w, fmt.Sprintf("%-*s%-*s", labelWidth, labels[f.Severity], checkWidth, f.Check), f.Found, labelWidth+checkWidth)
			continue
		}
		wrap(w, fmt.Sprintf("%-*s", labelWidth, labels[f.Severity]), f.Check+": "+f.Found, labelWidth)
		if f.Why != "" {
			wrap(w, fmt.Sprintf("%*swhy: ", labelWidth, ""), f.Why, labelWidth+5)
		}
		for _, line := range f.Fix {
			fmt.Fprintf(w, "%*sfix: %s\n", labelWidth, "", table.Text(line))
			sysctls = sysctls || strings.HasPrefix(line, "sysctl ")
		}
	}
	fmt.Fprintf(w, "\n%s\n", r.summary(hidden))
	if sysctls {
		fmt.Fprintln(w, "What sysctl -w sets ends with the next start; to keep it, NAME=VALUE in /etc/sysctl.d/sluice.conf.")
	}
	return w.Flush()
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// summary counts what was found; hidden says how many were left out because they are in order.
func (r *Report) summary(hidden int) string {
	ok := len(r.Findings) - r.Errors - r.Warnings - r.Notes
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{r.Errors, "error"}, {r.Warnings, "warning"}, {r.Notes, "note"}} {
		if p.n > 0 {
			parts = append(parts, plural(p.n, p.what))
		}
	}
	text := strings.Join(parts, ", ")
	if text == "" {
		text = "nothing to mend"
	}
	text += fmt.Sprintf("; %d in order", ok)
	if hidden > 0 {
		text += ", which --all shows"
	}
	return text
}

// wrap writes a text behind its head, and what does not fit below it, indented.
func wrap(w *bufio.Writer, head, text string, indent int) {
	fmt.Fprint(w, head)
	for room := columns - indent; ; {
		line := text
		if len([]rune(text)) > room {
			line = text[:cut(text, room)]
		}
		fmt.Fprintln(w, table.Text(line))
		if text = strings.TrimPrefix(text[len(line):], " "); text == "" {
			return
		}
		fmt.Fprintf(w, "%*s", indent, "")
	}
}

// cut returns where to break a text that is longer than room: at the last blank that fits.
func cut(text string, room int) int {
	end, n := 0, 0
	for i, c := range text {
		if n > room {
			break
		}
		if c == ' ' {
			end = i
		}
		n++
	}
	if end == 0 { // one long word
		return len(text)
	}
	return end
}

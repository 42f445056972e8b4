package main

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// The styles of text, as a terminal's parameters. bubbletea leaves out colours where a terminal has
// none, or NO_COLOR is set.
const (
	plainText = ""
	bold      = "1"
	dim       = "2"
	reversed  = "7"
	good      = "32"
	warning   = "33"
	bad       = "31"
	accent    = "36"
)

// A topLine is a line of the screen, which ends where the screen does.
type topLine struct {
	b     strings.Builder
	width int
	used  int
	under string // the style that all of it has
}

func (l *topLine) add(style, text string) *topLine {
	text = table.Cut(text, l.width-l.used)
	if text == "" {
		return l
	}
	l.used += table.Width(text)
	codes := strings.Trim(l.under+";"+style, ";")
	if codes == "" {
		l.b.WriteString(text)
		return l
	}
	l.b.WriteString("\x1b[" + codes + "m" + text + "\x1b[m")
	return l
}

// to fills with blanks up to a column.
func (l *topLine) to(column int) *topLine {
	if n := min(column, l.width) - l.used; n > 0 {
		l.add(plainText, strings.Repeat(" ", n))
	}
	return l
}

func (m *topModel) line() *topLine { return &topLine{width: m.width} }

// panelFrom is from which height on the counters have a line each above the list.
const panelFrom = 16

// panel is how many lines the counters take.
func (m *topModel) panel() int {
	if m.height < panelFrom {
		return 0
	}
	return 7
}

// room is how many rows of a list there is room for: the head, the counters, the names of the lists, the
// head of the list and the last line take the others.
func (m *topModel) room() int { return max(m.height-m.panel()-4, 1) }

// View implements tea.Model.
func (m *topModel) View() tea.View {
	if m.over {
		v := tea.NewView("")
		v.AltScreen = true
		return v
	}
	lines := make([]*topLine, 0, m.height)
	lines = append(lines, m.head())
	if !m.help { // which wants the room
		lines = append(lines, m.counters()...)
	}
	lines = append(lines, m.tabs())
	switch {
	case m.help:
		lines = append(lines, m.keys()...)
	case m.detail != nil:
		for _, text := range m.lines[min(m.down, len(m.lines)):] {
			lines = append(lines, m.line().add(plainText, text))
		}
	default:
		lines = append(lines, m.list()...)
	}
	lines = lines[:min(len(lines), max(m.height-1, 0))]
	for len(lines) < m.height-1 {
		lines = append(lines, m.line())
	}
	if m.height > 1 {
		lines = append(lines, m.foot())
	}
	text := make([]string, len(lines))
	for i, l := range lines {
		text[i] = l.b.String()
	}
	v := tea.NewView(strings.Join(text, "\n"))
	v.AltScreen = true
	v.WindowTitle = "sluice top"
	return v
}

func (m *topModel) head() *topLine {
	l := m.line()
	l.under = reversed
	l.add(bold, " sluice "+table.Text(m.now.Version)+" ").add(plainText, " up "+table.Seconds(m.now.UptimeSeconds)+"  ")
	switch {
	case m.err != nil:
		l.add(bad, "NO ANSWER")
	case len(m.now.NotReady) > 0:
		l.add(warning, "NOT READY: "+table.Text(strings.Join(m.now.NotReady, "; ")))
	default:
		l.add(plainText, "ready")
	}
	right := fmt.Sprintf("%s  every %v ", table.Text(m.address), m.interval)
	if m.paused {
		right = "PAUSED "
	}
	if n := m.width - table.Width(right); n > l.used+1 {
		l.to(n).add(plainText, right)
	}
	return l.to(m.width)
}

// bars are the parts of a line that shows how something went.
var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws the last values in as many columns.
func spark(history []topSample, of func(*topSample) float64, columns int) string {
	history = history[max(len(history)-columns, 0):]
	most := 0.0
	for i := range history {
		most = max(most, of(&history[i]))
	}
	var b strings.Builder
	for i := range history {
		n := 0
		if v := of(&history[i]); most > 0 {
			n = min(int(v/most*float64(len(bars))), len(bars)-1)
		}
		b.WriteRune(bars[n])
	}
	return b.String()
}

// counters are the lines of the panel, with what they were in the last minutes at their right.
func (m *topModel) counters() []*topLine {
	if m.panel() == 0 {
		return nil
	}
	s, r := &m.now, &m.rates
	const label = 13
	columns := min(m.width-70, 60)
	add := func(name string, of func(*topSample) float64, parts ...string) *topLine {
		l := m.line().add(dim, name).to(label)
		for i, part := range parts {
			switch {
			case i == 0:
				l.add(bold, part)
			case l.used+2+table.Width(part) <= l.width: // half a number is none
				l.add(plainText, "  "+part)
			}
		}
		if of != nil && columns >= 6 {
			text := spark(r.history, of, columns)
			if at := m.width - 1 - table.Width(text); at > l.used+1 {
				l.to(at).add(accent, text)
			}
		}
		return l
	}
	latency := []string{"no answers yet"}
	switch {
	case s.Latency.Count > 0:
		latency = []string{"p99 ≤" + table.Seconds(s.Latency.P99), "p50 ≤" + table.Seconds(s.Latency.P50) + " since the start"}
	case s.Requests.All > 0 && s.Requests.TimedOut == 0 && (s.Workers == nil || s.Workers.Registered == 0):
		latency = []string{"given here, not timed"} // as with --dev
	}
	workers := "none served"
	if s.Workers != nil {
		workers = fmt.Sprintf("workers %d", s.Workers.Registered)
	}
	latency = append(latency, r.rate(func(s *topStats) uint64 { return s.Requests.All })+" asked", workers)
	var lags []string
	for _, l := range s.Loops {
		lags = append(lags, table.Seconds(l.LagSeconds))
	}
	lately := m.line().add(dim, "lately").to(label)
	news := []string{
		byName("closed: ", s.Connections.Closed, r.base.Connections.Closed),
		byName("refused: ", s.Connections.Refused, r.base.Connections.Refused),
		byName("dropped: ", s.Messages.Drops, r.base.Messages.Drops),
	}
	if news = slices.DeleteFunc(news, func(s string) bool { return s == "" }); len(news) == 0 {
		lately.add(dim, "nothing closed, refused or dropped")
	} else {
		lately.add(warning, strings.Join(news, "  "))
	}
	return []*topLine{
		add("connections", func(s *topSample) float64 { return s.connections }, fmt.Sprintf("%d of %d", s.Connections.Now, s.Connections.Limit),
			"+"+r.rate(func(s *topStats) uint64 { return s.Connections.Accepted }), fmt.Sprintf("users %d", s.Users)),
		add("delivered", func(s *topSample) float64 { return s.deliveries }, r.rate(func(s *topStats) uint64 { return s.Messages.Deliveries }),
			r.rate(func(s *topStats) uint64 { return s.Messages.Publishes })+" published", fmt.Sprintf("topics %d", s.Messages.Topics)),
		add("sent", func(s *topSample) float64 { return s.sent }, r.size(func(s *topStats) uint64 { return s.Messages.SentBytes }),
			r.size(func(s *topStats) uint64 { return s.Messages.ReceivedBytes })+" received", "unsent "+table.Bytes(s.Messages.BacklogBytes)),
		add("answers", func(s *topSample) float64 { return s.requests }, latency...),
		add("memory", func(s *topSample) float64 { return s.memory }, table.Bytes(s.Memory.System),
			"heap "+table.Bytes(s.Memory.Heap), fmt.Sprintf("clients %s of %s", table.Bytes(s.Memory.Clients), table.Bytes(s.Memory.Limit))),
		add("loops", func(s *topSample) float64 { return s.lag }, "lag "+strings.Join(lags, " ")),
		lately,
	}
}

// tabs names the lists, and says how the one that is shown is sorted and filtered.
func (m *topModel) tabs() *topLine {
	names := func(all bool) *topLine {
		l := m.line()
		for i, v := range topViews {
			switch {
			case i == m.view:
				l.add(reversed+";"+bold, " "+v.name+" ").add(plainText, " ")
			case all:
				l.add(dim, " "+v.name+" ").add(plainText, " ")
			}
		}
		return l
	}
	st, v := m.state(), &topViews[m.view]
	var parts []string
	if m.view == 0 && m.topic != "" {
		parts = append(parts, "in "+table.Text(m.topic))
	}
	if st.filter != "" || m.typing {
		text := "/" + table.Text(st.filter)
		if m.typing {
			text += "_"
		}
		parts = append(parts, text)
	}
	if len(v.sorts) > 0 {
		arrow := "↓"
		if st.up {
			arrow = "↑"
		}
		parts = append(parts, v.sorts[st.sort]+arrow)
	}
	parts = append(parts, plural(m.total, v.what))
	text := strings.Join(parts, "  ")
	at, l := m.width-1-table.Width(text), names(true)
	if at <= l.used {
		l = names(false) // the others are a key away
	}
	if at <= l.used {
		return l.add(accent, " "+text)
	}
	return l.to(at).add(accent, text)
}

// chosen returns which columns have room: by their rank, and the one that is sorted by before all.
func (m *topModel) chosen() []int {
	columns := topViews[m.view].columns
	sort := ""
	if s := topViews[m.view].sorts; len(s) > 0 {
		sort = s[m.state().sort]
	}
	order := make([]int, len(columns))
	for i := range order {
		order[i] = i
	}
	rank := func(i int) int {
		if sort != "" && columns[i].sort == sort {
			return 0
		}
		return columns[i].rank
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(a) - rank(b) })
	left := m.width
	var list []int
	for _, i := range order {
		if need := columns[i].width + 2; need <= left+2 {
			left -= need
			list = append(list, i)
		}
	}
	slices.Sort(list)
	return list
}

func (m *topModel) list() []*topLine {
	v, st := &topViews[m.view], m.state()
	if len(m.rows) == 0 {
		text := v.empty
		if st.filter != "" || m.view == 0 && m.topic != "" {
			text = "Nothing matches. Esc shows all."
		}
		if m.asking && m.total == 0 && m.now.Version == "" {
			text = ""
		}
		lines := []*topLine{m.line()}
		for _, part := range folded(text, m.width-4) {
			lines = append(lines, m.line().add(dim, "  "+part))
		}
		return lines
	}
	list := m.chosen()
	shown := m.rows[st.offset:min(st.offset+m.room(), len(m.rows))]
	widths := make(map[int]int)
	for _, i := range list {
		widths[i] = max(table.Width(v.columns[i].title), min(v.columns[i].width, 12))
		for _, row := range shown {
			widths[i] = min(max(widths[i], table.Width(row.cells[i])), max(v.columns[i].width*2, 24))
		}
	}
	over := -2 - m.width
	for _, i := range list {
		over += widths[i] + 2
	}
	for _, i := range list { // what is longer than usual makes room for all columns
		n := max(min(over, widths[i]-max(v.columns[i].width, table.Width(v.columns[i].title))), 0)
		widths[i] -= n
		over -= n
	}
	draw := func(l *topLine, style func(i int) string, cell func(i int) string) *topLine {
		at := 0
		for _, i := range list {
			text := table.Cut(cell(i), widths[i])
			if v.columns[i].right {
				l.to(at + widths[i] - table.Width(text))
			}
			l.add(style(i), text).to(at + widths[i])
			if at += widths[i] + 2; at < l.width {
				l.to(at)
			}
		}
		return l
	}
	lines := []*topLine{draw(m.line(), func(i int) string {
		if s := v.columns[i].sort; s != "" && s == v.sorts[st.sort] {
			return bold
		}
		return dim
	}, func(i int) string { return v.columns[i].title })}
	for n, row := range shown {
		l := m.line()
		if st.offset+n == st.at {
			l.under = reversed
		}
		draw(l, func(i int) string { return m.cellStyle(v.columns[i].title, row.cells[i]) }, func(i int) string {
			if row.cells[i] == "" {
				return "-"
			}
			return row.cells[i]
		})
		if st.offset+n == st.at {
			l.to(m.width)
		}
		lines = append(lines, l)
	}
	return lines
}

// cellStyle marks what an operator looks for.
func (m *topModel) cellStyle(column, text string) string {
	switch {
	case column == "NOTES" && (strings.Contains(text, "stalled") || strings.Contains(text, "stands-still")):
		return bad
	case column == "NOTES" && (strings.Contains(text, "congested") || strings.Contains(text, "unregistered")):
		return warning
	case (column == "LAG" || column == "UNSENT") && text != "0B":
		return warning
	case column == "STATE" && text == "online":
		return good
	case text == "", text == "0B", text == "0":
		return dim
	}
	return plainText
}

func (m *topModel) foot() *topLine {
	l := m.line()
	switch {
	case m.kicking != nil:
		return l.add(bad, "Kick "+m.kicking.name+"? ").add(bold, "y").add(plainText, " ends the connection and its session; any other key does not")
	case m.typing:
		return l.add(plainText, "Type what to look for. ").add(bold, "Enter").add(dim, " keep  ").add(bold, "Esc").add(dim, " as before")
	case m.err != nil:
		return l.add(bad, table.Text(m.err.Error())+"; asked again")
	case m.notice != "":
		return l.add(warning, m.notice)
	}
	keys := []string{"tab", "lists"}
	if len(topViews[m.view].sorts) > 0 {
		keys = append(keys, "s", "sort")
	}
	keys = append(keys, "/", "filter")
	switch {
	case m.detail != nil:
		keys = []string{"esc", "back", "x", "kick"}
	case m.view == 0:
		keys = append(keys, "enter", "more", "x", "kick")
	case m.view == 1:
		keys = append(keys, "enter", "subscribers")
	}
	keys = append(keys, "p", "pause", "?", "help", "q", "quit")
	// A pair is a key, a blank, what it does, and two blanks but for the last. The help has them all.
	for n := len(keys); n > 4 && table.Width(strings.Join(keys, ""))+3*n/2-2 > m.width; n -= 2 {
		keys = slices.Delete(keys, n-6, n-4)
	}
	for i := 0; i < len(keys); i += 2 {
		l.add(bold, keys[i]).add(dim, " "+keys[i+1]+"  ")
	}
	return l
}

func (m *topModel) keys() []*topLine {
	column := 35
	if m.width < 80 {
		column = 18
	}
	var lines []*topLine
	for _, pair := range [][2]string{
		{"tab, left, right, 1-4", "connections, topics, workers, ended connections"},
		{"up, down, pgup, pgdn, home, end", "choose a row"},
		{"enter", "a connection with all that is known of it; a topic's subscribers"},
		{"s, S", "sort by the next column, or the one before"},
		{"r", "the other way round"},
		{"/", "only what has a text in it; esc: all again"},
		{"x", "kick the connection, after a question, as the role full"},
		{"p, space", "stand still, go on"},
		{"ctrl+z", "to the shell; fg comes back"},
		{"q, ctrl+c", "quit"},
	} {
		l := m.line().add(bold, "  "+pair[0])
		for _, part := range folded(pair[1], m.width-column) {
			if l.used > column-2 {
				lines = append(lines, l)
				l = m.line()
			}
			l.to(column).add(plainText, part)
		}
		lines = append(lines, l)
	}
	return append(lines, m.line(), m.line().add(dim, "  any key goes on"))
}

// folded breaks a text between words into lines of at most so many columns. A longer word has a line
// of its own.
func folded(text string, columns int) (lines []string) {
	for word := range strings.FieldsSeq(text) {
		if n := len(lines) - 1; n >= 0 && table.Width(lines[n])+1+table.Width(word) <= columns {
			lines[n] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

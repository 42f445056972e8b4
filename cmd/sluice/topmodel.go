package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// topModel is what top shows on a terminal, and what the keys have made of it. bubbletea calls its
// methods one at a time; what asks the gateway runs beside them and comes back as a topAnswer.
type topModel struct {
	source   topSource
	address  string
	interval time.Duration

	width, height int
	view          int // of topViews
	states        []topState
	paused        bool
	help          bool
	typing        bool    // the filter
	draft         string  // what it was before
	topic         string  // whose subscribers are listed; empty: all connections
	detail        *topRow // the connection that is shown alone; nil: none
	down          int     // lines of it that are above the screen
	kicking       *topRow
	notice        string // what came of the last action

	asking, again bool
	now           topStats
	rates         topRates
	rows          []topRow
	total         int      // rows that there are, shown or not
	lines         []string // of detail
	err           error    // of the last question
	fatal         error    // that has ended top
	over          bool     // nothing more is shown
}

// topState is what each view keeps for itself.
type topState struct {
	sort     int // of its sorts
	up       bool
	filter   string
	selected string // the key of the row
	at       int    // its place
	offset   int    // the first row that is shown
}

// topSource answers top's questions.
type topSource interface {
	ask(topQuestion) (topAnswer, error)
	kick(connection string) error
}

// A topQuestion is what is wanted for the screen.
type topQuestion struct {
	view          int
	sort          string
	filter, topic string
	detail        string
	rows          int
}

// A topAnswer is what the gateway says to it.
type topAnswer struct {
	question topQuestion
	stats    topStats
	rows     []topRow
	total    int
	lines    []string
	err      error
}

// A topRow is a line of a list. object is what an action on it needs.
type topRow struct {
	key   string
	cells []string
	name  string // for questions
}

type (
	topTick   struct{}
	topKicked struct {
		name string
		err  error
	}
)

// interactive shows the gateway until the operator has seen enough.
func (cmd *topCmd) interactive(ctx context.Context, c *adminapi.Client, out *os.File) error {
	m := newTopModel(&topClient{ctx: ctx, client: c}, cmd.Interval, cmd.Sort)
	m.address = cmd.Admin
	first, err := m.source.ask(m.question())
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	m.take(first)
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithOutput(out), tea.WithoutSignalHandler()).Run()
	switch {
	case m.fatal != nil:
		return m.fatal
	case ctx.Err() != nil, errors.Is(err, tea.ErrInterrupted):
		return nil
	}
	return err
}

func newTopModel(s topSource, interval time.Duration, sort string) *topModel {
	m := &topModel{source: s, interval: interval, width: 80, height: 24, states: make([]topState, len(topViews))}
	field, down := strings.CutPrefix(sort, "-")
	st := &m.states[0]
	st.sort, st.up = max(slices.Index(topViews[0].sorts, field), 0), !down
	return m
}

// Init implements tea.Model.
func (m *topModel) Init() tea.Cmd { return m.tick() }

func (m *topModel) tick() tea.Cmd {
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return topTick{} })
}

func (m *topModel) state() *topState { return &m.states[m.view] }

func (m *topModel) question() topQuestion {
	st, v := m.state(), &topViews[m.view]
	q := topQuestion{view: m.view, filter: st.filter}
	if m.detail != nil {
		q.detail = m.detail.key
	}
	if len(v.sorts) > 0 {
		q.sort = v.sorts[st.sort]
		if !st.up {
			q.sort = "-" + q.sort
		}
	}
	if m.view == 0 {
		q.topic = m.topic
	}
	// Enough to page down once without waiting, within what a gateway gives at a time.
	q.rows = min(max(st.offset+2*m.room(), 10), 1000)
	return q
}

// refresh asks the gateway, unless it is being asked: then it is asked again.
func (m *topModel) refresh() tea.Cmd {
	if m.asking {
		m.again = true
		return nil
	}
	m.asking = true
	q, source := m.question(), m.source
	return func() tea.Msg {
		a, err := source.ask(q)
		a.question, a.err = q, err
		return a
	}
}

// Update implements tea.Model.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.scroll()
		return m, m.refresh()
	case topTick:
		if m.paused {
			return m, m.tick()
		}
		return m, tea.Batch(m.tick(), m.refresh())
	case topAnswer:
		return m, m.answered(msg)
	case topKicked:
		m.notice, m.detail = msg.name+" was kicked", nil
		if msg.err != nil {
			m.notice = "not kicked: " + table.Text(msg.err.Error())
		}
		return m, m.refresh()
	case tea.KeyPressMsg:
		return m, m.press(msg)
	}
	return m, nil
}

func (m *topModel) answered(a topAnswer) tea.Cmd {
	m.asking = false
	m.err = a.err
	switch {
	case a.err != nil && a.question.detail != "" && final(a.err):
		if m.err = nil; m.detail != nil && m.detail.key == a.question.detail {
			m.detail, m.notice, m.again = nil, "the connection has left", true
		}
	case a.err != nil && final(a.err):
		m.fatal = a.err
		return m.quit()
	case a.err == nil:
		m.take(a)
	}
	if m.again {
		m.again = false
		return m.refresh()
	}
	return nil
}

// take shows what the gateway has said. Rows of another list than the one that is wanted now are not.
func (m *topModel) take(a topAnswer) {
	m.rates.take(&a.stats)
	m.now = a.stats
	q, want := a.question, m.question()
	q.rows, want.rows = 0, 0
	if q != want {
		return
	}
	m.lines = a.lines
	if q.detail != "" {
		return
	}
	m.rows, m.total = a.rows, a.total
	st := m.state()
	if i := slices.IndexFunc(m.rows, func(r topRow) bool { return r.key == st.selected }); i >= 0 && st.at > 0 {
		st.at = i
	}
	m.scroll()
}

// scroll keeps the selected row on the screen.
func (m *topModel) scroll() {
	st := m.state()
	st.at = min(max(st.at, 0), max(len(m.rows)-1, 0))
	room := m.room()
	if st.at < st.offset {
		st.offset = st.at
	}
	if st.at >= st.offset+room {
		st.offset = st.at - room + 1
	}
	st.offset = min(st.offset, max(len(m.rows)-room, 0))
	st.selected = ""
	if st.at < len(m.rows) {
		st.selected = m.rows[st.at].key
	}
}

func (m *topModel) press(key tea.KeyPressMsg) tea.Cmd {
	name := key.String()
	if name == "ctrl+c" {
		return m.quit()
	}
	switch name {
	case "ctrl+z":
		return tea.Suspend
	case "alt+esc": // two of them at once
		name = "esc"
	}
	switch {
	case m.typing:
		return m.typed(key)
	case m.kicking != nil:
		return m.confirmed(name)
	case m.help:
		m.help = false
		return nil
	}
	m.notice = ""
	st := m.state()
	switch name {
	case "q":
		return m.quit()
	case "?", "h":
		m.help = true
	case "p", "space":
		m.paused = !m.paused
		if !m.paused {
			return m.refresh()
		}
	case "tab", "right", "l":
		return m.turn(m.view + 1)
	case "shift+tab", "left":
		return m.turn(m.view - 1)
	case "1", "2", "3", "4":
		return m.turn(int(name[0] - '1'))
	case "up", "k":
		return m.move(st.at - 1)
	case "down", "j":
		return m.move(st.at + 1)
	case "pgup", "ctrl+b":
		return m.move(st.at - m.room())
	case "pgdown", "ctrl+f":
		return m.move(st.at + m.room())
	case "home", "g":
		return m.move(0)
	case "end", "G":
		return m.move(len(m.rows) - 1)
	case "s":
		return m.sortBy(st.sort+1, st.up)
	case "S":
		return m.sortBy(st.sort-1, st.up)
	case "r":
		return m.sortBy(st.sort, !st.up)
	case "/":
		m.typing, m.draft = true, st.filter
	case "enter":
		return m.enter()
	case "x":
		switch {
		case m.detail != nil:
			m.kicking = m.detail
		case m.view == 0 && st.at < len(m.rows):
			m.kicking = &m.rows[st.at]
		}
	case "esc", "backspace":
		return m.back()
	}
	return nil
}

// quit ends top, with an empty screen: what a terminal keeps of it when its size has changed is none of
// ours then.
func (m *topModel) quit() tea.Cmd {
	m.over = true
	return tea.Quit
}

// turn shows another list.
func (m *topModel) turn(view int) tea.Cmd {
	m.view = (view + len(topViews)) % len(topViews)
	m.detail, m.rows, m.total, m.lines = nil, nil, 0, nil
	return m.refresh()
}

func (m *topModel) move(to int) tea.Cmd {
	st := m.state()
	if m.detail != nil { // its lines move, and no row is chosen
		m.down = min(max(m.down+to-st.at, 0), max(len(m.lines)-m.room(), 0))
		return nil
	}
	st.at = to
	before := st.offset
	m.scroll()
	if st.offset != before && !m.paused {
		return m.refresh()
	}
	return nil
}

func (m *topModel) sortBy(i int, up bool) tea.Cmd {
	st, n := m.state(), len(topViews[m.view].sorts)
	if n == 0 {
		m.notice = "this list has an order of its own"
		return nil
	}
	st.sort, st.up, st.at, st.offset = (i+n)%n, up, 0, 0
	return m.refresh()
}

// typed takes a key while a filter is typed. The list follows at once.
func (m *topModel) typed(key tea.KeyPressMsg) tea.Cmd {
	st := m.state()
	switch key.String() {
	case "enter":
		m.typing = false
		return nil
	case "esc":
		m.typing = false
		st.filter = m.draft // what it was
		return m.refresh()
	case "backspace":
		if runes := []rune(st.filter); len(runes) > 0 {
			st.filter = string(runes[:len(runes)-1])
		}
	case "ctrl+u":
		st.filter = ""
	default:
		const most = 100
		if key.Text == "" || len(st.filter) > most {
			return nil
		}
		st.filter += key.Text
	}
	st.at, st.offset = 0, 0
	return m.refresh()
}

// enter opens the row: a connection alone, or the subscribers of a topic.
func (m *topModel) enter() tea.Cmd {
	st := m.state()
	if m.detail != nil || st.at >= len(m.rows) {
		return nil
	}
	switch m.view {
	case 0:
		m.detail, m.lines, m.down = &m.rows[st.at], nil, 0
		return m.refresh()
	case 1:
		m.topic = m.rows[st.at].key
		m.states[0].filter, m.states[0].at, m.states[0].offset = "", 0, 0
		return m.turn(0)
	}
	return nil
}

// back leaves what was opened last: a connection, a filter, a topic's subscribers.
func (m *topModel) back() tea.Cmd {
	st := m.state()
	switch {
	case m.detail != nil:
		m.detail = nil
	case st.filter != "":
		st.filter = ""
	case m.view == 0 && m.topic != "":
		m.topic = ""
	default:
		return nil
	}
	return m.refresh()
}

func (m *topModel) confirmed(name string) tea.Cmd {
	row := m.kicking
	m.kicking = nil
	if name != "y" {
		m.notice = "nobody was kicked"
		return nil
	}
	source := m.source
	return func() tea.Msg { return topKicked{row.name, source.kick(row.key)} }
}

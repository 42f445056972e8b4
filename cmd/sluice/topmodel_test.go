package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// A fakeGateway answers top's questions, and keeps the last of each kind.
type fakeGateway struct {
	asked  topQuestion
	kicked string
	n      int // connections
	err    error
	gone   bool // the connection that is asked for alone
	second float64
}

func (f *fakeGateway) kick(connection string) error { f.kicked = connection; return f.err }

func (f *fakeGateway) ask(q topQuestion) (a topAnswer, err error) {
	f.asked = q
	f.second++
	a.question = q
	a.stats.UptimeSeconds, a.stats.Version = f.second, "v1"
	a.stats.Messages.Deliveries = uint64(1000 * f.second)
	a.stats.Connections.Closed = map[string]uint64{"kicked-out": uint64(f.second)}
	if f.err != nil {
		return a, f.err
	}
	if q.detail != "" && f.gone {
		return a, &adminapi.Error{Status: 404, Code: "not-found"}
	}
	if q.detail != "" {
		a.lines = []string{"detail of " + q.detail}
		return a, nil
	}
	for i := range min(f.n, q.rows) {
		row := topRow{key: fmt.Sprint("key-", i), name: fmt.Sprint("user-", i)}
		for range topViews[q.view].columns {
			row.cells = append(row.cells, fmt.Sprint("cell-", i))
		}
		a.rows = append(a.rows, row)
	}
	a.total = f.n
	return a, nil
}

// A topTester presses keys, and has what they ask for answered at once.
type topTester struct {
	t *testing.T
	m *topModel
	f *fakeGateway
}

func newTopTester(t *testing.T, n int) *topTester {
	t.Helper()
	f := &fakeGateway{n: n}
	tt := &topTester{t, newTopModel(f, time.Hour, "-lagBytes"), f}
	a, _ := f.ask(tt.m.question())
	tt.m.take(a)
	return tt
}

func (tt *topTester) send(msg tea.Msg) (quit bool) {
	_, cmd := tt.m.Update(msg)
	if cmd == nil {
		return false
	}
	if _, tick := msg.(topTick); tick { // besides the next tick, it asks
		a, err := tt.f.ask(tt.m.question())
		a.err = err
		return tt.send(a)
	}
	switch next := cmd().(type) {
	case tea.QuitMsg:
		return true
	case nil, tea.SuspendMsg:
		return false
	default:
		return tt.send(next)
	}
}

// press presses keys, named as bubbletea does, with blanks between them.
func (tt *topTester) press(keys string) (quit bool) {
	tt.t.Helper()
	named := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"pgdown": tea.KeyPgDown, "end": tea.KeyEnd, "home": tea.KeyHome, "backspace": tea.KeyBackspace, "left": tea.KeyLeft}
	for key := range strings.FieldsSeq(keys) {
		msg := tea.KeyPressMsg{Code: named[key]}
		switch {
		case key == "ctrl+c":
			msg = tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
		case msg.Code == 0:
			msg = tea.KeyPressMsg{Code: []rune(key)[0], Text: key}
		}
		if msg.String() != key {
			tt.t.Fatalf("the key %q is called %q", key, msg.String())
		}
		quit = tt.send(msg)
	}
	return quit
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// screen is what is seen, which must fit.
func (tt *topTester) screen() string {
	tt.t.Helper()
	text := escapes.ReplaceAllString(tt.m.View().Content, "")
	lines := strings.Split(text, "\n")
	if len(lines) != max(tt.m.height, 1) {
		tt.t.Errorf("%d lines, want %d", len(lines), tt.m.height)
	}
	for _, l := range lines {
		if n := table.Width(l); n > tt.m.width {
			tt.t.Errorf("a line of %d columns, want at most %d: %q", n, tt.m.width, l)
		}
		if strings.ContainsAny(l, "\x1b\a\r") {
			tt.t.Errorf("a line tells the terminal something: %q", l)
		}
	}
	return text
}

func (tt *topTester) want(parts ...string) {
	tt.t.Helper()
	text := tt.screen()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			tt.t.Errorf("no %q in\n%s", part, text)
		}
	}
}

// TestTopKeys goes through what the keys do.
func TestTopKeys(t *testing.T) {
	t.Parallel()
	tt := newTopTester(t, 100)
	if tt.f.asked.sort != "-lagBytes" {
		t.Errorf("asked for %+v", tt.f.asked)
	}
	tt.want("lagBytes↓  100 connections", "USER", "LAG", "cell-0", "? help")
	for _, step := range []struct {
		keys, sort string
		view       int
	}{
		{"s", "-unsentBytes", 0}, {"S S", "-messagesIn", 0}, {"r", "messagesIn", 0}, {"tab", "-subscribers", 1}, {"s", "-messagesPerSecond", 1},
		{"S S", "-name", 1}, {"3", "", 2}, {"s", "", 2}, {"4", "", 3}, {"tab", "messagesIn", 0}, {"left", "", 3}, {"1", "messagesIn", 0},
	} {
		tt.press(step.keys)
		tt.send(topTick{})
		if q := tt.m.question(); q.sort != step.sort || q.view != step.view {
			t.Errorf("after %q: %+v", step.keys, q)
		}
		tt.screen()
	}
	// Rows.
	tt.press("down down down")
	if st := tt.m.state(); st.at != 3 || st.selected != "key-3" {
		t.Errorf("%+v", *st)
	}
	tt.press("pgdown pgdown pgdown pgdown pgdown pgdown pgdown pgdown pgdown pgdown")
	if st := tt.m.state(); st.at != 99 || tt.f.asked.rows <= 100 {
		t.Errorf("at the end: %+v, asked for %d", *st, tt.f.asked.rows)
	}
	tt.want("cell-99")
	// One of them, which goes away.
	tt.press("home down enter")
	tt.want("detail of key-1", "esc back")
	tt.press("down x")
	tt.want("Kick user-1?")
	tt.press("n")
	tt.want("nobody was kicked")
	if tt.f.kicked != "" {
		t.Errorf("%s was kicked", tt.f.kicked)
	}
	tt.press("x y")
	if tt.f.kicked != "key-1" {
		t.Errorf("%s was kicked", tt.f.kicked)
	}
	tt.want("user-1 was kicked", "cell-1")
	tt.press("enter")
	tt.f.gone = true
	tt.send(topTick{})
	tt.want("the connection has left", "cell-0")
	// A filter, as it is typed.
	tt.press("/ a b")
	if tt.f.asked.filter != "ab" {
		t.Errorf("asked for %+v", tt.f.asked)
	}
	tt.want("/ab_", "Enter keep")
	tt.press("q backspace enter")
	tt.want("/ab ")
	tt.press("/ c esc")
	if tt.m.state().filter != "ab" {
		t.Errorf("esc leaves %q", tt.m.state().filter)
	}
	tt.press("esc")
	if tt.m.state().filter != "" {
		t.Errorf("the filter stays %q", tt.m.state().filter)
	}
	// The subscribers of a topic.
	tt.press("2 down enter")
	if q := tt.f.asked; q.view != 0 || q.topic != "key-1" {
		t.Errorf("asked for %+v", q)
	}
	tt.want("in key-1")
	tt.press("esc")
	if tt.f.asked.topic != "" {
		t.Errorf("asked for %+v", tt.f.asked)
	}
	tt.press("?")
	tt.want("any key goes on")
	if tt.press("q") || tt.m.help {
		t.Error("help is left by a key, and nothing else is")
	}
	if !tt.press("q") || !tt.press("/ ctrl+c") {
		t.Error("q and Ctrl-C end it")
	}
}

// TestTopPause: what is shown stays while it is paused.
func TestTopPause(t *testing.T) {
	t.Parallel()
	tt := newTopTester(t, 3)
	tt.press("p")
	before := tt.f.second
	if _, cmd := tt.m.Update(topTick{}); cmd == nil || tt.m.asking {
		t.Error("the gateway is asked while paused, or not again afterwards")
	}
	tt.want("PAUSED")
	tt.press("p")
	if tt.f.second != before+1 {
		t.Errorf("%v questions", tt.f.second-before)
	}
}

// TestTopOnce: there is one question at a time, whatever is pressed, and the last is answered.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	tt := newTopTester(t, 3)
	_, first := tt.m.Update(tea.KeyPressMsg{Code: 's', Text: "s"})
	for range 5 {
		if _, cmd := tt.m.Update(tea.KeyPressMsg{Code: 's', Text: "s"}); cmd != nil {
			t.Error("a question beside another")
		}
	}
	if first == nil {
		t.Fatal("no question")
	}
	tt.send(first())
	if tt.f.asked != tt.m.question() || tt.m.asking {
		t.Errorf("asked for %+v, want %+v", tt.f.asked, tt.m.question())
	}
}

// TestTopErrors: a gateway that is gone is asked until it is back; one that refuses ends top.
func TestTopErrors(t *testing.T) {
	t.Parallel()
	tt := newTopTester(t, 3)
	tt.f.err = errors.New("connection refused \x1b[2J")
	tt.press("r")
	tt.want("NO ANSWER", `connection refused \x1b[2J; asked again`, "cell-2")
	tt.f.err = nil
	tt.press("r")
	if strings.Contains(tt.screen(), "NO ANSWER") {
		t.Error("it is back")
	}
	tt.f.err = &adminapi.Error{Status: 401, Code: "unauthorized"}
	if !tt.press("r") || tt.m.fatal == nil {
		t.Error("a gateway that refuses ends nothing")
	}
}

// TestTopSizes: nothing is wider or higher than the screen, from one column on.
func TestTopSizes(t *testing.T) {
	t.Parallel()
	tt := newTopTester(t, 60)
	for range topHistory + 50 {
		tt.press("r")
	}
	if n := len(tt.m.rates.history); n != topHistory {
		t.Errorf("%d samples are kept", n)
	}
	for view := range topViews {
		tt.press(fmt.Sprint(view + 1))
		for _, width := range []int{1, 2, 9, 40, 79, 80, 81, 132, 200, 400} {
			for _, height := range []int{1, 2, 3, 5, 15, 16, 17, 24, 50} {
				tt.send(tea.WindowSizeMsg{Width: width, Height: height})
				for _, keys := range []string{"", "?", "x", "x", "end", "home"} {
					tt.press(keys)
					tt.screen()
				}
			}
		}
	}
	tt.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	tt.press("1")
	tt.want("1.0k/s", "█", "closed: kicked-out 1")
	// The column that is sorted by is always there.
	for range topViews[0].sorts {
		tt.press("s")
		sort := topViews[0].sorts[tt.m.state().sort]
		for _, c := range topViews[0].columns {
			if c.sort == sort {
				tt.want(c.title)
			}
		}
	}
}

// TestTopNarrow: at 50 columns nothing is cut in two.
func TestTopNarrow(t *testing.T) {
	t.Parallel()
	tt := newTopTester(t, 0)
	tt.send(tea.WindowSizeMsg{Width: 50, Height: 24})
	tt.want(" Connections ", "lagBytes↓  0 connections\n", "\n  Nobody is here. Clients connect to an address\n  of --listen.\n", "/ filter  ? help  q quit")
	tt.press("?")
	tt.want("known of it; a topic's\n", "\n  any key goes on")
	tt = newTopTester(t, 2)
	tt.send(tea.WindowSizeMsg{Width: 50, Height: 24})
	tt.m.rows[0].cells[0] = strings.Repeat("u", 40)
	tt.want(" TOPICS\n", "\n"+strings.Repeat("u", 16)+"  ")
	tt.press("?")
	tt.want("\n  tab, left, right, 1-4\n                  connections, topics, workers,\n")
}

// TestSpark draws lines.
func TestSpark(t *testing.T) {
	t.Parallel()
	var list []topSample
	for _, v := range []float64{9, 0, 1, 4, 8} {
		list = append(list, topSample{lag: v})
	}
	lag := func(s *topSample) float64 { return s.lag }
	if got := spark(list, lag, 4); got != "▁▂▅█" {
		t.Errorf("%s", got)
	}
	if got := spark(list[1:2], lag, 10) + spark(nil, lag, 3); got != "▁" {
		t.Errorf("%s", got)
	}
}

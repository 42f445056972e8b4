package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// topCmd draws with a few escapes of its own: a page of text that is written anew needs no library.
type topCmd struct {
	adminFlag
	jsonFlag
	Interval time.Duration `short:"i" help:"How often to ask, 200ms to 1h." default:"2s" placeholder:"TIME"`
	Count    int           `short:"n" help:"End after so many pages; 0: go on." default:"0" placeholder:"N"`
	Sort     string        `help:"What connections are sorted by, as in sluice conns." default:"-bytesOut" enum:"user,-user,since,-since,bytesIn,-bytesIn,bytesOut,-bytesOut,messagesIn,-messagesIn,messagesOut,-messagesOut,unsentBytes,-unsentBytes,lagBytes,-lagBytes,memoryBytes,-memoryBytes,topics,-topics,pendingRequests,-pendingRequests" placeholder:"[-]FIELD"`
}

// Help implements kong.HelpProvider.
func (*topCmd) Help() string {
	return examples(
		"sluice top                             # until Ctrl-C",
		"sluice top --sort -lagBytes -i 1s      # who is behind",
		"sluice top -n 2 | cat                  # two pages, for a mail",
		"sluice top --json | jq .messages       # all counters, an object a line") +
		"Rates are those since the page before. A gateway that has gone is asked for until it is back.\n\n" + readingCodes
}

// Run shows a gateway's counters, connections and topics again and again.
func (cmd *topCmd) Run(s *streams) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return named("top", cmd.run(ctx, s))
}

func (cmd *topCmd) run(ctx context.Context, s *streams) error {
	switch {
	case cmd.Interval < 200*time.Millisecond || cmd.Interval > time.Hour:
		return usageError{fmt.Errorf("--interval %v: want 200ms to 1h", cmd.Interval)}
	case cmd.Count < 0:
		return usageError{fmt.Errorf("--count %d: want a number from 0 on", cmd.Count)}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	view := newScreen(s.stdout)
	if cmd.JSON {
		view.terminal = nil
	}
	defer view.close()
	var last *topStats
	timer := time.NewTicker(cmd.Interval)
	defer timer.Stop()
	for n := 1; ; n++ {
		p, err := cmd.ask(ctx, c, view)
		var refused *adminapi.Error
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case n == 1 || errors.As(err, &refused) && refused.Status/100 == 4:
			return err
		}
		switch {
		case err != nil:
			last = nil
			err = view.show([]string{table.Text("sluice top: " + err.Error())})
		case cmd.JSON:
			err = printJSON(s.stdout, p.raw)
		default:
			err = view.show(p.lines(last, cmd.Sort))
			last = &p.stats
		}
		if err != nil {
			return err
		}
		if n == cmd.Count {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// A topPage is what a page is made of.
type topPage struct {
	raw    json.RawMessage
	stats  topStats
	conns  table.Table
	topics table.Table
}

// ask asks for as many rows as the screen has room for.
func (cmd *topCmd) ask(ctx context.Context, c *adminapi.Client, view *screen) (p topPage, err error) {
	if p.raw, err = c.Get(ctx, "stats", nil); err != nil || cmd.JSON {
		return p, err
	}
	if err := decodeAnswer(p.raw, &p.stats); err != nil {
		return p, err
	}
	p.conns.Columns(connColumns...)
	p.topics.Columns(topicColumns...)
	// Ten lines are above the tables, and each table has three of its own. Topics have a third.
	_, rows := view.size()
	room := max(rows-16, 6)
	if _, err := c.List(ctx, "topics", url.Values{"sort": {"-subscribers"}}, "topics", max(room/3, 2), rowOf(&p.topics, (*topicInfo).cells)); err != nil {
		return p, err
	}
	_, err = c.List(ctx, "connections", url.Values{"sort": {cmd.Sort}, "once": {"true"}}, "connections", room-max(room/3, 2), rowOf(&p.conns, (*connRow).cells))
	return p, err
}

// rowOf returns what adds a row of JSON to t.
func rowOf[T any](t *table.Table, cells func(*T) []string) func(json.RawMessage) error {
	return func(row json.RawMessage) error {
		var v T
		if err := decodeAnswer(row, &v); err != nil {
			return err
		}
		t.Row(cells(&v)...)
		return nil
	}
}

// topStats are the counters that a page shows.
type topStats struct {
	Time          time.Time `json:"time"`
	UptimeSeconds float64   `json:"uptimeSeconds"`
	Version       string    `json:"version"`
	NotReady      []string  `json:"notReady"`
	Users         int       `json:"users"`
	Connections   struct {
		Now      int64             `json:"now"`
		Limit    int               `json:"limit"`
		Clients  map[string]int64  `json:"clients"`
		Accepted uint64            `json:"accepted"`
		Refused  map[string]uint64 `json:"refused"`
		Closed   map[string]uint64 `json:"closed"`
	} `json:"connections"`
	Messages struct {
		ReceivedBytes   uint64            `json:"receivedBytes"`
		SentBytes       uint64            `json:"sentBytes"`
		ReceivedPackets uint64            `json:"receivedPackets"`
		SentPackets     uint64            `json:"sentPackets"`
		Publishes       uint64            `json:"publishes"`
		Deliveries      uint64            `json:"deliveries"`
		Drops           map[string]uint64 `json:"drops"`
		BacklogBytes    uint64            `json:"backlogBytes"`
		Topics          int               `json:"topics"`
	} `json:"messages"`
	Memory struct {
		Clients uint64 `json:"clientsBytes"`
		Limit   uint64 `json:"clientsLimitBytes"`
		Heap    uint64 `json:"heapBytes"`
		System  uint64 `json:"systemBytes"`
	} `json:"memory"`
	Loops []struct {
		LagSeconds float64 `json:"lagSeconds"`
	} `json:"loops"`
	Requests struct {
		All      uint64 `json:"all"`
		TimedOut uint64 `json:"timedOut"`
		Refused  uint64 `json:"refused"`
	} `json:"requests"`
	Latency struct {
		Count uint64  `json:"count"`
		P50   float64 `json:"p50"`
		P99   float64 `json:"p99"`
	} `json:"latency"`
	Workers *struct {
		Registered int `json:"registered"`
	} `json:"workers"`
}

// lines writes the page. last are the counters of the page before, nil if there is none, or another
// gateway has answered since.
func (p *topPage) lines(last *topStats, sort string) []string {
	now := &p.stats
	if last == nil || last.UptimeSeconds > now.UptimeSeconds {
		last = now
	}
	seconds := now.UptimeSeconds - last.UptimeSeconds
	per := func(of func(*topStats) uint64) float64 {
		if seconds <= 0 {
			return 0
		}
		return float64(of(now)-of(last)) / seconds
	}
	rate := func(of func(*topStats) uint64) string { return table.Rate(per(of)) + "/s" }
	size := func(of func(*topStats) uint64) string { return table.Bytes(uint64(per(of))) + "/s" }
	state := "ready"
	if len(now.NotReady) > 0 {
		state = "NOT READY: " + strings.Join(now.NotReady, "; ")
	}
	workers := "not served"
	if now.Workers != nil {
		workers = strconv.Itoa(now.Workers.Registered)
	}
	latency := ""
	if now.Latency.Count > 0 {
		latency = fmt.Sprintf(", p50 ≤%s, p99 ≤%s since the start", table.Seconds(now.Latency.P50), table.Seconds(now.Latency.P99))
	}
	var lags []string
	for _, l := range now.Loops {
		lags = append(lags, table.Seconds(l.LagSeconds))
	}
	var b bytes.Buffer
	var l table.List
	l.Add("sluice", fmt.Sprintf("%s, up %s, %s", now.Version, table.Seconds(now.UptimeSeconds), state))
	l.Add("connections", fmt.Sprintf("%d of %d, accepted %s; users %d%s", now.Connections.Now, now.Connections.Limit,
		rate(func(s *topStats) uint64 { return s.Connections.Accepted }), now.Users, byName("; ", now.Connections.Clients, nil)))
	l.Add("received", fmt.Sprintf("%s, %s", rate(func(s *topStats) uint64 { return s.Messages.ReceivedPackets }),
		size(func(s *topStats) uint64 { return s.Messages.ReceivedBytes })))
	l.Add("sent", fmt.Sprintf("%s, %s; published %s, delivered %s", rate(func(s *topStats) uint64 { return s.Messages.SentPackets }),
		size(func(s *topStats) uint64 { return s.Messages.SentBytes }), rate(func(s *topStats) uint64 { return s.Messages.Publishes }),
		rate(func(s *topStats) uint64 { return s.Messages.Deliveries })))
	l.Add("requests", rate(func(s *topStats) uint64 { return s.Requests.All })+latency+"; workers "+workers)
	l.Add("memory", fmt.Sprintf("for clients %s of %s, unsent %s; heap %s, process %s", table.Bytes(now.Memory.Clients),
		table.Bytes(now.Memory.Limit), table.Bytes(now.Messages.BacklogBytes), table.Bytes(now.Memory.Heap), table.Bytes(now.Memory.System)))
	l.Add("loops", "lag "+strings.Join(lags, " "))
	l.Add("lately", cmp.Or(strings.TrimPrefix(strings.Join([]string{
		byName("; closed: ", now.Connections.Closed, last.Connections.Closed),
		byName("; refused: ", now.Connections.Refused, last.Connections.Refused),
		byName("; dropped: ", now.Messages.Drops, last.Messages.Drops),
	}, ""), "; "), "nothing closed, refused or dropped"))
	_ = l.Write(&b)
	if p.conns.Len() > 0 {
		fmt.Fprintf(&b, "\nConnections by %s\n", sort)
		_ = p.conns.Write(&b)
	}
	if p.topics.Len() > 0 {
		fmt.Fprintf(&b, "\nTopics, %d in all\n", now.Messages.Topics)
		_ = p.topics.Write(&b)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// byName lists what has grown since before, the most first, behind a text. Empty: nothing has.
func byName[N int64 | uint64](text string, now, before map[string]N) string {
	var names []string
	for name, n := range now {
		if n > before[name] {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(now[b]-before[b], now[a]-before[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, now[name]-before[name])
	}
	if len(names) == 0 {
		return ""
	}
	return text + strings.Join(names, ", ")
}

// A screen is a terminal that is written anew, or something else that pages are written to one after
// the other.
type screen struct {
	out      io.Writer
	terminal *os.File // nil: it is none
	open     bool
	pages    int
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok {
		if _, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			s.terminal = f
		}
	}
	return s
}

// size returns the columns and lines there are.
func (s *screen) size() (columns, lines int) {
	if s.terminal != nil {
		if w, err := unix.IoctlGetWinsize(int(s.terminal.Fd()), unix.TIOCGWINSZ); err == nil && w.Col > 0 && w.Row > 0 {
			return int(w.Col), int(w.Row)
		}
		return 80, 24
	}
	return 1 << 20, 46
}

// The escapes of a terminal.
const (
	otherScreen  = "\x1b[?1049h\x1b[?25l" // and no cursor
	firstScreen  = "\x1b[?25h\x1b[?1049l"
	topLeft      = "\x1b[H"
	clearLine    = "\x1b[K"
	clearBelow   = "\x1b[J"
	noWrap, wrap = "\x1b[?7l", "\x1b[?7h"
)

// show writes a page, in one write.
func (s *screen) show(page []string) error {
	var b strings.Builder
	if s.terminal == nil {
		if s.pages++; s.pages > 1 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.Join(page, "\n") + "\n")
	} else {
		columns, lines := s.size()
		if !s.open {
			s.open = true
			b.WriteString(otherScreen)
		}
		b.WriteString(noWrap + topLeft)
		for i, line := range page[:min(len(page), lines)] {
			if i > 0 {
				b.WriteString("\r\n")
			}
			b.WriteString(table.Cut(line, columns) + clearLine)
		}
		b.WriteString(clearBelow + wrap)
	}
	_, err := io.WriteString(s.out, b.String())
	return err
}

// close gives the terminal back as it was.
func (s *screen) close() {
	if s.open {
		_, _ = io.WriteString(s.out, firstScreen)
	}
}

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

// topCmd shows a gateway on a terminal, for which topmodel.go and topview.go are; anywhere else it
// writes pages of text, one behind the other.
type topCmd struct {
	adminFlag
	jsonFlag
	Interval time.Duration `short:"i" help:"How often to ask, 200ms to 1h." default:"2s" placeholder:"TIME"`
	Count    int           `short:"n" help:"Write so many pages of text and end; 0: go on." default:"0" placeholder:"N"`
	Sort     string        `help:"What connections are sorted by, as in sluice conns." default:"-bytesOut" enum:"user,-user,since,-since,bytesIn,-bytesIn,bytesOut,-bytesOut,messagesIn,-messagesIn,messagesOut,-messagesOut,unsentBytes,-unsentBytes,lagBytes,-lagBytes,memoryBytes,-memoryBytes,topics,-topics,pendingRequests,-pendingRequests" placeholder:"[-]FIELD"`
}

// Help implements kong.HelpProvider.
func (*topCmd) Help() string {
	return examples(
		"sluice top                             # until q; ? lists the keys",
		"sluice top --sort -lagBytes -i 1s      # who is behind",
		"sluice top -n 2 | cat                  # two pages, for a mail",
		"sluice top --json | jq .messages       # all counters, an object a line") +
		"On a terminal: tab shows connections, topics, workers or ended connections, s sorts, / filters,\n" +
		"p pauses, x kicks, q quits. Elsewhere pages of text are written, and with -n on a terminal, too.\n" +
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
	if f := terminal(s.stdout); f != nil && cmd.Count == 0 && !cmd.JSON {
		return cmd.interactive(ctx, c, f)
	}
	return cmd.pages(ctx, c, s.stdout)
}

// terminal returns out if it is a terminal, else nil.
func terminal(out io.Writer) *os.File {
	f, ok := out.(*os.File)
	if !ok {
		return nil
	}
	if _, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err != nil {
		return nil
	}
	return f
}

// pages writes page after page.
func (cmd *topCmd) pages(ctx context.Context, c *adminapi.Client, out io.Writer) error {
	var last *topStats
	timer := time.NewTicker(cmd.Interval)
	defer timer.Stop()
	for n := 1; ; n++ {
		p, err := cmd.ask(ctx, c)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case n == 1 || final(err):
			return err
		}
		switch {
		case err != nil:
			last = nil
			err = writePage(out, n, []string{table.Text("sluice top: " + err.Error())})
		case cmd.JSON:
			err = printJSON(out, p.raw)
		default:
			err = writePage(out, n, p.lines(last, cmd.Sort))
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

// final reports whether asking again will not help: the gateway does not want what it is asked.
func final(err error) bool {
	var refused *adminapi.Error
	return errors.As(err, &refused) && refused.Status/100 == 4
}

// writePage writes page n, in one write.
func writePage(out io.Writer, n int, page []string) error {
	text := strings.Join(page, "\n") + "\n"
	if n > 1 {
		text = "\n" + text
	}
	_, err := io.WriteString(out, text)
	return err
}

// A topPage is what a page is made of.
type topPage struct {
	raw    json.RawMessage
	stats  topStats
	conns  table.Table
	topics table.Table
}

// The rows of a page of text.
const (
	pageConns  = 20
	pageTopics = 10
)

func (cmd *topCmd) ask(ctx context.Context, c *adminapi.Client) (p topPage, err error) {
	if p.raw, err = c.Get(ctx, "stats", nil); err != nil || cmd.JSON {
		return p, err
	}
	if err := decodeAnswer(p.raw, &p.stats); err != nil {
		return p, err
	}
	p.conns.Columns(connColumns...)
	p.topics.Columns(topicColumns...)
	topics := url.Values{"sort": {"-subscribers"}}
	if _, err := c.List(ctx, "topics", topics, "topics", pageTopics, rowOf(&p.topics, (*topicInfo).cells)); err != nil {
		return p, err
	}
	conns := url.Values{"sort": {cmd.Sort}, "once": {"true"}}
	_, err = c.List(ctx, "connections", conns, "connections", pageConns, rowOf(&p.conns, (*connRow).cells))
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

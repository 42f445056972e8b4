package main

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// A topColumn is one of a list. Where the screen has no room for all, those of the highest rank go
// first. width is what its cells usually take.
type topColumn struct {
	title string
	right bool
	width int
	rank  int
	sort  string // that its order has
}

// A topView is a list that can be shown.
type topView struct {
	name    string
	what    string // one of its rows
	sorts   []string
	columns []topColumn
	empty   string // what is said when there is none
}

var topViews = []topView{
	{
		name: "Connections", what: "connection",
		sorts: []string{"bytesOut", "bytesIn", "messagesOut", "messagesIn", "lagBytes", "unsentBytes", "memoryBytes", "topics", "pendingRequests", "since", "user"},
		columns: []topColumn{
			{"USER", false, 16, 1, "user"}, {"STATE", false, 8, 5, ""}, {"PROTOCOL", false, 10, 7, ""}, {"PEER", false, 21, 6, ""},
			{"AGE", true, 6, 2, "since"}, {"IN", true, 7, 8, "bytesIn"}, {"OUT", true, 7, 1, "bytesOut"},
			{"MSGS-IN", true, 8, 10, "messagesIn"}, {"MSGS-OUT", true, 8, 4, "messagesOut"}, {"UNSENT", true, 7, 8, "unsentBytes"},
			{"LAG", true, 7, 3, "lagBytes"}, {"MEMORY", true, 7, 5, "memoryBytes"}, {"TOPICS", true, 6, 7, "topics"},
			{"REQS", true, 5, 9, "pendingRequests"}, {"NOTES", false, 9, 3, ""}, {"ID", false, 18, 11, ""},
		},
		empty: "Nobody is here. Clients connect to an address of --listen.",
	},
	{
		name: "Topics", what: "topic",
		sorts: []string{"subscribers", "messagesPerSecond", "messages", "deliveries", "name"},
		columns: []topColumn{
			{"TOPIC", false, 34, 1, "name"}, {"SUBSCRIBERS", true, 11, 1, "subscribers"}, {"MSGS/S", true, 8, 2, "messagesPerSecond"},
			{"MESSAGES", true, 10, 4, "messages"}, {"DELIVERIES", true, 10, 3, "deliveries"},
		},
		empty: "Nobody has subscribed to anything. Try: sluice watch news",
	},
	{
		name: "Workers", what: "link",
		columns: []topColumn{
			{"WORKER", false, 6, 1, ""}, {"LINK", true, 5, 7, ""}, {"PEER", false, 21, 1, ""}, {"AGE", true, 6, 4, ""}, {"RECEIVED", true, 9, 5, ""},
			{"SENT", true, 9, 5, ""}, {"QUEUE", true, 14, 3, ""}, {"SILENT", true, 6, 6, ""}, {"ANSWERS", true, 9, 2, ""}, {"P50", true, 7, 3, ""},
			{"P99", true, 7, 1, ""}, {"NOTES", false, 12, 2, ""},
		},
		empty: "No worker is here. Workers connect to the address of --worker.",
	},
	{
		name: "Ended", what: "end",
		columns: []topColumn{
			{"WHEN", false, 8, 1, ""}, {"REASON", false, 20, 1, ""}, {"USER", false, 16, 2, ""}, {"PROTOCOL", false, 10, 5, ""},
			{"PEER", false, 21, 4, ""}, {"LASTED", true, 7, 3, ""}, {"IN", true, 7, 6, ""}, {"OUT", true, 7, 6, ""}, {"ID", false, 18, 7, ""},
		},
		empty: "Nobody has left yet.",
	},
}

// topClient asks a gateway for what top shows.
type topClient struct {
	ctx    context.Context
	client *adminapi.Client
}

func (c *topClient) kick(connection string) error {
	_, err := c.client.Post(c.ctx, "kick", map[string]string{"connection": connection})
	return err
}

func (c *topClient) ask(q topQuestion) (a topAnswer, err error) {
	a.question = q
	body, err := c.client.Get(c.ctx, "stats", nil)
	if err == nil {
		err = decodeAnswer(body, &a.stats)
	}
	if err != nil {
		return a, err
	}
	if q.detail != "" {
		a.lines, err = c.describe(q.detail)
		return a, err
	}
	query := url.Values{}
	set(query, "search", q.filter)
	set(query, "sort", q.sort)
	limit := []string{strconv.Itoa(q.rows)}
	switch q.view {
	case 0:
		set(query, "topic", q.topic)
		query["limit"], query["once"] = limit, []string{"true"}
		err = c.rows(&a, "connections", query, topRowOf(func(v *connRow) topRow {
			return topRow{v.Connection, []string{v.User, v.State, v.Protocol, v.Peer, age(v.Since), table.Bytes(v.BytesIn), table.Bytes(v.BytesOut),
				count(v.MessagesIn), count(v.MessagesOut), table.Bytes(v.UnsentBytes), table.Bytes(v.LagBytes), table.Bytes(v.MemoryBytes),
				count(v.Topics), count(v.Pending), v.marks(), v.id()}, table.Text(v.called())}
		}))
	case 1:
		query["limit"] = limit
		err = c.rows(&a, "topics", query, topRowOf(func(v *topicInfo) topRow {
			cells := v.cells() // topic, subscribers, messages, deliveries, rate
			return topRow{v.Topic, []string{cells[0], cells[1], cells[4], cells[2], cells[3]}, v.Topic}
		}))
	case 2:
		err = c.rows(&a, "workers", nil, topRowOf(func(v *workerInfo) topRow { return topRow{count(v.Link), v.cells(), ""} }))
		a.keep(q.filter) // the gateway does not filter them: there are few
	case 3:
		query["limit"] = limit
		err = c.rows(&a, "closed", query, topRowOf(func(v *closedInfo) topRow {
			return topRow{v.key(), []string{v.when(), v.Reason, v.User, v.Protocol, v.Peer, v.lasted(), table.Bytes(v.BytesIn), table.Bytes(v.BytesOut), v.UniqID}, ""}
		}))
	}
	return a, err
}

// called is how a person calls a connection.
func (c *connRow) called() string {
	if c.User != "" {
		return c.User
	}
	return c.Peer
}

func topRowOf[T any](f func(*T) topRow) func(json.RawMessage) (topRow, error) {
	return func(b json.RawMessage) (topRow, error) {
		var v T
		err := decodeAnswer(b, &v)
		return f(&v), err
	}
}

// rows asks for the first page of a list.
func (c *topClient) rows(a *topAnswer, path string, query url.Values, row func(json.RawMessage) (topRow, error)) error {
	body, err := c.client.Get(c.ctx, path, query)
	if err != nil {
		return err
	}
	var answer struct {
		Connections, Topics, Workers, Closed []json.RawMessage
		Matched, Total                       int
	}
	if err := decodeAnswer(body, &answer); err != nil {
		return err
	}
	for _, list := range [][]json.RawMessage{answer.Connections, answer.Topics, answer.Workers, answer.Closed} {
		for _, b := range list {
			r, err := row(b)
			if err != nil {
				return err
			}
			for i, cell := range r.cells {
				r.cells[i] = table.Text(cell)
			}
			a.rows = append(a.rows, r)
		}
	}
	a.total = max(answer.Matched, answer.Total, len(a.rows))
	return nil
}

// keep leaves out rows that do not have a text in them.
func (a *topAnswer) keep(text string) {
	if text = strings.ToLower(text); text == "" {
		return
	}
	rows := a.rows[:0]
	for _, r := range a.rows {
		if strings.Contains(strings.ToLower(strings.Join(r.cells, " ")), text) {
			rows = append(rows, r)
		}
	}
	a.rows, a.total = rows, len(rows)
}

// describe says all that is known of one connection, a line each.
func (c *topClient) describe(connection string) ([]string, error) {
	body, err := c.client.Get(c.ctx, "connections/"+pathText(connection), nil)
	if err != nil {
		return nil, err
	}
	l, err := describeConn(body)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := l.Write(&b); err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"), nil
}

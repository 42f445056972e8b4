package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type connsCmd struct {
	adminFlag
	jsonFlag
	limitFlag
	ID        *string `arg:"" optional:"" help:"Only this one, with all that is known of it: a uniqId, or what stands in the column ID."`
	Sort      string  `help:"What to sort by, from the greatest with a - before it: user, since, bytesIn, bytesOut, messagesIn, messagesOut, unsentBytes, lagBytes, memoryBytes, topics, pendingRequests. Unless given as they come." default:"" enum:",user,-user,since,-since,bytesIn,-bytesIn,bytesOut,-bytesOut,messagesIn,-messagesIn,messagesOut,-messagesOut,unsentBytes,-unsentBytes,lagBytes,-lagBytes,memoryBytes,-memoryBytes,topics,-topics,pendingRequests,-pendingRequests" placeholder:"[-]FIELD"`
	User      *string `help:"Only a user's; with an empty ID only those who are logged in without a user." placeholder:"ID"`
	Protocol  string  `help:"Only of a protocol, as the column has it." placeholder:"NAME"`
	State     string  `help:"Only in a state: opening, login, online or attached." default:"" enum:",opening,login,online,attached" placeholder:"STATE"`
	Search    string  `help:"Only with a text in the user, the uniqId or the address." placeholder:"TEXT"`
	Topic     string  `help:"Only subscribers of a topic." placeholder:"NAME"`
	Peer      string  `help:"Only from an address, or a network as 10.0.0.0/8." placeholder:"ADDRESS"`
	Listener  *int    `help:"Only of a listener, counted from 0." placeholder:"N"`
	Congested bool    `help:"Only those that do not take what is sent to them."`
}

// Help implements kong.HelpProvider.
func (*connsCmd) Help() string {
	return examples(
		"sluice conns --sort -lagBytes --limit 10   # who is behind most",
		"sluice conns --user ann --json             # an object a line, for programs",
		"sluice conns 006B0B52123E07F227            # all that is known of one") + readingCodes
}

// A connRow is a connection as the API lists it.
type connRow struct {
	Connection  string    `json:"connection"`
	UniqID      string    `json:"uniqId"`
	User        string    `json:"user"`
	Protocol    string    `json:"protocol"`
	State       string    `json:"state"`
	Peer        string    `json:"peer"`
	Listener    int       `json:"listener"`
	Loop        int       `json:"loop"`
	Since       time.Time `json:"since"`
	BytesIn     uint64    `json:"bytesIn"`
	BytesOut    uint64    `json:"bytesOut"`
	MessagesIn  uint64    `json:"messagesIn"`
	MessagesOut uint64    `json:"messagesOut"`
	UnsentBytes uint64    `json:"unsentBytes"`
	LagBytes    uint64    `json:"lagBytes"`
	Queue       uint64    `json:"queue"`
	InputBytes  uint64    `json:"inputBytes"`
	MemoryBytes uint64    `json:"memoryBytes"`
	Topics      uint64    `json:"topics"`
	Pending     uint64    `json:"pendingRequests"`
	Congested   bool      `json:"congested"`
	Stalled     bool      `json:"stalled"`
	Paused      bool      `json:"paused"`
}

func (c *connRow) id() string {
	if c.UniqID != "" {
		return c.UniqID
	}
	return c.Connection
}

func (c *connRow) marks() string {
	return marks("congested", c.Congested, "stalled", c.Stalled, "paused", c.Paused)
}

func (c *connRow) cells() []string {
	return []string{
		c.id(), c.User, c.Protocol, c.State, c.Peer, age(c.Since), table.Bytes(c.BytesIn), table.Bytes(c.BytesOut),
		count(c.MessagesIn), count(c.MessagesOut), table.Bytes(c.UnsentBytes), table.Bytes(c.LagBytes),
		table.Bytes(c.MemoryBytes), count(c.Topics), c.marks(),
	}
}

var connColumns = []string{"ID", "USER", "PROTOCOL", "STATE", "PEER", ">AGE", ">IN", ">OUT", ">MSGS-IN", ">MSGS-OUT", ">UNSENT", ">LAG", ">MEMORY", ">TOPICS", "NOTES"}

// Run lists connections, or describes one.
func (cmd *connsCmd) Run(s *streams) error { return named("conns", cmd.run(s)) }

func (cmd *connsCmd) run(s *streams) error {
	if err := cmd.check(); err != nil {
		return err
	}
	query := url.Values{}
	set(query, "sort", cmd.Sort)
	if cmd.User != nil {
		query.Set("user", *cmd.User)
	}
	set(query, "protocol", cmd.Protocol)
	set(query, "state", cmd.State)
	set(query, "search", cmd.Search)
	set(query, "topic", cmd.Topic)
	set(query, "peer", cmd.Peer)
	if cmd.Listener != nil {
		query.Set("listener", strconv.Itoa(*cmd.Listener))
	}
	if cmd.Congested {
		query.Set("congested", "true")
	}
	switch {
	case cmd.ID != nil && *cmd.ID == "":
		return usageError{errors.New("which? the ID is empty; leave it out for all")}
	case cmd.ID != nil && len(query) > 0:
		return usageError{fmt.Errorf("%s: one connection is neither filtered nor sorted", *cmd.ID)}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if cmd.ID != nil {
		return cmd.one(s.stdout, c)
	}
	l := listing[connRow]{
		path: "connections", query: query, key: "connections", row: (*connRow).cells,
		columns: connColumns,
	}
	return l.print(s, c, cmd.Limit, cmd.JSON)
}

func (cmd *connsCmd) one(out io.Writer, c *adminapi.Client) error {
	body, err := c.Get(context.Background(), "connections/"+pathText(*cmd.ID), nil)
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(out, body)
	}
	l, err := describeConn(body)
	if err != nil {
		return err
	}
	return l.Write(out)
}

// describeConn says all that the API's answer has of a connection.
func describeConn(body json.RawMessage) (*table.List, error) {
	var d struct {
		connRow
		Session    string            `json:"session"`
		Resumable  bool              `json:"resumable"`
		TopicNames []string          `json:"topicNames"`
		Truncated  bool              `json:"topicNamesTruncated"`
		Metadata   map[string]string `json:"metadata"`
		Claims     map[string]string `json:"claims"`
		TLS        map[string]any    `json:"tls"`
	}
	if err := decodeAnswer(body, &d); err != nil {
		return nil, err
	}
	l := new(table.List)
	l.Add("connection", d.Connection)
	l.Add("uniqId", d.UniqID)
	l.Add("user", d.User)
	l.Add("protocol", d.Protocol)
	l.Add("state", d.State)
	l.Add("peer", d.Peer)
	l.Add("listener", fmt.Sprintf("%d, on loop %d", d.Listener, d.Loop))
	l.Add("since", fmt.Sprintf("%s, for %s", d.Since.Format(time.RFC3339), age(d.Since)))
	for _, name := range slices.Sorted(maps.Keys(d.TLS)) {
		l.Add("tls "+name, fmt.Sprint(d.TLS[name]))
	}
	l.Add("received", table.Bytes(d.BytesIn)+" in "+plural(int(d.MessagesIn), "message"))
	l.Add("sent", table.Bytes(d.BytesOut)+" in "+plural(int(d.MessagesOut), "message"))
	l.Add("unsent", fmt.Sprintf("%s, and %s of what was published", table.Bytes(d.UnsentBytes), table.Bytes(d.LagBytes)))
	l.Add("queue", plural(int(d.Queue), "message"))
	l.Add("input", table.Bytes(d.InputBytes)+" to be read")
	l.Add("memory", table.Bytes(d.MemoryBytes))
	l.Add("requests", fmt.Sprintf("%d under way", d.Pending))
	l.Add("notes", d.marks())
	l.Add("session", d.Session)
	l.Add("resumable", strconv.FormatBool(d.Resumable))
	switch {
	case d.Truncated:
		l.Add("topics", fmt.Sprintf("%d, too many to be named", d.Topics))
	case d.Topics == 0:
		l.Add("topics", "none")
	default:
		l.Add("topics", strings.Join(d.TopicNames, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Metadata)) {
		l.Add("metadata "+name, d.Metadata[name])
	}
	for _, name := range slices.Sorted(maps.Keys(d.Claims)) {
		l.Add("claim "+name, d.Claims[name])
	}
	return l, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type topicsCmd struct {
	adminFlag
	jsonFlag
	limitFlag
	Name   *string `arg:"" optional:"" help:"Only this topic."`
	Sort   string  `help:"What to sort by, from the greatest with a - before it: name, subscribers, messages, deliveries, messagesPerSecond." default:"name" enum:"name,-name,subscribers,-subscribers,messages,-messages,deliveries,-deliveries,messagesPerSecond,-messagesPerSecond" placeholder:"[-]FIELD"`
	Prefix string  `help:"Only names that begin with a text." placeholder:"TEXT"`
	Search string  `help:"Only names with a text in them." placeholder:"TEXT"`
}

// Help implements kong.HelpProvider.
func (*topicsCmd) Help() string {
	return examples(
		"sluice topics --sort -subscribers --limit 10   # the ten that most listen to",
		"sluice topics --sort -messagesPerSecond        # where most is said now",
		"sluice topics --prefix room/ --limit 0         # all of a kind",
		"sluice topics news --json                      # one of them") + readingCodes
}

// A topicInfo is a topic as the API lists it.
type topicInfo struct {
	Topic       string  `json:"topic"`
	Subscribers uint64  `json:"subscribers"`
	Messages    uint64  `json:"messages"`
	Deliveries  uint64  `json:"deliveries"`
	PerSecond   float64 `json:"messagesPerSecond"`
}

func (v *topicInfo) cells() []string {
	return []string{v.Topic, count(v.Subscribers), count(v.Messages), count(v.Deliveries), strconv.FormatFloat(v.PerSecond, 'f', 1, 64)}
}

var topicColumns = []string{"TOPIC", ">SUBSCRIBERS", ">MESSAGES", ">DELIVERIES", ">MSGS/S"}

// maxSortedTopics is how many topics the gateway sorts by anything but their names.
const maxSortedTopics = 1000

// Run lists topics that have subscribers.
func (cmd *topicsCmd) Run(s *streams) error { return named("topics", cmd.run(s)) }

func (cmd *topicsCmd) run(s *streams) error {
	if err := cmd.check(); err != nil {
		return err
	}
	byName := strings.TrimPrefix(cmd.Sort, "-") == "name"
	switch {
	case cmd.Name != nil && *cmd.Name == "":
		return usageError{errors.New("which? the name is empty; leave it out for all")}
	case cmd.Name != nil && (cmd.Sort != "name" || cmd.Prefix != "" || cmd.Search != ""):
		return usageError{errors.New("one topic is neither filtered nor sorted")}
	case !byName && (cmd.Limit == 0 || cmd.Limit > maxSortedTopics):
		return usageError{fmt.Errorf("--sort %s: want --limit 1 to %d; all topics come by name only", cmd.Sort, maxSortedTopics)}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if cmd.Name != nil {
		body, err := c.Get(context.Background(), "topics/"+pathText(*cmd.Name), nil)
		if err != nil || cmd.JSON {
			return firstError(err, func() error { return printJSON(s.stdout, body) })
		}
		var v topicInfo
		if err := decodeAnswer(body, &v); err != nil {
			return err
		}
		var t table.Table
		t.Columns(topicColumns...)
		t.Row(v.cells()...)
		return t.Write(s.stdout)
	}
	query := url.Values{}
	set(query, "prefix", cmd.Prefix)
	set(query, "search", cmd.Search)
	if cmd.Sort != "name" {
		query.Set("sort", cmd.Sort)
	}
	l := listing[topicInfo]{path: "topics", query: query, key: "topics", columns: topicColumns, row: (*topicInfo).cells}
	if cmd.Prefix == "" && cmd.Search == "" {
		l.none = ": nobody subscribes to anything yet"
	}
	return l.print(s, c, cmd.Limit, cmd.JSON)
}

// firstError returns err, or what f returns.
func firstError(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type workersCmd struct {
	adminFlag
	jsonFlag
	ID int `arg:"" optional:"" help:"Only links of the worker with this id."`
}

// Help implements kong.HelpProvider.
func (*workersCmd) Help() string {
	return examples(
		"sluice workers          # each link: queue, silence, latency of answers",
		"sluice workers 1        # exit code 3 when worker 1 is not there",
		"sluice workers --json") + readingCodes
}

// A workerInfo is a link of a worker as the API lists it.
type workerInfo struct {
	Link          uint64    `json:"link"`
	Peer          string    `json:"peer"`
	Since         time.Time `json:"since"`
	Registered    bool      `json:"registered"`
	WorkerID      int       `json:"workerId"`
	TakesRequests bool      `json:"takesRequests"`
	QueueBytes    uint64    `json:"queueBytes"`
	QueueLimit    uint64    `json:"queueLimitBytes"`
	Received      uint64    `json:"received"`
	Sent          uint64    `json:"sent"`
	SilentSeconds float64   `json:"silentSeconds"`
	Still         bool      `json:"standsStill"`
	Latency       struct {
		Count uint64  `json:"count"`
		P50   float64 `json:"p50"`
		P99   float64 `json:"p99"`
	} `json:"latency"`
}

func (v *workerInfo) cells() []string {
	id, p50, p99 := "", "", ""
	if v.Registered {
		id = strconv.Itoa(v.WorkerID)
	}
	if v.Latency.Count > 0 {
		p50, p99 = "≤"+table.Seconds(v.Latency.P50), "≤"+table.Seconds(v.Latency.P99)
	}
	return []string{
		id, count(v.Link), v.Peer, age(v.Since), count(v.Received), count(v.Sent),
		table.Bytes(v.QueueBytes) + "/" + table.Bytes(v.QueueLimit), table.Seconds(v.SilentSeconds),
		count(v.Latency.Count), p50, p99,
		marks("unregistered", !v.Registered, "requests", v.TakesRequests, "stands-still", v.Still),
	}
}

// Run lists links of workers. The list comes whole.
func (cmd *workersCmd) Run(s *streams) error { return named("workers", cmd.run(s)) }

func (cmd *workersCmd) run(s *streams) error {
	query := url.Values{}
	switch {
	case cmd.ID < 0:
		return usageError{fmt.Errorf("%d: a worker's id is a number from 1 on", cmd.ID)}
	case cmd.ID > 0:
		query.Set("workerId", strconv.Itoa(cmd.ID))
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	body, err := c.Get(context.Background(), "workers", query)
	if err != nil {
		return err
	}
	var answer struct {
		Workers []json.RawMessage `json:"workers"`
		Listens bool              `json:"listens"`
	}
	if err := decodeAnswer(body, &answer); err != nil {
		return err
	}
	if len(answer.Workers) == 0 {
		switch {
		case cmd.ID > 0:
			return notFoundError{fmt.Errorf("worker %d is not there", cmd.ID)}
		case !answer.Listens && !cmd.JSON:
			fmt.Fprintln(s.stderr, "sluice: no workers: the gateway serves none (serve --worker)")
		case !cmd.JSON:
			fmt.Fprintln(s.stderr, "sluice: no workers")
		}
		return nil
	}
	var t table.Table
	t.Columns("WORKER", ">LINK", "PEER", ">AGE", ">RECEIVED", ">SENT", ">QUEUE", ">SILENT", ">ANSWERS", ">P50", ">P99", "NOTES")
	for _, row := range answer.Workers {
		if cmd.JSON {
			if err := printJSON(s.stdout, row); err != nil {
				return err
			}
			continue
		}
		var v workerInfo
		if err := decodeAnswer(row, &v); err != nil {
			return err
		}
		t.Row(v.cells()...)
	}
	if cmd.JSON {
		return nil
	}
	return t.Write(s.stdout)
}

type sessionsCmd struct {
	adminFlag
	jsonFlag
	limitFlag
	User  *string `help:"Only a user's; with an empty ID only those without a user." placeholder:"ID"`
	State string  `help:"Only attached (their clients are connected) or detached ones." default:"" enum:",attached,detached" placeholder:"STATE"`
}

// Help implements kong.HelpProvider.
func (*sessionsCmd) Help() string {
	return examples(
		"sluice sessions --state detached   # whose clients may come back",
		"sluice sessions --user ann --json") + readingCodes
}

// A sessionInfo is a session as the API lists it.
type sessionInfo struct {
	ID         string    `json:"id"`
	User       string    `json:"user"`
	State      string    `json:"state"`
	Connection string    `json:"connection"`
	UniqID     string    `json:"uniqId"`
	Expires    time.Time `json:"expires"`
	Topics     uint64    `json:"topics"`
	Bytes      uint64    `json:"bytes"`
}

func (v *sessionInfo) cells() []string {
	kept := ""
	if v.State == "detached" {
		kept = table.Bytes(v.Bytes)
	}
	return []string{
		v.ID, v.User, v.State, cmp.Or(v.UniqID, v.Connection), table.Duration(max(time.Until(v.Expires), 0)), count(v.Topics), kept,
	}
}

// Run lists sessions that can be resumed.
func (cmd *sessionsCmd) Run(s *streams) error { return named("sessions", cmd.run(s)) }

func (cmd *sessionsCmd) run(s *streams) error {
	if err := cmd.check(); err != nil {
		return err
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	query := url.Values{}
	if cmd.User != nil {
		query.Set("user", *cmd.User)
	}
	set(query, "state", cmd.State)
	l := listing[sessionInfo]{
		path: "sessions", query: query, key: "sessions", row: (*sessionInfo).cells,
		columns: []string{"ID", "USER", "STATE", "CONNECTION", ">EXPIRES-IN", ">TOPICS", ">KEPT"},
	}
	return l.print(s, c, cmd.Limit, cmd.JSON)
}

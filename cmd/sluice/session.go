package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type sessionCmd struct {
	adminFlag
	jsonFlag
	ID   string `arg:"" optional:"" help:"The session: its id as sluice sessions has it, or the uniqId of the connection that has it."`
	User string `help:"All sessions of a user instead." placeholder:"ID"`
	End  bool   `help:"End it: it cannot be resumed any more, and the connection that has it is closed."`
}

// Help implements kong.HelpProvider.
func (*sessionCmd) Help() string {
	return examples(
		"sluice session --user ann                          # all that is known of her sessions",
		"sluice session 006B0B52123E07F227                  # of the one that a connection has",
		"sluice session --user ann --end                    # she has to log in anew, everywhere",
		"sluice session 0f1e2d3c4b5a69788796a5b4c3d2e1f0 --end") +
		"Sessions are those that clients can resume. The end of one is remembered until its last ticket would have expired; over a restart in serve --session-journal.\n\n" +
		readingCodes
}

// A sessionView is all that the API tells of a session.
type sessionView struct {
	sessionInfo
	Text      string            `json:"session"`
	Names     []string          `json:"topicNames"`
	Truncated bool              `json:"topicNamesTruncated"`
	Claims    map[string]string `json:"claims"`
	Client    *connRow          `json:"client"`
}

// Run describes sessions, or ends them.
func (cmd *sessionCmd) Run(s *streams) error { return named("session", cmd.run(s)) }

func (cmd *sessionCmd) run(s *streams) error {
	switch {
	case cmd.ID != "" && cmd.User != "":
		return usageError{errIDAndUser}
	case cmd.ID == "" && cmd.User == "":
		return usageError{errors.New("which? want an ID, or --user ID")}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case cmd.End:
		return cmd.end(s, c)
	case cmd.ID != "":
		return cmd.describe(s, c, cmd.ID)
	}
	n := 0
	_, err = c.List(context.Background(), "sessions", url.Values{"user": {cmd.User}}, "sessions", 0, func(row json.RawMessage) error {
		var v sessionInfo
		if err := decodeAnswer(row, &v); err != nil {
			return err
		}
		if n++; n > 1 && !cmd.JSON {
			fmt.Fprintln(s.stdout)
		}
		err := cmd.describe(s, c, v.ID)
		var refused *adminapi.Error
		if errors.As(err, &refused) && exitCode(err) == exitNotFound {
			return nil // it has ended meanwhile
		}
		return err
	})
	if err == nil && n == 0 {
		err = notFoundError{fmt.Errorf("user %q has no session that can be resumed", cmd.User)}
	}
	return err
}

// describe prints all that is known of a session.
func (cmd *sessionCmd) describe(s *streams, c *adminapi.Client, id string) error {
	body, err := c.Get(context.Background(), "sessions/"+pathText(id), nil)
	if err != nil {
		return err
	}
	if cmd.JSON {
		return printJSON(s.stdout, body)
	}
	var v sessionView
	if err := decodeAnswer(body, &v); err != nil {
		return err
	}
	var l table.List
	l.Add("session", v.ID)
	l.Add("user", v.User)
	l.Add("state", v.State)
	expires := v.Expires.Format(time.RFC3339)
	if left := time.Until(v.Expires); left > 0 {
		expires += ", in " + table.Duration(left)
	}
	l.Add("ticket good until", expires)
	if c := v.Client; c != nil {
		l.Add("connection", c.id())
		l.Add("protocol", c.Protocol)
		l.Add("peer", c.Peer)
		l.Add("since", fmt.Sprintf("%s, for %s", c.Since.Format(time.RFC3339), age(c.Since)))
		l.Add("notes", c.marks())
	} else {
		l.Add("kept", table.Bytes(v.Bytes)+" until its client comes back")
	}
	l.Add("session text", v.Text)
	switch {
	case v.Truncated:
		l.Add("topics", "too many to be named")
	case len(v.Names) == 0:
		l.Add("topics", "none")
	default:
		l.Add("topics", strings.Join(v.Names, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(v.Claims)) {
		l.Add("claim "+name, v.Claims[name])
	}
	return l.Write(s.stdout)
}

// end ends one session, or all of a user's.
func (cmd *sessionCmd) end(s *streams, c *adminapi.Client) error {
	path, query := "sessions", url.Values{}
	if cmd.User != "" {
		query.Set("user", cmd.User)
	} else {
		path += "/" + pathText(cmd.ID)
	}
	body, err := c.Delete(context.Background(), path, query)
	if err != nil {
		return err
	}
	var done struct {
		Sessions    int  `json:"sessions"`
		Connections int  `json:"connections"`
		Known       bool `json:"known"`
	}
	if err := decodeAnswer(body, &done); err != nil {
		return err
	}
	if done.Sessions == 0 {
		return notFoundError{fmt.Errorf("user %q has no session that can be resumed", cmd.User)}
	}
	if cmd.JSON {
		return printJSON(s.stdout, body)
	}
	text := "ended " + plural(done.Sessions, "session")
	switch {
	case !done.Known:
		text += ", which is not known here: should it be from before a restart, its ticket is refused from now on"
	case done.Connections > 0:
		text += " and " + plural(done.Connections, "connection")
	}
	_, err = fmt.Fprintln(s.stdout, text)
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
)

type kickCmd struct {
	adminFlag
	jsonFlag
	ID        string `arg:"" optional:"" help:"The connection: a uniqId, or what sluice conns has in the column ID."`
	User      string `help:"All connections of a user instead." placeholder:"ID"`
	Reason    string `help:"What the client is told: forced-offline or kicked-out." default:"forced-offline" enum:"forced-offline,kicked-out" placeholder:"REASON"`
	Resumable bool   `help:"Leave the session: the client is told as in a shutdown, and may come back to it."`
}

// Help implements kong.HelpProvider.
func (*kickCmd) Help() string {
	return examples(
		"sluice kick 006B0B52123E07F227         # one connection, and its session",
		"sluice kick --user ann                 # all of hers",
		"sluice kick --user ann --resumable     # she may come back to her session") + readingCodes
}

var errIDAndUser = errors.New("an ID and --user ID: choose one")

// Run ends connections.
func (cmd *kickCmd) Run(s *streams) error { return named("kick", cmd.run(s)) }

func (cmd *kickCmd) run(s *streams) error {
	switch {
	case cmd.ID != "" && cmd.User != "":
		return usageError{errIDAndUser}
	case cmd.ID == "" && cmd.User == "":
		return usageError{errors.New("whom? want an ID, or --user ID")}
	case cmd.Resumable && cmd.Reason != "forced-offline":
		return usageError{errors.New("--resumable and --reason: choose one")}
	}
	c, err := cmd.client()
	if err != nil {
		return err
	}
	defer c.Close()
	path, body := "kick", map[string]string{"reason": cmd.Reason}
	if cmd.Resumable {
		path, body = "disconnect", map[string]string{}
	}
	field, who := "uniqId", cmd.ID
	if cmd.User != "" {
		field, who = "user", cmd.User
	}
	body[field] = who
	answer, err := c.Post(context.Background(), path, body)
	var refused *adminapi.Error
	if field == "uniqId" && errors.As(err, &refused) && refused.Status == http.StatusNotFound && isConnectionName(cmd.ID) {
		delete(body, "uniqId")
		body["connection"] = cmd.ID
		answer, err = c.Post(context.Background(), path, body)
	}
	if err != nil {
		return err
	}
	var done struct {
		Connections int `json:"connections"`
	}
	if err := decodeAnswer(answer, &done); err != nil {
		return err
	}
	if done.Connections == 0 {
		return notFoundError{fmt.Errorf("user %q has no connection", cmd.User)}
	}
	if cmd.JSON {
		return printJSON(s.stdout, answer)
	}
	_, err = fmt.Fprintf(s.stdout, "ended %s\n", plural(done.Connections, "connection"))
	return err
}

// isConnectionName reports whether a text is of the form of a connection's name, which it has before
// it has a uniqId.
func isConnectionName(text string) bool {
	return len(text) == 16 && strings.Trim(text, "0123456789abcdef") == ""
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

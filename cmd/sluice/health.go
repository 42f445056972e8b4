package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/cmd/sluice/internal/adminapi"
	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

type healthCmd struct {
	adminFlag
	Verbose bool `short:"v" help:"Print how it is: connections, memory, loops. A gateway with tokens tells those only who show one."`
	JSON    bool `name:"json" help:"Print one object: ready, reasons, details."`
}

// Help implements kong.HelpProvider.
func (*healthCmd) Help() string {
	return examples("sluice health && echo ready", "sluice health --verbose --admin-token-file key.txt", "sluice health --admin unix:///run/sluice/admin") +
		"Whether it is ready is told to everybody, why not to who shows an operator's token.\n\n" +
		"Exit codes: 0 ready, 1 not ready or it cannot be reached, 2 wrong usage."
}

// Run says nothing when the gateway is ready, and fails with the reasons when it is not.
func (cmd *healthCmd) Run(s *streams) error { return named("health", cmd.run(s)) }

// health is how a gateway is.
type health struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why not
	Details []string `json:"details"` // empty for who may not know
}

func (cmd *healthCmd) run(s *streams) error {
	h, err := cmd.examine()
	if err != nil {
		return err
	}
	switch {
	case cmd.JSON:
		b, err := json.Marshal(h)
		if err == nil {
			err = printJSON(s.stdout, b)
		}
		if err != nil {
			return err
		}
	case cmd.Verbose && h.Ready:
		h.Details = slices.Insert(h.Details, 0, "ready")
		fallthrough
	case cmd.Verbose:
		for _, line := range h.Details {
			if _, err := fmt.Fprintln(s.stdout, table.Text(line)); err != nil {
				return err
			}
		}
	}
	if h.Ready {
		return nil
	}
	if slices.Equal(h.Reasons, []string{"not ready"}) {
		return errors.New("not ready; why is told to who shows a token: give --admin-token-file or SLUICE_ADMIN_TOKEN_FILE")
	}
	return fmt.Errorf("not ready (HTTP status %d): %s", http.StatusServiceUnavailable, strings.Join(h.Reasons, "; "))
}

// examine asks whether the gateway is ready, and for more if that is wanted.
func (cmd *healthCmd) examine() (h health, err error) {
	h = health{Reasons: []string{}, Details: []string{}}
	c, err := cmd.client()
	if err != nil {
		return h, err
	}
	defer c.Close()
	list, status, err := lines(c, nil)
	if err != nil {
		return h, err
	}
	if h.Ready = status == http.StatusOK; !h.Ready {
		h.Reasons = list
	}
	if cmd.Verbose || cmd.JSON {
		if list, _, err = lines(c, url.Values{"verbose": {""}}); err != nil {
			return h, err
		}
		for _, line := range list {
			if line != "ok" && !slices.Contains(h.Reasons, line) {
				h.Details = append(h.Details, line)
			}
		}
	}
	return h, nil
}

// lines asks /readyz.
func lines(c *adminapi.Client, query url.Values) (lines []string, status int, err error) {
	status, body, err := c.Raw(context.Background(), "/readyz", query)
	if err == nil && status != http.StatusOK && status != http.StatusServiceUnavailable {
		err = c.Stranger(status)
	}
	return strings.Split(strings.TrimSpace(string(body)), "\n"), status, err
}

package main

import (
	"fmt"
	"net/http"
	"strings"
)

type healthCmd struct{ adminFlag }

// Run says nothing when the gateway is ready, and fails with the reasons when it is not.
func (cmd *healthCmd) Run() error {
	status, body, err := cmd.ask("/readyz", nil, "")
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if status != http.StatusOK {
		reasons := strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", "; ")
		return fmt.Errorf("health: not ready (HTTP status %d): %s", status, reasons)
	}
	return nil
}
